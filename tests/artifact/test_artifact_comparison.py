"""Two evaluations side by side: what is compared, what fails, and what is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_results import around, chips, results

from aimc_deploy.artifact.comparison import Comparison, Setting, compare
from aimc_deploy.artifact.results import Results, Row
from aimc_deploy.artifact.shift import holm, paired_shift, unpaired_shift
from aimc_deploy.errors import ConfigError


def outcomes(comparison: Comparison) -> dict[tuple[str, str], str]:
    return {(change.adapter, change.time): change.outcome for change in comparison.changes}


BASE = results(around(0.9))


def test_nothing_moved() -> None:
    found = compare(BASE, BASE)
    (change,) = found.changes
    assert (change.outcome, change.shift.change, change.holm_worse) == ("no change", 0.0, 1.0)
    assert (change.chips, change.paired) == ((5, 5), True)
    assert change.told == "sst2 at 1d: accuracy was 0.9004 and is 0.9004, the same"
    assert (found.failures, found.missing, found.added, found.settings) == ([], (), (), ())


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        (around(0.89, 1.2), "worse"),
        (around(0.897, 1.2), "tolerated"),
        (around(0.91, 1.2), "better"),
        (around(0.9001, 1.2), "no change"),
        (chips(0.9, 0.89, 0.91, 0.85, 0.91), "undecided"),
    ],
)
def test_outcomes(after: list[Row], outcome: str) -> None:
    found = compare(BASE, results(after))
    assert [change.outcome for change in found.changes] == [outcome]
    assert (found.failures == [found.changes[0].told]) is (outcome == "worse")
    assert compare(BASE, results(after), max_loss=0.5).failures == []
    assert compare(BASE, results(after), significance=1e-9).failures == []


def test_what_is_told_names_the_figures() -> None:
    after = around(0.89, 1.2)
    (told,) = compare(BASE, results(after)).failures
    shift = paired_shift(*([row.metrics["accuracy"] for row in rows] for rows in (BASE.rows, after)), 1 / 872)
    assert told == (
        "sst2 at 1d: accuracy was 0.9004 and is 0.89048, 0.00992 worse (95 % interval "
        f"{shift.ci_low:+.3g} to {shift.ci_high:+.3g}, p {shift.p_worse:.2g} after Holm's correction); "
        "at most 0.005 is allowed"
    )
    (change,) = compare(BASE, results(chips(0.9, 0.89, 0.91, 0.85, 0.91))).changes
    assert change.told.endswith("; at most 0.005 is allowed, but this may be chance: more chips decide it")
    (change,) = compare(BASE, results(around(0.91, 1.2))).changes
    assert ", 0.0101 better (95 % interval " in change.told


@pytest.mark.parametrize(
    ("changes", "paired"),
    [({}, True), ({"hardware_digest": "c" * 64}, True), ({"seed": 1}, False), ({"samples": 100}, False)],
)
def test_chips_are_paired_where_they_are_the_same(changes: dict[str, Any], paired: bool) -> None:
    after = results(around(0.89, 1.2), **changes)
    (change,) = compare(BASE, after).changes
    values = [[row.metrics["accuracy"] for row in part.rows] for part in (BASE, after)]
    steps = 1 / 872, 1 / after.samples
    expected = paired_shift(*values, steps[0]) if paired else unpaired_shift(*values, steps)
    assert (change.paired, change.shift) == (paired, expected)


def test_other_chip_numbers_are_not_paired() -> None:
    later = [row.model_copy(update={"chip": row.chip + 1}) for row in around(0.9)]
    for after in (around(0.9)[:4], later):
        (change,) = compare(BASE, results(after)).changes
        assert not change.paired
    assert compare(BASE, results(around(0.9)[:4])).changes[0].chips == (5, 4)


def test_a_pair_is_one_chip_whatever_the_order_of_rows() -> None:
    after = around(0.89)
    assert compare(BASE, results(after[::-1])) == compare(BASE, results(after))


def test_all_comparisons_are_corrected_together_and_the_worst_comes_first() -> None:
    before = [row for time in ("0s", "1d", "1y") for row in around(0.9, time=time)]
    after = [*around(0.91, 1.5, time="0s"), *around(0.87, 1.5), *around(0.899, 1.5, time="1y")]
    found = compare(results(before), results(after))
    assert [change.time for change in found.changes] == ["1d", "1y", "0s"]
    assert outcomes(found) == {("sst2", "1d"): "worse", ("sst2", "1y"): "no change", ("sst2", "0s"): "better"}
    by_time = sorted(found.changes, key=lambda change: change.t_s)
    assert [change.holm_worse for change in by_time] == holm([change.shift.p_worse for change in by_time])
    assert [change.holm_better for change in by_time] == holm([change.shift.p_better for change in by_time])
    assert len(found.failures) == 1


def test_a_shift_that_is_certain_alone_may_be_chance_among_many() -> None:
    after = chips(0.895, 0.9, 0.885, 0.897, 0.894)
    (alone,) = compare(BASE, results(after)).changes
    assert (alone.outcome, 0.005 < alone.holm_worse < 0.05) == ("worse", True)
    times = [f"{number}h" for number in range(1, 13)]
    still = [row for time in times for row in around(0.9, time=time)]
    among = compare(results([*BASE.rows, *still]), results([*after, *still]))
    assert (outcomes(among)["sst2", "1d"], among.failures) == ("undecided", [])


def test_at_looks_at_one_time() -> None:
    before = results([*around(0.9, time="0s"), *around(0.9)])
    after = results([*around(0.8, time="0s"), *around(0.9)])
    assert len(compare(before, after).failures) == 1
    assert compare(before, after, at="24h").failures == []
    assert compare(before, results(around(0.9)), at="1d").missing == ()


def test_what_was_not_evaluated_again_fails_and_what_is_new_does_not() -> None:
    before = results([*around(0.9), *around(0.9, time="1y"), *around(0.9, adapter="gone")])
    after = results([*around(0.9), *around(0.9, time="10y"), *around(0.9, adapter="new")])
    found = compare(before, after)
    assert found.failures == [
        "adapter 'gone' was not evaluated at 1d, as the baseline was: evaluate it, or take another baseline",
        "adapter 'sst2' was not evaluated at 1y, as the baseline was: evaluate it, or take another baseline",
    ]
    assert [part.told for part in found.added] == [
        "adapter 'new' was evaluated at 1d, and the baseline was not",
        "adapter 'sst2' was evaluated at 10y, and the baseline was not",
    ]
    assert [(part.adapter, part.times) for part in found.missing] == [("gone", ("1d",)), ("sst2", ("1y",))]
    assert [part.adapter for part in compare(after, before).missing] == ["new", "sst2"]


def test_what_else_changed_is_listed_key_by_key() -> None:
    hardware = {"name": "pcm", "adc": {"bits": 8}, "g_max": 25.0}
    before = results(BASE.rows, settings={"hardware": hardware, "batch_size": 64, "request_sha256": "a"})
    after = results(
        BASE.rows,
        {"sst2": 0.94, "new": 0.9},
        seed=1,
        hardware_digest="c" * 64,
        settings={"hardware": {"name": "pcm", "adc": {"bits": 6, "gain": 1}}, "batch_size": 64, "chips": 9},
    )
    assert compare(before, after).settings == (
        Setting("hardware digest", "b" * 12, "c" * 12),
        Setting("hardware.adc.bits", 8, 6),
        Setting("hardware.adc.gain", None, 1),
        Setting("hardware.g_max", 25.0, None),
        Setting("seed", 0, 1),
        Setting("sst2 without hardware", 0.95, 0.94),
    )


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (results(around(0.9), task="cola"), "accuracy of task 'sst2', the results are accuracy of 'cola'"),
        (results([], {}, metric="f1"), "the results are f1 of 'sst2'"),
        (results(around(0.9, time="1y")), "in common: sst2 at 1d against sst2 at 1y"),
        (results([]), "in common: sst2 at 1d against nothing"),
        (results(chips(0.9)), "at least 2 chips, and the results have 1 for adapter 'sst2' at 1d"),
    ],
)
def test_what_cannot_be_compared_is_refused(after: Results, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        compare(BASE, after)


def test_a_baseline_of_one_chip_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"the baseline has 1 for .*: evaluate on more \(--chips 10\)"):
        compare(results(chips(0.9)), BASE)
    with pytest.raises(ConfigError, match="no adapter and time in common at 1y"):
        compare(BASE, BASE, at="1y")


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 32), st.integers(0, 32)), min_size=2, max_size=6))
def test_only_a_loss_larger_than_allowed_fails_whatever_the_figures(pairs: list[tuple[int, int]]) -> None:
    before, after = (
        results(chips(*(value / 32 for value in side)), samples=32) for side in zip(*pairs, strict=True)
    )
    (change,) = compare(before, after).changes
    loss = (sum(old for old, _ in pairs) - sum(new for _, new in pairs)) / 32 / len(pairs)
    assert change.before - change.after == pytest.approx(loss, abs=1e-12)
    failed = bool(compare(before, after).failures)
    assert failed == (change.holm_worse <= 0.05 and loss > 0.005)
    assert not (failed and compare(after, before).failures)
    assert change.shift.ci_low <= change.shift.change <= change.shift.ci_high
