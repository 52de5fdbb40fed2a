"""Results and comparisons as Markdown, for the summary of a CI run, a merge request or a README."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aimc_deploy.artifact.comparison import Comparison
from aimc_deploy.artifact.gate import Verdict, failures, judge
from aimc_deploy.artifact.results import Results, Summary, over_time, summarise
from aimc_deploy.report.verdict import headline, verdict_lines

_LONGEST = 60  # of a value in a table


def results_markdown(results: Results, verdicts: Sequence[Verdict], name: str | None = None) -> str:
    """The verdict first, then accuracy over time.

    Args:
        verdicts: none if no gate was asked for.
        name: of the results; their task's if None.
    """
    failed = failures(verdicts)
    held = f"{len(verdicts) - len(failed)} of {len(verdicts)} conditions of the gate hold"
    verdict = f"**{'Failed' if failed else 'Passed'}**: {held}." if verdicts else "No gate was asked for."
    chips = len({row.chip for row in results.rows})
    return _joined(
        f"### {_text(name or results.task)}",
        verdict,
        _listed(failed),
        _over_time(results),
        f"Mean {_text(results.metric)} and standard deviation over {chips} chips, in brackets the 95 % "
        f"interval of the mean; {results.samples} samples, seed {results.seed}, hardware "
        f"{_text(results.hardware_digest[:12])}.",
    )


def report_markdown(title: str, results: Mapping[str, Results]) -> str:
    """The page of a bundle, in short: the verdict on everything, then each evaluation with its plot.

    Args:
        results: by name; the plot of each is ``NAME.png`` beside this text.

    Raises:
        ConfigError: a gate is stored with results that cannot be judged by it.
    """
    verdict = headline(verdict_lines(results))
    mark = {True: "Pass", False: "Fail", None: "No verdict"}[verdict.passed]
    parts = [f"## {_text(title)}", f"**{mark}.** {_text(verdict.told)}."]
    for name, part in results.items():
        verdicts = judge(part, part.gate) if part.gate else []
        parts += [results_markdown(part, verdicts, name).rstrip(), f"![accuracy over time]({name}.png)"]
    return _joined(*parts)


def comparison_markdown(comparison: Comparison, name: str | None = None) -> str:
    """What moved against the baseline, the worst first; then what else changed."""
    failed = comparison.failures
    better = sum(change.outcome == "better" for change in comparison.changes)
    found = f"{len(failed)} of {len(comparison.changes) + len(comparison.missing)} comparisons failed"
    rows = [
        [
            change.adapter,
            change.time,
            f"{change.before:.4f}",
            f"{change.after:.4f}",
            f"{change.shift.change:+.4f}",
            f"{change.shift.ci_low:+.4f} to {change.shift.ci_high:+.4f}",
            f"{change.chance:.2g}",
            change.outcome,
        ]
        for change in comparison.changes
    ]
    heads = ["adapter", "time", "baseline", "now", "change", "95 % interval", "p", "outcome"]
    settings = [[part.key, shown(part.before), shown(part.after)] for part in comparison.settings]
    return _joined(
        f"### {_text(name or comparison.task)}: {_text(comparison.metric)} against the baseline",
        f"**{'Failed' if failed else 'Passed'}**: {found if failed else 'nothing got worse than is allowed'}"
        f"{f'; {better} got better' if better else ''}.",
        _listed(failed),
        _table(heads, "llrrrrrl", rows),
        f"It fails where the mean loses more than {comparison.max_loss:.6g} and p, after Holm's correction "
        f"for {len(rows)} comparisons, is at most {comparison.significance:.6g}; {comparison.method}.",
        _listed(part.told for part in comparison.added),
        "What else changed:" if settings else "",
        _table(["setting", "baseline", "now"], "lll", settings) if settings else "",
    )


def shown(value: Any) -> str:
    """A setting as a person reads it, shortened."""
    text = "not there" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _over_time(results: Results) -> str:
    times, lines = over_time(results.metric, results.baselines, summarise(results))
    rows = [
        [line.adapter, "" if line.digital is None else f"{line.digital:.4f}", *map(_cell, line.cells)]
        for line in lines
    ]
    return _table(["adapter", "no hardware", *times], "l" + "r" * (1 + len(times)), rows)


def _cell(part: Summary | None) -> str:
    if part is None:
        return ""
    if part.std is None:
        return f"{part.mean:.4f}"
    return f"{part.mean:.4f} ± {part.std:.4f} ({part.ci_low:.4f} to {part.ci_high:.4f})"


def _joined(*parts: str) -> str:
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_text(line)}" for line in lines)


def _table(heads: Sequence[str], sides: str, rows: Iterable[Sequence[str]]) -> str:
    """A table; ``sides`` has ``l`` or ``r`` for each column."""
    marks = ["---:" if side == "r" else ":---" for side in sides]
    lines = [[_text(cell) for cell in heads], marks, *([_text(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Text that stands for itself: on one line, with nothing in it that Markdown or HTML would take."""
    return re.sub(r"([\\`*_{}\[\]<>#|~&!@])", r"\\\1", " ".join(text.split()))
