"""What a report says first: for each adapter whether its gate holds, and what it has lost in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aimc_deploy.artifact.gate import failures, judge
from aimc_deploy.artifact.results import LORA_OFF, Results, Summary, over_time, summarise


@dataclass(frozen=True)
class Line:
    """One adapter of one evaluation.

    Attributes:
        results: name of the evaluation.
        digital: the metric without hardware.
        first, last: the metric at the first and the last time.
        passed: whether every condition of the gate holds for it; None if there was no gate.
        failures: the conditions that do not hold, one sentence each.
    """

    results: str
    task: str
    metric: str
    adapter: str
    digital: float
    first: Summary
    last: Summary
    passed: bool | None
    failures: tuple[str, ...]

    @property
    def lost(self) -> float:
        """What the metric has lost at the last time, against the digital model."""
        return self.digital - self.last.mean


@dataclass(frozen=True)
class Headline:
    """The verdict on everything: ``passed`` is None where no gate was asked for."""

    passed: bool | None
    told: str


def verdict_lines(results: Mapping[str, Results]) -> list[Line]:
    """A line for each adapter of each evaluation by its name: what fails first, what has no gate last.

    Raises:
        ConfigError: a gate is stored with results that cannot be judged by it.
    """
    found = []
    for name, part in results.items():
        verdicts = judge(part, part.gate) if part.gate else []
        for line in over_time(part.metric, part.baselines, summarise(part))[1]:
            measured = [cell for cell in line.cells if cell is not None]
            judged = [verdict for verdict in verdicts if verdict.adapter == line.adapter]
            passed = all(verdict.passed for verdict in judged) if judged else None
            if measured and line.digital is not None:
                ends = measured[0], measured[-1]
                own = (name, part.task, part.metric, line.adapter, line.digital)
                found.append(Line(*own, *ends, passed, tuple(failures(judged))))
    return sorted(found, key=lambda line: (line.passed is None, line.passed))


def headline(lines: Sequence[Line]) -> Headline:
    """All lines in one sentence."""
    judged = [line for line in lines if line.passed is not None]
    if not lines:
        return Headline(None, "Nothing was evaluated yet")
    if not judged:
        adapted = [line for line in lines if not line.adapter.endswith(LORA_OFF)]
        worst = max(adapted or lines, key=lambda line: line.lost)
        of = f"of {worst.digital:.4f} {worst.metric} at {worst.last.time}"
        most = f"{worst.adapter} loses most: {worst.lost:.4f} {of}"
        none = f"{worst.adapter} loses nothing {of}, and gains {-worst.lost:.4f}"
        return Headline(None, f"No gate was asked for; {most if worst.lost >= 0 else none}")
    failed = [line.adapter for line in judged if not line.passed]
    if failed:
        return Headline(False, f"The gate fails for {', '.join(dict.fromkeys(failed))}")
    return Headline(True, f"The gate holds for {', '.join(dict.fromkeys(line.adapter for line in judged))}")
