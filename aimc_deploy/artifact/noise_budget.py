"""The noise budget: what each non-ideality costs by itself, and what all of them cost together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from aimc_deploy.artifact.results import Results

TOGETHER = "all together"


@dataclass(frozen=True)
class Loss:
    """What the digital model's metric loses on hardware with one non-ideality, or with all of them.

    Attributes:
        mean: over chips; negative where the metric has risen.
        std: over chips, with n - 1 in the denominator; None for one chip.
    """

    adapter: str
    part: str
    time: str
    t_s: float
    chips: int
    mean: float
    std: float | None


def losses(results: Results) -> list[Loss]:
    """By part, the costliest at the last time first and :data:`TOGETHER` at the end; then by time.

    All of them together are taken on the same chips at the same times.
    """
    own = {(row.adapter, row.chip, row.t_s) for row in results.noise_budget}
    rows = [(row.part, row) for row in results.noise_budget]
    rows += [(TOGETHER, row) for row in results.rows if (row.adapter, row.chip, row.t_s) in own]
    digital = {part.adapter: part.metrics[results.metric] for part in results.baselines}
    groups: dict[tuple[str, str, float], list[float]] = {}
    times = {row.t_s: row.time for _, row in rows}
    for part, row in rows:
        lost = digital[row.adapter] - row.metrics[results.metric]
        groups.setdefault((row.adapter, part, row.t_s), []).append(lost)
    last = max(times, default=0.0)

    def place(key: tuple[str, str, float]) -> tuple[str, bool, float, str, float]:
        adapter, part, t_s = key
        cost = statistics.fmean(groups.get((adapter, part, last), (0.0,)))  # it may lack the last time
        return adapter, part == TOGETHER, -cost, part, t_s

    return [
        Loss(
            adapter,
            part,
            times[t_s],
            t_s,
            len(groups[adapter, part, t_s]),
            statistics.fmean(groups[adapter, part, t_s]),
            statistics.stdev(groups[adapter, part, t_s]) if len(groups[adapter, part, t_s]) > 1 else None,
        )
        for adapter, part, t_s in sorted(groups, key=place)
    ]
