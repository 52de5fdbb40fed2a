"""The difference of two means over chips, and how often chance alone would make it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aimc_deploy.artifact.results import CONFIDENCE, ROUNDING


@dataclass(frozen=True)
class Shift:
    """The difference of two means over chips, by Student's t.

    Attributes:
        change: the second minus the first.
        ci_low, ci_high: 95 % interval of the change.
        p_worse, p_better: how often chance alone shifts as far down, as far up.
    """

    change: float
    ci_low: float
    ci_high: float
    p_worse: float
    p_better: float


def paired_shift(before: Sequence[float], after: Sequence[float], resolution: float = 0.0) -> Shift:
    """The shift of the same chips, two of them at least, by the paired t test.

    Args:
        resolution: steps in which the figures come, one sample in so many. Differences that spread less
            than rounding to such steps does count as if they spread that much: two chips that each lost
            the same one sample prove nothing.
    """
    differences = [new - old for old, new in zip(before, after, strict=True)]
    if all(abs(difference) < ROUNDING for difference in differences):
        return Shift(0.0, 0.0, 0.0, 1.0, 1.0)
    variance = max(statistics.variance(differences), 2 * _of_rounding(resolution))
    count = len(differences)
    return _shift(statistics.fmean(differences), variance / count, count - 1)


def unpaired_shift(
    before: Sequence[float], after: Sequence[float], resolutions: tuple[float, float] = (0.0, 0.0)
) -> Shift:
    """The shift between two samples of chips, two of them at least in each, by Welch's t test."""
    parts = [
        max(statistics.variance(values), _of_rounding(resolution)) / len(values)
        for values, resolution in zip((before, after), resolutions, strict=True)
    ]
    squares = sum(part**2 / (len(values) - 1) for part, values in zip(parts, (before, after), strict=True))
    degrees = sum(parts) ** 2 / squares if squares else 1.0
    return _shift(statistics.fmean(after) - statistics.fmean(before), sum(parts), degrees)


def _of_rounding(resolution: float) -> float:
    """Variance of what rounding to such steps takes away."""
    return resolution**2 / 12


def _shift(change: float, variance: float, degrees: float) -> Shift:
    from scipy.stats import t  # comes with scikit-learn, and takes a second to import

    error = math.sqrt(variance)
    if error == 0:
        return Shift(change, change, change, float(change >= 0), float(change <= 0))
    half = float(t.ppf((1 + CONFIDENCE) / 2, degrees)) * error
    p_worse, p_better = (float(tail(change / error, degrees)) for tail in (t.cdf, t.sf))
    return Shift(change, change - half, change + half, p_worse, p_better)


def holm(chances: Sequence[float]) -> list[float]:
    """Holm's step-down correction: what each chance is worth beside the others, whatever binds them."""
    corrected, largest = [0.0] * len(chances), 0.0
    for rank, index in enumerate(sorted(range(len(chances)), key=lambda place: chances[place])):
        largest = max(largest, min(1.0, (len(chances) - rank) * chances[index]))
        corrected[index] = largest
    return corrected
