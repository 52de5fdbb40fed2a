"""A schedule: an adapter for each epoch of a chip's life, chosen by the chip's age."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import adapt, evaluate, predict
from aimc_deploy.workflows.adapters import read_record
from aimc_deploy.workflows.deployed import load

Configure = Callable[..., Run]

STAGES = ("sst2-schedule-0s", "sst2-schedule-1d")


def scheduled(configure: Configure, bundle: Path, **changes: object) -> Run:
    # Fast enough that the stages differ in what they say.
    settings = {"epochs": 0.5, "learning_rate": 2.0e-2, "start_from": "sst2", "schedule": ("0s", "1d")}
    return configure(bundle, adapt={**settings, **changes})


@pytest.fixture
def with_schedule(adapted: Path, configure: Configure) -> Path:
    adapt.run(scheduled(configure, adapted))
    return adapted


def test_each_epoch_has_an_adapter_that_goes_on_from_the_one_before(with_schedule: Path) -> None:
    bundle = Bundle.open(with_schedule)
    assert bundle.adapters() == ("sst2", "sst2-schedule", *STAGES)
    records = [read_record(bundle, name) for name in STAGES]
    told = [[record.training[key] for key in ("youngest", "drift", "start_from")] for record in records]
    assert told == [["0s", "1d", "sst2"], ["1d", "10y", "sst2-schedule-0s"]]
    record = read_record(bundle, "sst2-schedule")
    assert [(stage.since, stage.adapter) for stage in record.stages] == [
        ("0s", "sst2-schedule-0s"),
        ("1d", "sst2-schedule-1d"),
    ]
    assert record.parameters == sum(part.parameters for part in records)
    assert bundle.verify() == []
    assert [record.at_age(age_s) for age_s in (0.0, 86_399.0, 86_400.0, 1e9)] == [
        STAGES[0],
        STAGES[0],
        STAGES[1],
        STAGES[1],
    ]


def test_the_adapter_for_the_age_of_the_chip_is_used(with_schedule: Path) -> None:
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]])}
    model = load(with_schedule).set_adapter("sst2-schedule").program(1)
    tiles = model.base_sha256()
    found = {}
    for time in ("1y", "0s", "1h"):
        with torch.no_grad():
            found[time] = model.drift(time)(**inputs).logits
    assert model.base_sha256() == tiles
    for time, stage in (("0s", STAGES[0]), ("1h", STAGES[0]), ("1y", STAGES[1])):
        alone = load(with_schedule).set_adapter(stage).program(1).drift(time)
        with torch.no_grad():
            assert torch.equal(alone(**inputs).logits, found[time]), time
    aged = load(with_schedule).program(1).drift("1y").set_adapter("sst2-schedule")
    with torch.no_grad():
        assert torch.equal(aged(**inputs).logits, found["1y"]), "the age is known before the adapter is"


def test_it_is_measured_as_one_adapter(with_schedule: Path, configure: Configure) -> None:
    config = configure(with_schedule, evaluate={"times": ("0s", "1y"), "unadapted": True})
    results = evaluate.run(config).results
    names = [part.adapter for part in results.baselines]
    assert names == ["sst2", "sst2 (LoRA off)", "sst2-schedule"], "and its stages are not listed twice"
    stages = evaluate.run(configure(with_schedule, evaluate={"adapters": STAGES})).results
    rows = {(row.adapter, row.chip, row.time): row.metrics for row in (*results.rows, *stages.rows)}
    for chip in (0, 1):
        assert rows["sst2-schedule", chip, "0s"] == rows[STAGES[0], chip, "0s"]
        assert rows["sst2-schedule", chip, "1y"] == rows[STAGES[1], chip, "1y"]
    assert any(rows[STAGES[0], chip, "1y"] != rows[STAGES[1], chip, "1y"] for chip in (0, 1))
    before = results.settings["request_sha256"]
    adapt.run(scheduled(configure, with_schedule, epochs=0.3), existing="replace")
    assert evaluate.run(config).results.settings["request_sha256"] != before, "the stages are part of it"


def test_an_interrupted_schedule_goes_on_and_a_finished_one_is_kept(
    adapted: Path, configure: Configure
) -> None:
    config = scheduled(configure, adapted)

    class Stopping:
        def start(self, what: str, total: int) -> None:
            if what == f"training {STAGES[1]}":
                raise KeyboardInterrupt

        def advance(self, steps: int = 1, note: str = "") -> None: ...

        def say(self, message: str) -> None: ...

    with pytest.raises(KeyboardInterrupt):
        adapt.run(config, progress=Stopping())
    first = Bundle.open(adapted).manifest.files[f"adapters/{STAGES[0]}/adapter_model.safetensors"]
    result = adapt.run(config)
    bundle = Bundle.open(adapted)
    assert bundle.manifest.files[f"adapters/{STAGES[0]}/adapter_model.safetensors"] == first
    assert not result.kept
    assert adapt.run(config, existing="keep").kept
    with pytest.raises(ArtifactError, match="has an adapter 'sst2-schedule' already"):
        adapt.run(config)


def test_a_schedule_is_no_start(with_schedule: Path, configure: Configure) -> None:
    config = configure(with_schedule, adapt={"name": "on", "start_from": "sst2-schedule"})
    with pytest.raises(ArtifactError, match=f"is a schedule: go on from one of its adapters, {STAGES[0]}"):
        adapt.run(config)


def test_predict_uses_it(with_schedule: Path, configure: Configure) -> None:
    config, texts = configure(with_schedule), ["a good film", "very dull"]
    found = predict.run(config, texts, adapter="sst2-schedule", at="1y")
    assert found == predict.run(config, texts, adapter=STAGES[1], at="1y")
