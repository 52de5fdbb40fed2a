"""``aimc-deploy gate``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimc_deploy.cli import ci, options
from aimc_deploy.cli.output import emit, guarded, loading, next_step, note, out
from aimc_deploy.config.run import Gate
from aimc_deploy.config.times import label, seconds

if TYPE_CHECKING:
    from aimc_deploy.artifact.comparison import Comparison
    from aimc_deploy.artifact.gate import Judged, Verdict


@guarded
def command(
    bundle: options.BundlePath = None,
    task: Annotated[str | None, typer.Option("--task", "-t", help="Judge the results of this task.")] = None,
    results: Annotated[
        str | None,
        typer.Option(
            help="Name of results in the bundle, or a file that ends with .json.", metavar="RESULTS"
        ),
    ] = None,
    min_accuracy: Annotated[
        str | None,
        typer.Option(help="Fail if the lower confidence bound is below this fraction: 0.9 or 90%."),
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(help="Fail if the lower bound is more than this below digital: 0.01 or 1%."),
    ] = None,
    at: Annotated[str | None, typer.Option(help="Time to look at; every time if left out.")] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Earlier results (JSON) to compare with: fail if something got worse."),
    ] = None,
    max_loss: Annotated[
        str, typer.Option(help="How much of the metric a mean may lose against the baseline: 0.005 or 0.5%.")
    ] = "0.005",
    significance: Annotated[
        float, typer.Option(help="A loss counts if chance makes it less often than this, over all of them.")
    ] = 0.05,
    junit: ci.JUnit = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Judge results that are there, against limits and against earlier results; exit 3 if they fail.

    Nothing is measured. Without limits, those count that `evaluate` was given.

    Examples:

        aimc-deploy gate --task sst2 --max-drop 1% --at 1y
        aimc-deploy gate --results new.json --baseline main.json --max-loss 0.5% --junit gate.xml
    """
    limits = {
        "min_accuracy": None if min_accuracy is None else options.fraction(min_accuracy, "--min-accuracy"),
        "max_drop": None if max_drop is None else options.fraction(max_drop, "--max-drop"),
        "at": None if at is None else label(seconds(at)),
    }
    if not 0 < significance < 1:
        raise typer.BadParameter(
            f"'{significance}' is no level: give one between 0 and 1, such as 0.05",
            param_hint="--significance",
        )
    loss = options.fraction(max_loss, "--max-loss")
    ci.check_junit(junit, asked=True)
    with loading(output):
        from aimc_deploy.workflows import gate as workflow

    found = workflow.run(
        options.bundle_path(bundle),
        task=task,
        results=results,
        gate=Gate.model_validate(limits),
        baseline=baseline,
        max_loss=loss,
        significance=significance,
    )
    compared = found.comparison
    payload = {
        "results": found.name,
        "task": found.results.task,
        "metric": found.results.metric,
        "verdicts": [asdict(verdict) for verdict in found.verdicts],
        "comparison": None if compared is None else asdict(compared),
        "gate_failures": found.failures,
    }
    emit(output, payload, lambda: show(found))
    if compared is not None:
        for part in compared.added:
            note(output, f"note: {part.told}")
    ci.conclude([found], junit)
    next_step(output, f"aimc-deploy report{options.place(options.bundle_path(bundle))}")


def show(found: Judged) -> None:
    """A table of the conditions, and one of what moved, with what else is not the same."""
    results = found.results
    if found.verdicts:
        show_verdicts(found.verdicts, f"{found.name}: the lower 95 % bound of {results.metric}")
    if found.comparison is not None:
        _show_comparison(found.comparison, found.name)


def show_verdicts(verdicts: list[Verdict], title: str) -> None:
    """A line for each condition."""
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    table.add_column("adapter", overflow="fold")
    for name in ("time", "bound", "condition"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("verdict")
    for part in verdicts:
        asked = f"at least {part.limit:.6g}"
        if part.digital is not None:
            asked = f"at most {part.limit:.6g} below {part.digital:.4f}"
        table.add_row(
            part.adapter, part.time, f"{part.bound:.4f}", asked, "passed" if part.passed else "failed"
        )
    out.print(table)


def _show_comparison(found: Comparison, name: str) -> None:
    from rich.table import Table

    from aimc_deploy.report.markdown import shown

    table = Table(title=f"{name}: {found.metric} against the baseline", title_justify="left")
    table.add_column("adapter", overflow="fold")
    for head in ("time", "baseline", "now", "change, 95 %", "p"):
        table.add_column(head, justify="right", no_wrap=True)
    table.add_column("outcome", no_wrap=True)
    for part in found.changes:
        shift = part.shift
        table.add_row(
            *(part.adapter, part.time, f"{part.before:.4f}", f"{part.after:.4f}"),
            f"{shift.change:+.4f} ± {(shift.ci_high - shift.ci_low) / 2:.4f}",
            *(f"{part.chance:.2g}", part.outcome),
        )
    out.print(table)
    out.print(f"{found.method}; p after Holm's correction for {len(found.changes)} comparisons")
    for missing in found.missing:
        out.print(f"missing: {missing.told}")
    if found.settings:
        out.print("what else changed:")
    for setting in found.settings:
        out.print(f"  {setting.key}: {shown(setting.before)} -> {shown(setting.after)}")
