"""Which results pass an accuracy gate."""

from __future__ import annotations

import json

import pytest
from small_results import chips, results

from aimc_deploy.artifact.gate import judge
from aimc_deploy.artifact.results import Results, Row, from_json, summarise, to_json
from aimc_deploy.config.run import Gate
from aimc_deploy.errors import ConfigError

# Equal chips: the lower bound is the mean, so that a test can say where exactly it is.
FLAT = chips(0.9, 0.9)


def failures(measured: Results, gate: Gate) -> list[str]:
    return [verdict.told for verdict in judge(measured, gate) if not verdict.passed]


def low(rows: list[Row]) -> float:
    (summary,) = summarise(results(rows))
    assert summary.ci_low is not None
    return summary.ci_low


def test_no_gate_asks_for_nothing() -> None:
    assert judge(results(chips(0.0)), Gate()) == []
    assert judge(results([], {}), Gate(at="1d")) == []


def test_the_lower_bound_counts_and_not_the_mean() -> None:
    rows = chips(0.85, 0.9, 0.95)
    bound = low(rows)
    assert bound < 0.78
    assert failures(results(rows), Gate(min_accuracy=0.77)) == []
    (failure,) = failures(results(rows), Gate(min_accuracy=0.85))
    assert failure == f"sst2 at 1d: the lower 95 % bound of accuracy is {bound:.6g}, below the 0.85 asked for"


def test_max_drop_compares_with_the_digital_model() -> None:
    assert failures(results(FLAT, {"sst2": 0.92}), Gate(max_drop=0.03)) == []
    assert failures(results(FLAT, {"sst2": 0.5}), Gate(max_drop=0.0)) == []  # better than digital
    (failure,) = failures(results(FLAT, {"sst2": 0.95}), Gate(max_drop=0.03))
    assert failure == (
        "sst2 at 1d: the lower 95 % bound of accuracy is 0.9, 0.05 below the digital model's 0.95; "
        "at most 0.03 is allowed"
    )


@pytest.mark.parametrize(
    ("value", "asked", "passes"),
    [
        (0.9, 0.9, True),
        (0.1 + 0.2, 0.3, True),
        (0.3, 0.1 + 0.2, True),  # the last bit decides nothing
        (0.9, 0.9 + 1e-9, False),
        (1.0, 1.0, True),
        (0.0, 0.0, True),
    ],
)
def test_min_accuracy_at_the_boundary(value: float, asked: float, passes: bool) -> None:
    assert (failures(results(chips(value, value, value)), Gate(min_accuracy=asked)) == []) is passes


@pytest.mark.parametrize(
    ("digital", "value", "drop", "passes"),
    [
        (0.91, 0.9, 0.01, True),  # 0.91 - 0.9 is 0.010000000000000009
        (0.3, 0.2, 0.1, True),
        (0.9, 0.9, 0.0, True),
        (0.91, 0.9 - 1e-9, 0.01, False),
        (0.9, 0.89, 0.0, False),
        (1.0, 0.0, 1.0, True),
    ],
)
def test_max_drop_at_the_boundary(digital: float, value: float, drop: float, passes: bool) -> None:
    rows = chips(value, value, value)
    assert (failures(results(rows, {"sst2": digital}), Gate(max_drop=drop)) == []) is passes


def test_both_conditions_are_reported() -> None:
    found = failures(results(FLAT, {"sst2": 1.0}), Gate(min_accuracy=0.95, max_drop=0.01))
    assert ["below the 0.95 asked for" in found[0], "at most 0.01 is allowed" in found[1]] == [True, True]
    assert len(found) == 2


def test_at_names_one_time_and_every_time_counts_without_it() -> None:
    rows = [*chips(0.9, 0.9, time="1d"), *chips(0.6, 0.6, time="1y"), *chips(0.4, 0.4, time="10y")]
    assert failures(results(rows), Gate(min_accuracy=0.8, at="1d")) == []
    assert failures(results(rows), Gate(min_accuracy=0.8, at="24h")) == []  # the same time
    found = failures(results(rows), Gate(min_accuracy=0.8))
    assert [failure.split(":")[0] for failure in found] == ["sst2 at 1y", "sst2 at 10y"]


def test_every_adapter_must_pass() -> None:
    rows = [
        *chips(0.9, 0.9, adapter="good"),
        *chips(0.5, 0.5, adapter="bad"),
        *chips(0.8, 0.8, adapter="worse"),
    ]
    measured = results(rows, {"good": 0.91, "bad": 0.5, "worse": 0.9})
    assert [failure.split()[0] for failure in failures(measured, Gate(min_accuracy=0.85))] == [
        "bad",
        "worse",
    ]
    assert [failure.split()[0] for failure in failures(measured, Gate(max_drop=0.05))] == ["worse"]


