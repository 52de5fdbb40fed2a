"""``aimc-deploy train-in-memory --study``: run a study, and show its table."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from aimc_deploy.cli import options
from aimc_deploy.cli.output import Bar, emit, loading, note, out

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


def run_study(
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
