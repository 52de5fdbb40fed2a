"""Other hardware on the same tiles, and one chip that is there: adapters of their own, found again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import adapt, evaluate, predict
from aimc_deploy.workflows.deployed import load
from aimc_deploy.workflows.run import variants

Configure = Callable[..., Run]

USUAL = load_preset("pcm-x4")
SIX_BIT = USUAL.model_copy(update={"adc": USUAL.adc.model_copy(update={"bits": 6})})
OWN = f"sst2-{SIX_BIT.digest()[:8]}"


def measured(config: Run) -> list[str]:
    return [part.adapter for part in evaluate.run(config).results.baselines]


def test_an_adapter_for_other_hardware_has_a_name_of_its_own(adapted: Path, configure: Configure) -> None:
    base = Bundle.open(adapted).manifest.base_sha256
    result = adapt.run(configure(adapted, hardware=SIX_BIT, adapt={"epochs": 0.3, "start_from": "sst2"}))
    assert result.name == OWN
    assert result.base_before == result.base_after == base, "nothing was programmed again"
    assert result.record.hardware_digest == SIX_BIT.digest()
    assert Bundle.open(adapted).adapters() == ("sst2", OWN)


def test_an_evaluation_takes_what_was_trained_for_its_hardware(adapted: Path, configure: Configure) -> None:
    with pytest.raises(ArtifactError, match=r"trained for this hardware \(there: 'sst2' for pcm-x4\)"):
        measured(configure(adapted, hardware=SIX_BIT))
    assert measured(configure(adapted, hardware=SIX_BIT, evaluate={"adapters": ("sst2",)})) == ["sst2"]
    adapt.run(configure(adapted, hardware=SIX_BIT, adapt={"epochs": 0.3}))
    adapt.run(configure(adapted, adapt={"epochs": 0.3, "hardware_aware": False}))
    # What it was like before is measured beside it.
    assert measured(configure(adapted, hardware=SIX_BIT)) == ["sst2", OWN, "sst2-digital"]
    assert measured(configure(adapted)) == ["sst2", "sst2-digital"]
    # What the chip was compensated with is a question of the evaluation.
    assert measured(configure(adapted, evaluate={"compensation": "none"})) == ["sst2", "sst2-digital"]


def test_a_prediction_takes_what_was_trained_for_its_hardware(adapted: Path, configure: Configure) -> None:
    config, texts = configure(adapted, hardware=SIX_BIT), ["a good film", "very dull"]
    with pytest.raises(ArtifactError, match=r"trained for this hardware \(there: 'sst2' for pcm-x4\)"):
        predict.run(config, texts)
    adapt.run(configure(adapted, hardware=SIX_BIT, adapt={"epochs": 0.3, "learning_rate": 1.0e-2}))
    found = predict.run(config, texts)
    assert found == predict.run(config, texts, adapter=OWN)
    assert found != predict.run(config, texts, adapter="sst2"), "which is there if one asks for it"
    usual = configure(adapted)
    assert predict.run(usual, texts) == predict.run(usual, texts, adapter="sst2")


def test_one_chip_is_read_anew_in_each_step_and_a_resumed_run_reads_the_same(
    mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "aimc_deploy.workflows.training_noise.program", lambda model, seed, chip: asked.append((seed, chip))
    )
    monkeypatch.setattr(
        "aimc_deploy.workflows.training_noise.drift", lambda model, *reading: asked.append(reading)
    )
    settings = {"epochs": 0.5, "chip": 3, "age": "1y"}
    result = adapt.run(configure(mapped, seed=2, adapt=settings))
    assert result.name == "sst2-chip3-1y"
    assert asked[0] == (2, 3)
    assert asked[1:] == [(31_536_000.0, "training", step) for step in range(3)]


def test_another_reading_is_of_the_same_chip_at_the_same_time(adapted: Path) -> None:
    model = load(adapted).set_adapter("sst2").program(0)
    layer = next(part for part in model.modules() if hasattr(part, "sample_chip"))
    weights = []
    for reading in ((), ("training", 0), ("training", 1), ()):
        layer.drift(3600.0, *reading)
        weights.append(layer._segments[0].weight)
    assert torch.equal(weights[0], weights[3])
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    between = float((weights[1] - weights[2]).norm() / weights[1].norm())
    model.program(1)
    layer.drift(3600.0)
    other = float((layer._segments[0].weight - weights[0]).norm() / weights[0].norm())
    assert between < other, "read noise alone, and not another programming"


def test_an_adapter_for_a_chip_is_measured_on_that_chip(adapted: Path, configure: Configure) -> None:
    adapt.run(configure(adapted, adapt={"epochs": 0.3, "chip": 5, "age": "1y", "start_from": "sst2"}))
    assert measured(configure(adapted)) == ["sst2"], "it is of no use on other chips"
    result = evaluate.run(configure(adapted, evaluate={"chip": 5, "times": ("1y",)})).results
    assert [part.adapter for part in result.baselines] == ["sst2", "sst2-chip5-1y"]
    assert {(row.chip, row.time) for row in result.rows} == {(5, "1y")}
    all_chips = evaluate.run(configure(adapted, evaluate={"chips": 6, "times": ("1y",)})).results
    (alone,) = (row for row in result.rows if row.adapter == "sst2")
    (among,) = (row for row in all_chips.rows if row.chip == 5)
    assert alone == among


@pytest.mark.parametrize(
    "settings",
    [{"method": "full"}, {"noise": "weights"}, {"hardware_aware": False}],
    ids=["all weights", "weight noise", "no hardware"],
)
@pytest.mark.parametrize(
    "asked", [{"chip": 3}, {"youngest": "1d"}, {"schedule": ("0s", "1d")}, {"noise_level": 2.0}]
)
def test_chips_that_training_would_not_meet_are_refused(
    settings: dict[str, Any], asked: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(asked))}: only what is trained on chips meets one"):
        Adapt.model_validate({**settings, **asked})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"age": "1y"}, "age: is of one chip: say which with chip"),
        ({"chip": 3, "youngest": "1d"}, "chip: one chip has one age and its own noise"),
        ({"hardware_aware": False, "noise_ramp": 0.1}, "without hardware there is no noise"),
        ({"youngest": "1y", "drift": "1d"}, "youngest: 1y is not less than drift, 1d"),
        ({"schedule": ("1d", "1y")}, "schedule: 1d, 1y must begin with 0s, grow, and end before drift"),
        ({"schedule": ("0s", "1y", "1d")}, "must begin with 0s, grow"),
        ({"schedule": ("0s", "10y")}, "end before drift"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Adapt.model_validate(settings)


def test_a_baseline_meets_no_chip(mapped: Path, configure: Configure) -> None:
    config = configure(mapped, adapt={"chip": 3, "age": "1y"}, baselines=("digital", "full"))
    assert [variant.adapt.chip for variant in variants(config)] == [None, 3, None]
    for variant in variants(config):
        assert Run.model_validate(variant.model_dump()) == variant, "as the bundle keeps it"
