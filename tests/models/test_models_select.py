from __future__ import annotations

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from peft.utils import ModulesToSaveWrapper
from torch import nn
from transformers import AutoModelForSequenceClassification, MobileBertConfig, PreTrainedModel

from aimc_deploy.errors import ConfigError
from aimc_deploy.models.select import LayerChoice, choose_layers, head_modules

HEADS = {
    "mobilebert": ["classifier"],
    "bert": ["pooler", "classifier"],
    "distilbert": ["pre_classifier", "classifier"],
    "roberta": ["classifier"],
    "electra": ["classifier"],
}


def classifier(config: transformers.PreTrainedConfig) -> PreTrainedModel:
    return AutoModelForSequenceClassification.from_config(config)


@pytest.fixture(scope="module")
def models(originals: dict[str, PreTrainedModel]) -> dict[str, PreTrainedModel]:
    return {family: classifier(model.config) for family, model in originals.items()}


@pytest.fixture(scope="module")
def bert_choices(models: dict[str, PreTrainedModel]) -> list[LayerChoice]:
    return choose_layers(models["bert"])


def test_genuine_mobilebert_has_361_static_matrices_of_20250624_weights() -> None:
    with torch.device("meta"):
        model = classifier(MobileBertConfig(classifier_activation=False))
    analog = [choice for choice in choose_layers(model) if choice.analog]
    assert len(analog) == 361
    assert sum(choice.rows * choice.cols for choice in analog) == 20_250_624
    assert {choice.reason for choice in analog} == {"static matrix"}
    assert analog[0].name == "mobilebert.embeddings.embedding_transformation"
    assert (analog[0].rows, analog[0].cols) == (384, 512)
    assert head_modules(model) == ["classifier"]


def test_mobilebert_with_a_pooler_keeps_it_digital() -> None:
    with torch.device("meta"):
        model = classifier(MobileBertConfig(classifier_activation=True, num_hidden_layers=1))
    reasons = {choice.name: choice.reason for choice in choose_layers(model)}
    assert reasons["mobilebert.pooler.dense"] == "pooler feeds the task head, trained with it"
    assert head_modules(model) == ["pooler", "classifier"]


@pytest.mark.parametrize("family", HEADS)
def test_every_parameter_is_in_one_layer_and_every_layer_in_its_class(
    family: str, models: dict[str, PreTrainedModel]
) -> None:
    model = models[family]
    choices = choose_layers(model)
    names = [choice.name for choice in choices]
    order = {name: index for index, (name, _) in enumerate(model.named_modules())}
    assert names == sorted(set(names), key=order.__getitem__)
    assert {name.rpartition(".")[0] for name, _ in model.named_parameters()} == set(names)
    prefix = f"{model.base_model_prefix}."
    for choice in choices:
        layer = model.get_submodule(choice.name)
        assert choice.analog == (choice.reason == "static matrix")
        if isinstance(layer, nn.Linear):
            assert (choice.cols, choice.rows) == tuple(layer.weight.shape)
            if not choice.name.startswith(prefix):
                assert choice.reason == "task head, trained per task"
            elif ".pooler." in choice.name:
                assert choice.reason == "pooler feeds the task head, trained with it"
            else:
                assert choice.analog
        elif isinstance(layer, nn.Embedding):
            assert choice.reason == "look-up table"
            assert (choice.rows, choice.cols) == tuple(layer.weight.shape)
        else:
            assert choice.reason == "element-wise"
            assert layer.weight.shape == (choice.rows,) == (choice.cols,)
    assert sum(choice.analog for choice in choices) > 10


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks for it
@pytest.mark.parametrize("family", HEADS)
def test_peft_trains_and_saves_the_head_and_nothing_else_in_full(
    family: str, models: dict[str, PreTrainedModel]
) -> None:
    model = classifier(models[family].config)
    heads = head_modules(model)
    assert heads == HEADS[family]
    digital = {
        choice.name
        for choice in choose_layers(model)
        if choice.reason.startswith(("task head", "pooler")) and not choice.analog
    }
    analog = [choice.name for choice in choose_layers(model) if choice.analog]
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=analog, modules_to_save=heads))
    wrapped = {
        name.removeprefix("base_model.model.")
        for name, module in adapted.named_modules()
        if isinstance(module, ModulesToSaveWrapper)
    }
    assert {
        next(name for name in wrapped if f"{layer}.".startswith(f"{name}.")) for layer in digital
    } == wrapped


def test_patterns_keep_encoder_layers_digital_and_change_no_other_reason(
    models: dict[str, PreTrainedModel],
) -> None:
    pattern = "bert.encoder.layer.0.attention.*"
    before, after = choose_layers(models["bert"]), choose_layers(models["bert"], [pattern, "classifier"])
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [choice.name.removeprefix("bert.encoder.layer.0.attention.") for choice in changed] == [
        "self.query",
        "self.key",
        "self.value",
        "output.dense",
    ]
    assert {choice.reason for choice in changed} == {f"kept digital: matches '{pattern}'"}
    assert not any(choice.analog for choice in changed)


@given(data=st.data())
def test_naming_layers_makes_exactly_these_digital(
    data: st.DataObject, models: dict[str, PreTrainedModel], bert_choices: list[LayerChoice]
) -> None:
    analog = [choice.name for choice in bert_choices if choice.analog]
    named = data.draw(st.lists(st.sampled_from(analog), unique=True))
    left = [choice.name for choice in choose_layers(models["bert"], named) if choice.analog]
    assert left == [name for name in analog if name not in named]


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("bert.encoder.layer.0.attention.self.qurey", r"bert\.encoder\.layer\.0\.attention\.self\.query"),
        ("bert.encoder.layer.0", r"close: bert\.encoder\.layer\.0\.\* "),
        ("BERT.*", "whole module names"),
        ("", "bert.embeddings"),
        ("bert.encoder.layer.99.*", "--dry-run"),
    ],
)
def test_a_pattern_that_matches_nothing(models: dict[str, PreTrainedModel], pattern: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as raised:
        choose_layers(models["bert"], ["bert.*", pattern])
    assert f"'{pattern}' matches no layer" in str(raised.value)
