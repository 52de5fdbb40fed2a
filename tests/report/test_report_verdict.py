"""What a report says first."""

from __future__ import annotations

from typing import Any

import pytest
from small_results import chips, results

from aimc_deploy.artifact.results import LORA_OFF, Results
from aimc_deploy.config.run import Gate
from aimc_deploy.report.verdict import headline, verdict_lines


def measured(means: dict[str, float], **changes: Any) -> Results:
    """Two chips of which one is a hundredth better, at 0 s without a loss and at a year with these means."""
    rows = [
        part
        for name, mean in means.items()
        for time, own in (("0s", 0.9), ("1y", mean))
        for part in chips(own, own + 0.01, adapter=name, time=time)
    ]
    return results(rows, dict.fromkeys(means, 0.9), **changes)


def test_nothing_measured() -> None:
    assert verdict_lines({}) == []
    assert headline([]).passed is None
    assert headline([]).told == "Nothing was evaluated yet"


def test_without_a_gate_the_adapter_that_loses_most_is_named_but_none_that_is_switched_off() -> None:
    lines = verdict_lines({"sst2": measured({"one": 0.88, "two": 0.80, f"two{LORA_OFF}": 0.5})})
    found = headline(lines)
    assert found.passed is None
    assert found.told == "No gate was asked for; two loses most: 0.0950 of 0.9000 accuracy at 1y"
    assert [line.lost for line in lines] == pytest.approx([0.015, 0.095, 0.395])
    assert [line.passed for line in lines] == [None] * 3
    better = headline(verdict_lines({"sst2": measured({"one": 0.91})}))
    assert (
        better.told == "No gate was asked for; one loses nothing of 0.9000 accuracy at 1y, and gains 0.0150"
    )


def test_a_gate_holds_or_says_what_does_not() -> None:
    # With two chips a hundredth apart the interval reaches 12.7 times half of that below the mean.
    passing = measured({"one": 0.88}, gate=Gate(max_drop=0.1))
    failing = measured({"one": 0.88, "two": 0.80}, gate=Gate(max_drop=0.1), task="cola")
    lines = verdict_lines({"plain": measured({"three": 0.1}), "good": passing, "bad": failing})
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
