"""The difference of two means over chips: as scipy has it, and no more false alarms than were asked for."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from aimc_deploy.artifact.shift import Shift, holm, paired_shift, unpaired_shift

BEFORE = [0.912, 0.905, 0.921, 0.899, 0.917, 0.908]
AFTER = [0.903, 0.901, 0.909, 0.897, 0.911, 0.896]
FRACTIONS = st.floats(0, 1)
PAIRS = st.lists(st.tuples(FRACTIONS, FRACTIONS), min_size=2, max_size=12)
CHANCES = st.lists(FRACTIONS, min_size=1, max_size=12)


def as_scipy(test: object, after: object) -> tuple[float, ...]:
    """What scipy gives for the two sides and the interval, in the order of :class:`Shift`."""
    low, high = after.confidence_interval(0.95)  # type: ignore[attr-defined]
    return float(low), float(high), float(test.pvalue)  # type: ignore[attr-defined]


def test_paired_chips_are_tested_as_scipy_does() -> None:
    shift = paired_shift(BEFORE, AFTER)
    worse = stats.ttest_rel(AFTER, BEFORE, alternative="less")
    expected = as_scipy(worse, stats.ttest_rel(AFTER, BEFORE))
    assert (shift.ci_low, shift.ci_high, shift.p_worse) == pytest.approx(expected, rel=1e-9)
    better = stats.ttest_rel(AFTER, BEFORE, alternative="greater")
    assert shift.p_better == pytest.approx(better.pvalue, rel=1e-9)
    assert shift.change == pytest.approx(np.mean(AFTER) - np.mean(BEFORE))
    assert shift.p_worse < 0.005 < unpaired_shift(BEFORE, AFTER).p_worse, "pairs see what samples do not"


def test_other_chips_are_tested_as_scipy_does() -> None:
    few = AFTER[:4]
    shift = unpaired_shift(BEFORE, few)
    worse = stats.ttest_ind(few, BEFORE, equal_var=False, alternative="less")
    expected = as_scipy(worse, stats.ttest_ind(few, BEFORE, equal_var=False))
    assert (shift.ci_low, shift.ci_high, shift.p_worse) == pytest.approx(expected, rel=1e-9)
    assert shift.change == pytest.approx(np.mean(few) - np.mean(BEFORE))


def test_a_worked_example() -> None:
    # Differences -0.1 and -0.3: mean -0.2, error 0.1, one degree of freedom, where t is a Cauchy variable.
    shift = paired_shift([0.5, 0.9], [0.4, 0.6])
    assert shift.p_worse == pytest.approx(0.5 + math.atan(-2.0) / math.pi)
    assert (shift.ci_low, shift.ci_high) == pytest.approx((-0.2 - 1.27062, -0.2 + 1.27062), abs=1e-5)


@given(PAIRS)
def test_the_other_way_round_is_the_mirror_image(pairs: list[tuple[float, float]]) -> None:
    before, after = zip(*pairs, strict=True)
    for test in (paired_shift, unpaired_shift):
        there, back = test(before, after), test(after, before)
        assert there.change == -back.change
        assert (there.ci_low, there.ci_high) == pytest.approx((-back.ci_high, -back.ci_low), abs=1e-12)
        assert (there.p_worse, there.p_better) == pytest.approx((back.p_better, back.p_worse), abs=1e-12)
        assert there.ci_low <= there.change <= there.ci_high


@given(PAIRS, st.randoms(use_true_random=False))
def test_the_order_of_chips_does_not_count(pairs: list[tuple[float, float]], chance: object) -> None:
    mixed = chance.sample(pairs, len(pairs))  # type: ignore[attr-defined]
    one, two = (paired_shift(*zip(*part, strict=True)) for part in (pairs, mixed))
    assert one.p_worse == pytest.approx(two.p_worse, rel=1e-6, abs=1e-9)


@given(PAIRS, st.floats(0.001, 0.5))
def test_a_larger_loss_is_less_likely_by_chance(pairs: list[tuple[float, float]], loss: float) -> None:
    before, after = zip(*pairs, strict=True)
    spread = [new - old for old, new in pairs]
    assume(statistics.stdev(spread) > 1e-6)
    worse = paired_shift(before, [value - loss for value in after])
    assert worse.p_worse <= paired_shift(before, after).p_worse + 1e-12


def test_the_same_figures_are_no_shift() -> None:
    assert paired_shift(BEFORE, BEFORE, 1 / 872) == Shift(0.0, 0.0, 0.0, 1.0, 1.0)
    rounded = [value + 1e-17 * place for place, value in enumerate(BEFORE)]
    assert paired_shift(BEFORE, rounded, 1 / 872) == Shift(0.0, 0.0, 0.0, 1.0, 1.0)
    assert unpaired_shift([0.5, 0.5], [0.5, 0.5]).p_worse == 1.0


def test_equal_losses_are_certain_if_they_are_more_than_a_sample_or_two() -> None:
    lost = [value - 0.1 for value in BEFORE]
    for shift in (paired_shift(BEFORE, lost, 1 / 872), unpaired_shift([0.9] * 6, [0.8] * 6, (1 / 872,) * 2)):
        assert shift.change == pytest.approx(-0.1)
        assert shift.p_worse < 1e-9
        assert -0.102 < shift.ci_low < shift.ci_high < -0.098
    assert unpaired_shift([0.9, 0.9], [0.8, 0.8]) == Shift(*[0.8 - 0.9] * 3, 0.0, 1.0)
    # Two chips that each lost one sample of 32: that happens.
    assert paired_shift([0.5, 0.75], [0.5 - 1 / 32, 0.75 - 1 / 32], 1 / 32).p_worse == pytest.approx(
        stats.t.cdf(-math.sqrt(12), 1)
    )
    assert paired_shift(BEFORE, AFTER, 1 / 872) == paired_shift(BEFORE, AFTER), "a spread counts as it is"


def test_holm_on_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@given(CHANCES, st.floats(0.001, 0.999))
def test_holm_rejects_what_its_steps_reject(chances: list[float], level: float) -> None:
    """The definition: from the smallest on, until one is above level / (how many are left)."""
    assume(all(abs(chance * left - level) > 1e-9 for chance in chances for left in range(1, 13)))
    rejected: set[int] = set()
    for rank, index in enumerate(sorted(range(len(chances)), key=lambda place: chances[place])):
        if chances[index] > level / (len(chances) - rank):
            break
        rejected.add(index)
    assert {index for index, chance in enumerate(holm(chances)) if chance <= level} == rejected
    for chance, corrected in zip(chances, holm(chances), strict=True):
        assert chance <= corrected <= 1


# How often a gate at 5 % cries where nothing changed: seven times of one adapter that share their chips.
REPEATS = 700


@pytest.mark.parametrize(
    ("chips", "samples", "paired"),
    [(10, None, True), (10, None, False), (10, 872, True), (3, 32, True), (2, 32, True), (3, 32, False)],
)
def test_false_alarms_are_no_more_than_were_asked_for(chips: int, samples: int | None, paired: bool) -> None:
    draw = np.random.default_rng(chips)
    resolution = 0.0 if samples is None else 1 / samples
    single = family = 0
    for _ in range(REPEATS):
        own = draw.normal(0.9, 0.02, (chips, 1))
        sides = []
        for side in range(2):
            base = own if paired or side == 0 else draw.normal(0.9, 0.02, (chips, 1))
            noise = draw.normal(0, 0.01, (chips, 1)) + draw.normal(0, 0.01, (chips, 7))
            values = base + noise
            if samples is not None:  # a share of so many samples, each of them by chance
                values = draw.binomial(samples, np.clip(values, 0, 1)) / samples
            sides.append(values.T.tolist())
        found = [
            paired_shift(before, after, resolution)
            if paired
            else unpaired_shift(before, after, (resolution, resolution))
            for before, after in zip(*sides, strict=True)
        ]
        single += found[0].p_worse <= 0.05
        family += min(holm([shift.p_worse for shift in found])) <= 0.05
    error = math.sqrt(0.05 * 0.95 / REPEATS)  # 0.0082
    assert family / REPEATS <= 0.05 + 3 * error
    assert single / REPEATS <= 0.05 + 3 * error
    if samples is None and paired:
        assert single / REPEATS >= 0.05 - 3 * error, "nor is it blunt"


def test_a_real_loss_is_seen() -> None:
    draw = np.random.default_rng(1)
    own = draw.normal(0.9, 0.02, (200, 10))
    before, after = (own + draw.normal(0, 0.005, own.shape) for _ in range(2))
    seen = [paired_shift(old, new - 0.01).p_worse <= 0.05 for old, new in zip(before, after, strict=True)]
    # The error of a difference is 0.005 * sqrt(2 / 10) = 0.0022, the loss is 4.5 of these.
    assert statistics.fmean(seen) > 0.97
