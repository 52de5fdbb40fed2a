"""Who reads what, and when: from the graph of the model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_deployment import FAMILIES, write_checkpoint
from transformers import AutoModelForSequenceClassification, MobileBertConfig, PreTrainedModel

from aimc_deploy.models.select import choose_layers
from aimc_deploy.models.trace import trace


def analog_names(model: PreTrainedModel) -> list[str]:
    return [choice.name for choice in choose_layers(model) if choice.analog]


@pytest.fixture(scope="module")
def mobilebert() -> PreTrainedModel:
    """The genuine shapes, two layers of them, without weights."""
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(MobileBertConfig(num_hidden_layers=2))


def test_siblings_of_mobilebert_read_the_same(mobilebert: PreTrainedModel) -> None:
    """Both bottlenecks and the value read the hidden states, query and key the shared bottleneck."""
    found = trace(mobilebert, analog_names(mobilebert))
    layer = "mobilebert.encoder.layer.1."
    together: dict[str, set[str]] = {}
    for name, traced in found.items():
        if name.startswith(layer):
            together.setdefault(traced.reads, set()).add(name.removeprefix(layer))
    shared = [names for names in together.values() if len(names) > 1]
    assert sorted(map(sorted, shared)) == [
        ["attention.self.key", "attention.self.query"],
        ["attention.self.value", "bottleneck.attention.dense", "bottleneck.input.dense"],
    ]
    assert {traced.group for name, traced in found.items() if name.startswith(layer)} == {layer[:-1]}
    assert found["mobilebert.embeddings.embedding_transformation"].group == "mobilebert.embeddings"


def test_stages_are_the_longest_chain(mobilebert: PreTrainedModel) -> None:
    found = trace(mobilebert, analog_names(mobilebert))
    stages = {name: traced.stage for name, traced in found.items()}
    assert stages["mobilebert.embeddings.embedding_transformation"] == 0
    first = "mobilebert.encoder.layer.0."
    in_order = [
        ("bottleneck.input.dense", 1),
        ("bottleneck.attention.dense", 1),
        ("attention.self.value", 1),
        ("attention.self.query", 2),
        ("attention.self.key", 2),
        ("attention.output.dense", 3),
        ("ffn.0.intermediate.dense", 4),
        ("ffn.0.output.dense", 5),
        ("ffn.2.output.dense", 9),
        ("intermediate.dense", 10),
        ("output.dense", 11),
        ("output.bottleneck.dense", 12),
    ]
    assert [(name, stages[first + name]) for name, _ in in_order] == in_order
    assert stages["mobilebert.encoder.layer.1.bottleneck.input.dense"] == 13


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_traced_and_left_as_it_was(tmp_path: Path, family: str) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(write_checkpoint(tmp_path, family)).train()
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    names = analog_names(model)
    found = trace(model, names)
    assert list(found) == names
    readers = [traced.reads for traced in found.values()]
    # Query, key and value in the usual encoder; MobileBERT has its own.
    assert max(readers.count(reads) for reads in readers) == 3
    assert model.training
    assert {name: parameter.requires_grad for name, parameter in model.named_parameters()} == flags
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())
