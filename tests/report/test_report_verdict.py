"""What a report says first."""

from __future__ import annotations

import pytest

from aimc_deploy.artifact.results import LORA_OFF, Baseline, Results, Row
from aimc_deploy.config.run import Gate
from aimc_deploy.config.times import seconds
from aimc_deploy.report.verdict import headline, verdict_lines


def results(means: dict[str, float], gate: Gate | None = None, task: str = "sst2") -> Results:
    """Two chips of which one is a hundredth better, at 0 s without a loss and at a year with these means."""
    return Results(
        task=task,
        metric="accuracy",
        samples=100,
        seed=0,
        hardware_digest="b" * 64,
        settings={},
        gate=gate,
        baselines=tuple(Baseline(adapter=name, metrics={"accuracy": 0.9}) for name in means),
        rows=tuple(
            Row(
                adapter=name, chip=chip, time=time, t_s=seconds(time), metrics={"accuracy": own + 0.01 * chip}
            )
            for name, mean in means.items()
            for time, own in (("0s", 0.9), ("1y", mean))
            for chip in (0, 1)
        ),
    )


def test_nothing_measured() -> None:
    assert verdict_lines({}) == []
    assert headline([]).passed is None
    assert headline([]).told == "Nothing was evaluated yet"


def test_without_a_gate_the_adapter_that_loses_most_is_named_but_none_that_is_switched_off() -> None:
    lines = verdict_lines({"sst2": results({"one": 0.88, "two": 0.80, f"two{LORA_OFF}": 0.5})})
    found = headline(lines)
    assert found.passed is None
    assert found.told == "No gate was asked for; two loses most: 0.0950 of 0.9000 accuracy at 1y"
    assert [line.lost for line in lines] == pytest.approx([0.015, 0.095, 0.395])
    assert [line.passed for line in lines] == [None] * 3


def test_a_gate_holds_or_says_what_does_not() -> None:
    # With two chips a hundredth apart the interval reaches 12.7 times half of that below the mean.
    passing = results({"one": 0.88}, Gate(max_drop=0.1))
    failing = results({"one": 0.88, "two": 0.80}, Gate(max_drop=0.1), task="cola")
    lines = verdict_lines({"plain": results({"three": 0.1}), "good": passing, "bad": failing})
    assert [(line.results, line.adapter, line.passed) for line in lines] == [
        ("bad", "two", False),
        ("good", "one", True),
        ("bad", "one", True),
        ("plain", "three", None),
    ]
    (told,) = lines[0].failures
    assert told.startswith("two at 1y: the lower 95 % bound of accuracy is 0.741469")
    assert [line.failures for line in lines[1:]] == [()] * 3
    assert headline(lines).passed is False
    assert headline(lines).told == "The gate fails for two"
    alone = headline(verdict_lines({"good": passing}))
    assert (alone.passed, alone.told) == (True, "The gate holds for one")
