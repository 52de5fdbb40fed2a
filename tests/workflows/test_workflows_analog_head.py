"""A head on tiles: trained through the hardware, programmed and aged with the chip, and off again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_deployment import FAMILIES, write_checkpoint
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.adapt import Adapt, Lora
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.run import Run
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import analog_layers
from aimc_deploy.nn.head import head_layers, head_on_tiles, restore_head
from aimc_deploy.workflows import adapt, evaluate
from aimc_deploy.workflows.adapters import add_lora
from aimc_deploy.workflows.deployed import DeployedModel, load
from aimc_deploy.workflows.map import map_model, plan_model

Configure = Callable[..., Run]

ANALOG = {"epochs": 2.0, "learning_rate": 1.0e-2, "analog_head": True, "name": "on-tiles"}
INPUTS = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]])}


def logits(model: DeployedModel) -> Tensor:
    with torch.no_grad():
        return model(**INPUTS).logits


@pytest.fixture(scope="module")
def both_once(
    tmp_path_factory: pytest.TempPathFactory, adapted_once: Path, configure: Configure
) -> tuple[Path, adapt.AdaptResult]:
    """The adapter ``sst2`` with a digital head, and ``on-tiles``; not to be written to."""
    path = Path(shutil.copytree(adapted_once, tmp_path_factory.mktemp("heads") / "bundle"))
    return path, adapt.run(configure(path, adapt=ANALOG))


def test_the_head_is_trained_through_tiles_and_the_base_stays(
    both_once: tuple[Path, adapt.AdaptResult],
) -> None:
    path, result = both_once
    assert result.base_before == result.base_after == Bundle.open(path).manifest.base_sha256
    assert result.record.analog_head
    assert result.record.scores["adapted"] is not None
    plain = load(path).set_adapter("sst2")
    assert result.record.parameters == sum(
        value.numel()
        for value in Bundle.open(path).read_tensors("adapters/sst2/adapter_model.safetensors").values()
    )
    assert not head_layers(plain)


def test_training_meets_weight_noise_in_the_head(
    mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[bool, float | None, bool]] = set()
    forward = AnalogLinear.forward

    def watched(self: AnalogLinear, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() and self.training:
            seen.add((self.name.startswith("head:"), self._weight_noise, self._segments is not None))
        return forward(self, input)

    monkeypatch.setattr(AnalogLinear, "forward", watched)
    adapt.run(configure(mapped, adapt={**ANALOG, "epochs": 0.3}))
    assert seen == {(True, 0.067, False), (False, None, True)}


def test_it_is_programmed_and_ages_with_the_chip(both_once: tuple[Path, adapt.AdaptResult]) -> None:
    path, _ = both_once
    model = load(path).set_adapter("on-tiles")
    (head,) = head_layers(model)
    assert isinstance(head, AnalogLinear)
    exact = logits(model)
    model.program(0)
    new = head._segments[0].weight
    model.drift("1y")
    assert not torch.equal(new, head._segments[0].weight)
    aged = logits(model)
    assert not torch.allclose(exact, aged)
    # The order of choosing the adapter and of programming makes no difference.
    assert torch.equal(logits(load(path).program(0).drift("1y").set_adapter("on-tiles")), aged)
    assert torch.equal(
        logits(load(path).set_adapter("sst2").program(0).drift("1y").set_adapter("on-tiles")), aged
    )
    assert not torch.equal(logits(load(path).set_adapter("on-tiles").program(1).drift("1y")), aged)
    model.digital()
    assert torch.allclose(logits(model), exact)


def test_it_leaves_no_trace_in_the_next_adapter(both_once: tuple[Path, adapt.AdaptResult]) -> None:
    path, _ = both_once
    alone = load(path).set_adapter("sst2").program(2).drift("1d")
    after = load(path).set_adapter("on-tiles").program(2).drift("1d").set_adapter("sst2")
    assert torch.equal(logits(after), logits(alone))
    assert len(analog_layers(after)) == len(analog_layers(alone))
    assert after.base_sha256() == alone.base_sha256() == load(path).set_adapter("on-tiles").base_sha256()


def test_what_is_saved_is_what_was_trained(both_once: tuple[Path, adapt.AdaptResult]) -> None:
    """Not the clipped weights: these would be clipped again by the mapping."""
    path, _ = both_once
    tensors = Bundle.open(path).read_tensors("adapters/on-tiles/adapter_model.safetensors")
    (saved,) = (value for name, value in tensors.items() if name.endswith("classifier.weight"))
    (head,) = head_layers(load(path).set_adapter("on-tiles"))
    linear = nn.Linear(head.in_features, head.out_features)
    assert saved.shape == linear.weight.shape == head.weight.shape
    assert float(saved.abs().max()) >= float(head.weight.abs().max())
    limit = 3 * float(saved.std())
    torch.testing.assert_close(head.weight, saved.clamp(-limit, limit))


def test_it_is_evaluated_like_any_other(
    both_once: tuple[Path, adapt.AdaptResult], configure: Configure
) -> None:
    path, result = both_once
    config = configure(path, evaluate={"adapters": ("on-tiles",), "chips": 1, "times": ("0s",)})
    (row,) = evaluate.run(config).results.rows
    assert row.metrics["accuracy"] == result.record.scores["adapted"]


def test_an_interrupted_training_goes_on_to_the_same_head(
    adapted: Path, configure: Configure, both_once: tuple[Path, adapt.AdaptResult]
) -> None:
    config = configure(adapted, adapt={**ANALOG, "checkpoint_steps": 4})

    class Stopping:
        steps = 0

        def start(self, what: str, total: int) -> None: ...

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.steps += steps
            if self.steps == 6:
                raise KeyboardInterrupt

        def say(self, message: str) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        adapt.run(config, progress=Stopping())
    adapt.run(config, resume=True)
    file = "adapters/on-tiles/adapter_model.safetensors"
    assert Bundle.open(adapted).manifest.files[file] == Bundle.open(both_once[0]).manifest.files[file]


def test_all_weights_have_their_head_digital() -> None:
    with pytest.raises(ValueError, match="analog_head: is of LoRA adapters"):
        Adapt.model_validate({"method": "full", "analog_head": True})


def test_every_family_can_have_it(tmp_path: Path) -> None:
    for family in FAMILIES:
        folder = write_checkpoint(tmp_path / family, family)
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        hardware = Hardware()
        map_model(model, plan_model(model, hardware), hardware)
        peft = add_lora(model, "classes", Lora())
        places = head_on_tiles(peft, hardware)
        found = head_layers(peft)
        assert len({layer.name for layer in found}) == len(found) == len(places) >= 1, family
        restore_head(places)
        assert not head_layers(peft)
