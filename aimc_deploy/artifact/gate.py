"""The accuracy gate: what was asked of results, and one verdict for each adapter, time and condition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from aimc_deploy.artifact.comparison import Comparison
from aimc_deploy.artifact.results import ROUNDING, Results, Summary, summarise
from aimc_deploy.config.run import Gate
from aimc_deploy.config.times import seconds
from aimc_deploy.errors import ConfigError


@dataclass(frozen=True)
class Verdict:
    """Whether one condition holds for one adapter at one time, ``t_s`` seconds after programming.

    Attributes:
        metric: the task's primary one.
        bound: lower end of the metric's 95 % interval over chips, which must satisfy the condition.
        limit: smallest bound for ``min_accuracy``, largest drop for ``max_drop``.
        digital: the metric without hardware, which ``max_drop`` compares with; None for ``min_accuracy``.
        told: all of it as a sentence.
    """

    adapter: str
    time: str
    t_s: float
    condition: Literal["min_accuracy", "max_drop"]
    metric: str
    bound: float
    limit: float
    digital: float | None
    passed: bool
    told: str


@dataclass(frozen=True)
class Judged:
    """Results by their name, with what is made of them; without a verdict nothing was asked."""

    name: str
    results: Results
    verdicts: list[Verdict]
    comparison: Comparison | None = None

    @property
    def failures(self) -> list[str]:
        """What does not hold and what got worse, one sentence each."""
        return failures(self.verdicts) + (self.comparison.failures if self.comparison else [])


def failures(verdicts: Iterable[Verdict]) -> list[str]:
    """What does not hold, one sentence each."""
    return [verdict.told for verdict in verdicts if not verdict.passed]


def judge(results: Results, gate: Gate) -> list[Verdict]:
    """A verdict for each adapter, time and condition, in this order; none if the gate asks for nothing.

    Raises:
        ConfigError: fewer than two chips give no interval; the time of the gate was not evaluated; there
            is nothing to compare with.
    """
    if not gate.is_set():
        return []
    digital = {baseline.adapter: baseline.metrics[results.metric] for baseline in results.baselines}
    return [
        verdict
        for part in _gated(results, gate)
        for verdict in _verdicts(part, gate, digital.get(part.adapter))
    ]


def _verdicts(part: Summary, gate: Gate, digital: float | None) -> Iterator[Verdict]:
    if part.ci_low is None:
        raise ConfigError(
            f"a gate needs at least 2 chips, and adapter '{part.adapter}' was evaluated on {part.chips} "
            f"at {part.time}: raise evaluate.chips (--chips 10)"
        )
    bound = f"{part.adapter} at {part.time}: the lower 95 % bound of {part.metric} is {part.ci_low:.6g}"
    where = (part.adapter, part.time, part.t_s)
    if gate.min_accuracy is not None:
        passed = part.ci_low >= gate.min_accuracy - ROUNDING
        told = f"{bound}, {'not ' if passed else ''}below the {gate.min_accuracy:.6g} asked for"
        yield Verdict(*where, "min_accuracy", part.metric, part.ci_low, gate.min_accuracy, None, passed, told)
    if gate.max_drop is not None:
        if digital is None:
            raise ConfigError(
                f"max_drop compares with the digital model, which adapter '{part.adapter}' was not "
                "evaluated on: evaluate it again"
            )
        drop = digital - part.ci_low
        side, allowed = ("below", "") if drop >= 0 else ("above", " below")
        told = (
            f"{bound}, {abs(drop):.6g} {side} the digital model's {digital:.6g}; "
            f"at most {gate.max_drop:.6g}{allowed} is allowed"
        )
        passed = drop <= gate.max_drop + ROUNDING
        yield Verdict(*where, "max_drop", part.metric, part.ci_low, gate.max_drop, digital, passed, told)


def _gated(results: Results, gate: Gate) -> list[Summary]:
    """The summaries a gate looks at: for each adapter, all times or the one it names."""
    parts = [part for part in summarise(results) if part.metric == results.metric]
    chosen = [part for part in parts if gate.at is None or part.t_s == seconds(gate.at)]
    adapters = {part.adapter for part in (*results.baselines, *results.rows)}
    if not adapters:
        raise ConfigError("a gate was asked for and no adapter was evaluated: see evaluate.adapters")
    for adapter in sorted(adapters - {part.adapter for part in chosen}):
        times = ", ".join(part.time for part in parts if part.adapter == adapter) or "no time"
        raise ConfigError(
            f"the gate looks at {gate.at or 'every time'}, and adapter '{adapter}' was evaluated at {times}: "
            "choose one of these with --at, or evaluate at that time too with --times"
        )
    return chosen
