"""``aimc-deploy train-in-memory``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import Bar, emit, guarded, loading, note, out

if TYPE_CHECKING:
    from aimc_deploy.workflows.study.results import Results


class Named(str, Enum):
    """The studies there are; those of :mod:`aimc_deploy.workflows.study.studies`."""

    tau = "tau"
    responses = "responses"
    gamma = "gamma"
    symmetric_point = "symmetric-point"
    noise = "noise"
    states = "states"


@guarded
def command(
    study: Annotated[
        Named, typer.Option(help="Compare methods on scikit-learn's digits, along one property of devices.")
    ],
    seeds: Annotated[int, typer.Option(help="Runs of each point that are reported.", min=1, max=1000)] = 5,
    epochs: Annotated[
        int | None, typer.Option(help="Instead of the study's own, for a quick look.", min=1, max=10_000)
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Runs at a time; no figure depends on it.", min=1)
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Folder of the runs and of the results [./study-NAME].")
    ] = None,
    output: options.Output = options.Format.human,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Train weights by pulses on analog devices.

    A study trains a small network in many ways, each with several seeds and at the best of a few learning
    rates, which are chosen by digits outside of the test part. Call it again to go on: what is done is kept.

    Examples:

        aimc-deploy train-in-memory --study tau
        aimc-deploy train-in-memory --study states --dry-run
        aimc-deploy train-in-memory --study noise --epochs 2 --seeds 1 --workers 4
    """
    _study(study.value, folder or Path(f"study-{study.value}"), seeds, epochs, workers, output, dry_run)


def _study(
    name: str,
    folder: Path,
    seeds: int,
    epochs: int | None,
    workers: int | None,
    output: options.Format,
    dry_run: bool,
) -> None:
    """Run a study, or list what it would run."""
    from aimc_deploy.config.executor import Local

    with loading(output):
        from aimc_deploy.workflows import study as workflow
        from aimc_deploy.workflows.study import studies
    asked = studies.study(name, epochs)
    if dry_run:
        listed = workflow.listed(asked, folder, seeds)
        payload = [
            {"method": part.point.method, asked.axis: part.point.x, "runs": part.runs, "done": part.done}
            for part in listed
        ]

        def human() -> None:
            for part in listed:
                point = part.point
                where = "" if point.x is None else f", {asked.axis} {studies.place(point.x)}"
                out.print(f"{part.done} of {part.runs}  {point.method}{where}")

        emit(output, payload, human)
        done, runs = sum(part.done for part in listed), sum(part.runs for part in listed)
        note(output, f"dry run: {done} of {runs} runs are done; nothing was computed")
        return
    with Bar(output) as bar:
        result = workflow.run(asked, folder, seeds=seeds, executor=Local(workers=workers), progress=bar)
    payload = result.results.model_dump(mode="json", exclude={"cells": {"__all__": {"rows"}}})
    emit(
        output,
        {**payload, "kept": result.kept, "files": [str(path) for path in result.files]},
        lambda: _show(result.results, result.files),
    )


def _show(found: Results, files: list[Path]) -> None:
    """Its table, and where the files are."""
    from rich.table import Table

    from aimc_deploy.workflows.study.studies import place

    table = Table(
        title=f"{found.title}: percent of test digits, {len(found.seeds)} seeds", title_justify="left"
    )
    table.add_column(found.axis)
    for x in found.columns:
        table.add_column(place(x), overflow="fold")
    for method in found.methods:
        cells = [found.cell(method, x) for x in found.columns]
        table.add_row(method, *("" if cell is None else cell.text for cell in cells))
    out.print(table)
    for path in files:
        out.print(str(path))