def test_only_the_metric_of_the_task_counts() -> None:
    rows = [part.model_copy(update={"metrics": {**part.metrics, "f1": 0.0}}) for part in FLAT]
    assert failures(results(rows), Gate(min_accuracy=0.85)) == []


@pytest.mark.parametrize("gate", [Gate(min_accuracy=0.5), Gate(max_drop=0.5)])
def test_one_chip_cannot_be_judged(gate: Gate) -> None:
    with pytest.raises(
        ConfigError, match="needs at least 2 chips, and adapter 'sst2' was evaluated on 1 at 1d: raise"
    ):
        failures(results(chips(0.9)), gate)


def test_a_time_that_was_not_evaluated_cannot_be_judged() -> None:
    rows = [*FLAT, *chips(0.9, 0.9, time="1y")]
    with pytest.raises(
        ConfigError, match="looks at 10y, and adapter 'sst2' was evaluated at 1d, 1y: choose one"
    ):
        failures(results(rows), Gate(min_accuracy=0.5, at="10y"))
    # One adapter that was evaluated then does not stand for another.
    rows += chips(0.9, 0.9, time="10y", adapter="other")
    with pytest.raises(ConfigError, match="adapter 'sst2' was evaluated at 1d, 1y"):
        failures(results(rows), Gate(min_accuracy=0.5, at="10y"))


def test_nothing_evaluated_cannot_be_judged() -> None:
    with pytest.raises(ConfigError, match="no adapter was evaluated"):
        failures(results([], {}), Gate(min_accuracy=0.5))
    with pytest.raises(ConfigError, match="looks at every time, and adapter 'sst2' was evaluated at no time"):
        failures(results([]), Gate(min_accuracy=0.5))


def test_a_drop_without_the_digital_model_cannot_be_judged() -> None:
    measured = results([*FLAT, *chips(0.9, 0.9, adapter="other")], {"other": 0.9})
    with pytest.raises(ConfigError, match="the digital model, which adapter 'sst2' was not evaluated on"):
        failures(measured, Gate(max_drop=0.5))
    assert failures(measured, Gate(min_accuracy=0.5)) == []


def test_there_is_a_verdict_for_each_adapter_time_and_condition() -> None:
    rows = [*chips(0.9, 0.9, time="1y"), *chips(0.9, 0.9), *chips(0.96, 0.96, adapter="other")]
    verdicts = judge(results(rows, {"sst2": 0.95, "other": 0.95}), Gate(min_accuracy=0.9, max_drop=0.02))
    assert [
        (part.adapter, part.time, part.t_s, part.condition, part.limit, part.digital, part.passed)
        for part in verdicts
    ] == [
        ("other", "1d", 86_400.0, "min_accuracy", 0.9, None, True),
        ("other", "1d", 86_400.0, "max_drop", 0.02, 0.95, True),
        ("sst2", "1d", 86_400.0, "min_accuracy", 0.9, None, True),
        ("sst2", "1d", 86_400.0, "max_drop", 0.02, 0.95, False),
        ("sst2", "1y", 31_536_000.0, "min_accuracy", 0.9, None, True),
        ("sst2", "1y", 31_536_000.0, "max_drop", 0.02, 0.95, False),
    ]
    assert {part.metric for part in verdicts} == {"accuracy"}
    assert [part.bound for part in verdicts] == pytest.approx([0.96, 0.96, 0.9, 0.9, 0.9, 0.9])
    assert [part.told for part in verdicts[:3]] == [
        "other at 1d: the lower 95 % bound of accuracy is 0.96, not below the 0.9 asked for",
        "other at 1d: the lower 95 % bound of accuracy is 0.96, 0.01 above the digital model's 0.95; "
        "at most 0.02 below is allowed",
        "sst2 at 1d: the lower 95 % bound of accuracy is 0.9, not below the 0.9 asked for",
    ]


def test_a_drop_that_is_allowed_is_told_like_one_that_is_not() -> None:
    (verdict,) = judge(results(FLAT), Gate(max_drop=0.1))
    assert verdict.passed
    assert verdict.told == (
        "sst2 at 1d: the lower 95 % bound of accuracy is 0.9, 0.05 below the digital model's 0.95; "
        "at most 0.1 is allowed"
    )


def test_the_gate_is_kept_with_the_results_and_old_files_have_none() -> None:
    gate = Gate(max_drop=0.1, at="24h")
    text = to_json(results(FLAT, gate=gate))
    assert from_json(text).gate == gate
    old = json.loads(text)
    del old["gate"]
    assert from_json(json.dumps(old)) == results(FLAT)
