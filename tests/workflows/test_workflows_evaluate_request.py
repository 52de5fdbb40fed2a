"""Evaluate: what was measured is kept for the same request and no other, and judged by the gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_deployment import files_of, write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import summarise
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Gate, Run
from aimc_deploy.errors import ConfigError
from aimc_deploy.workflows import adapt, evaluate
from aimc_deploy.workflows.evaluate import EvaluateResult

Configure = Callable[..., Run]

QUICK = {"chips": 2, "times": ("0s",), "batch_size": 64}
NAMED = {**QUICK, "adapters": ("sst2",)}  # on hardware that it was not trained for


def measure(config: Run, **settings: Any) -> EvaluateResult:
    return evaluate.run(config, keep=True, **settings)


@pytest.fixture
def measured(adapted: Path, configure: Configure) -> Path:
    """A bundle with an adapter and its results, of the test's own."""
    assert not measure(configure(adapted, evaluate=QUICK)).kept
    return adapted


def test_the_same_request_is_not_measured_again(
    measured: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(measured)
    results = evaluate.read_results(Bundle.open(measured))["sst2"]

    def never(*args: Any) -> None:
        raise AssertionError("it measured")

    monkeypatch.setattr(evaluate, "run_jobs", never)
    # How many processes measure, and how a time is written, changes no row.
    for same in ({}, {"times": ("0h", "0s")}, {"adapters": ("sst2",)}):
        kept = measure(configure(measured, evaluate={**QUICK, **same}, workers=2))
        assert kept.kept
        assert kept.results == results
    assert files_of(measured) == before
    with pytest.raises(AssertionError, match="it measured"):
        evaluate.run(configure(measured, evaluate=QUICK))


@pytest.mark.parametrize(
    "changes",
    [
        {"evaluate": {**QUICK, "chips": 3}},
        {"evaluate": {**QUICK, "times": ("0s", "1h")}},
        {"evaluate": {**QUICK, "batch_size": 32}},
        {"evaluate": {**QUICK, "unadapted": True}},
        {"evaluate": {**QUICK, "eval_samples": 100}},
        {"evaluate": {**QUICK, "compensation": "none"}},
        {"evaluate": QUICK, "seed": 1},
        {"evaluate": NAMED, "hardware": "pcm-x3"},
    ],
    ids=["chips", "times", "batch_size", "unadapted", "eval_samples", "compensation", "seed", "hardware"],
)
def test_another_request_is_measured(measured: Path, configure: Configure, changes: dict[str, Any]) -> None:
    assert not measure(configure(measured, **changes)).kept
    assert measure(configure(measured, **changes)).kept


def test_other_data_and_other_adapters_are_measured(
    tmp_path: Path, measured: Path, configure: Configure
) -> None:
    other = str(write_task(tmp_path / "other", dev=118))
    assert not measure(configure(measured, evaluate=QUICK).model_copy(update={"data_dir": other})).kept
    config = configure(measured, evaluate=QUICK)
    assert not measure(config).kept
    adapt.run(configure(measured, adapt={"epochs": 0.3, "name": "second"}))
    result = measure(config)
    assert not result.kept
    assert {row.adapter for row in result.results.rows} == {"sst2", "second"}
    # The same name, trained again.
    adapt.run(configure(measured, adapt={"epochs": 0.3}, seed=3), existing="replace")
    assert not measure(config).kept
    assert measure(config).kept


def test_other_training_data_is_measured_where_it_sets_the_input_ranges(
    tmp_path: Path, adapted: Path, configure: Configure
) -> None:
    """An adapter without ranges has them calibrated on training samples, so they are part of the request."""
    config = configure(adapted, evaluate=NAMED, hardware="pcm-static")
    assert not measure(config).kept
    other = write_task(tmp_path / "other", train=30)
    assert not measure(config.model_copy(update={"data_dir": str(other)})).kept


def test_results_of_several_names_are_kept_apart(measured: Path, configure: Configure) -> None:
    first = files_of(measured / "results")
    config = configure(measured, evaluate={**QUICK, "chips": 3})
    assert not measure(config, out="more").kept
    assert measure(config, out="more").kept
    assert measure(configure(measured, evaluate=QUICK)).kept
    now = files_of(measured / "results")
    assert {name: now[name] for name in first} == first
    assert sorted(now.keys() - first.keys()) == ["more.csv", "more.json", "more.svg"]
    with pytest.raises(ConfigError, match="is no name for results"):
        evaluate.run(config, out="../more")


def gated(**gate: Any) -> dict[str, Any]:
    return {"chips": 4, "times": ("0s", "1y"), "gate": gate, "adapters": ("sst2",)}


def test_the_gate_looks_at_the_lower_bound_of_the_mean(adapted: Path, configure: Configure) -> None:
    hardware = load_preset("pcm-x4").model_copy(update={"output_noise": 2.0})

    def failures(**gate: Any) -> list[str]:
        result = measure(configure(adapted, evaluate=gated(**gate), hardware=hardware))
        assert result.kept == measured
        return result.failures

    measured = False
    assert failures() == []
    measured = True  # the gate asks for no other measurement
    results = evaluate.read_results(Bundle.open(adapted))["sst2"]
    bounds = {part.time: part for part in summarise(results)}
    first, last = bounds["0s"], bounds["1y"]
    assert first.ci_low is not None
    assert last.ci_low is not None
    assert first.ci_low < first.mean
    for part in (first, last):
        assert failures(min_accuracy=part.ci_low - 1e-6, at=part.time) == []
        assert len(failures(min_accuracy=part.ci_low + 1e-6, at=part.time)) == 1
    digital = results.baselines[0].metrics["accuracy"]
    drop = digital - last.ci_low
    assert 0.01 < drop < 0.99
    assert failures(max_drop=drop + 1e-6, at="1y") == []
    (message,) = failures(max_drop=drop - 1e-6, at="1y")
    assert message.startswith("sst2 at 1y: the lower 95 % bound of accuracy is ")
    assert len(failures(min_accuracy=1.0)) == 2, "without a time it looks at every one"


def test_kept_results_tell_the_gate_that_was_asked_for_last(measured: Path, configure: Configure) -> None:
    def stored() -> Gate | None:
        return evaluate.read_results(Bundle.open(measured))["sst2"].gate

    rows = evaluate.read_results(Bundle.open(measured))["sst2"].rows
    before = files_of(measured / "results")
    assert stored() is None
    for gate in (Gate(max_drop=0.5, at="0s"), Gate(min_accuracy=0.0)):
        kept = measure(configure(measured, evaluate={**QUICK, "gate": gate.model_dump()}))
        assert (kept.kept, kept.results.gate, kept.results.rows) == (True, gate, rows)
        assert [verdict.condition for verdict in kept.verdicts] == [
            "max_drop" if gate.max_drop else "min_accuracy"
        ]
        assert stored() == gate
        assert Bundle.open(measured).verify() == []
    assert measure(configure(measured, evaluate=QUICK)).verdicts == []
    assert files_of(measured / "results") == before
    anew = evaluate.run(configure(measured, evaluate={**QUICK, "gate": {"max_drop": 0.5}}))
    assert stored() == anew.results.gate == Gate(max_drop=0.5)
