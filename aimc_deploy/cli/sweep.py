"""``aimc-deploy sweep``."""

from __future__ import annotations

import shlex
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import Bar, emit, guarded, next_step, note, out
from aimc_deploy.errors import PointsFailed

if TYPE_CHECKING:
    from aimc_deploy.workflows.sweep import SweepResult
    from aimc_deploy.workflows.sweep.points import SweepFile

FOLDER = Path("aimc-sweep")
SHOWN = 40  # lines of a table on a screen
COLUMNS = {"tiles": "tiles", "token_ns": "token us", "adapter_bytes": "adapters KiB"}


class Engine(str, Enum):
    """Where points are computed."""

    local = "local"
    ray = "ray"
    slurm = "slurm"


class Searcher(str, Enum):
    """What chooses the points of a search."""

    optuna = "optuna"


@guarded
def command(
    sweep: Annotated[
        Path, typer.Argument(metavar="SWEEP", help="YAML file: recipe, set, grid, points, search.")
    ],
    folder: Annotated[Path, typer.Option("--out", help="Folder of the points and of the table.")] = FOLDER,
    executor: Annotated[
        Engine | None, typer.Option(help="Where points are computed; the file's if left out.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Points at a time; no row depends on it.")] = None,
    shard: Annotated[
        str | None, typer.Option(help="Compute the i-th of n shares, such as 3/8, and write no table.")
    ] = None,
    search: Annotated[Searcher | None, typer.Option(help="Search what the file says under search.")] = None,
    trials: Annotated[int | None, typer.Option(help="Points of the search, in all.", min=1)] = None,
    settings: options.Settings = None,
    output: options.Output = options.Format.human,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Compute many points of the settings, each once, and put them into one table with its Pareto front.

    Call it again to go on: what is done is kept.

    Examples:

        aimc-deploy sweep sweep.yaml
        aimc-deploy sweep sweep.yaml --dry-run
        aimc-deploy sweep sweep.yaml --set adapt.epochs=1 --workers 4
        aimc-deploy sweep sweep.yaml --executor ray
        aimc-deploy sweep sweep.yaml --shard 3/8
        aimc-deploy sweep sweep.yaml --search optuna --trials 40
    """
    share = None if shard is None else _share(shard)
    if (search is None) != (trials is None):
        raise typer.BadParameter("--search and --trials go together: --search optuna --trials 40")
    if search is not None and (share is not None or dry_run):
        raise typer.BadParameter("nobody knows the points of a search before: no --shard, no --dry-run")
    from aimc_deploy.workflows import sweep as workflow

    asked = {"kind": None if executor is None else executor.value, "workers": workers}
    file = workflow.read_sweep(
        sweep, settings or (), {key: value for key, value in asked.items() if value is not None}
    )
    if dry_run:
        _list(file, folder, output)
        return
    with Bar(output) as bar:
        result = workflow.run(file, folder, shard=share, trials=trials, progress=bar)
    payload = {
        "points": result.lines,
        "kept": result.kept,
        "problems": result.problems,
        "files": [str(path) for path in result.files],
    }
    emit(output, payload, lambda: show(result))
    for problem in result.problems:
        note(output, problem)
    if result.problems:
        raise PointsFailed(
            f"points that failed or were lost: {len(result.problems)}; the others are kept: call this "
            "again to try those once more"
        )
    if share is not None:
        where = "" if folder == FOLDER else f" --out {shlex.quote(str(folder))}"
        next_step(output, f"aimc-deploy sweep {shlex.quote(str(sweep))}{where}")
    elif result.best is not None:
        next_step(output, f"aimc-deploy inspect{options.place(result.best)}")


def _share(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not slash or not number.isdecimal() or not of.isdecimal():
        raise typer.BadParameter(f"'{text}' is no share: write 3/8 for the third of 8", param_hint="--shard")
    return int(number), int(of)


def _list(file: SweepFile, folder: Path, output: options.Format) -> None:
    """The points, and which are done."""
    from aimc_deploy.workflows import sweep as workflow

    listed = workflow.listed(file, folder)
    payload = [
        {"point": point.number, **point.swept, "key": point.key, "done": done} for point, done in listed
    ]

    def human() -> None:
        for point, done in listed:
            out.print(f"{'done' if done else 'to do'}  {point.label}")

    emit(output, payload, human)
    done = sum(done for _, done in listed)
    note(output, f"dry run: {done} of {len(listed)} points are done; nothing was computed")


def show(result: SweepResult) -> None:
    """What differs between the points and the most important of what came of it."""
    from rich.table import Table

    if not result.lines:
        return
    means = [name for name in result.lines[0] if name.startswith("mean_")]
    swept = list(result.lines[0])[: list(result.lines[0]).index("task")]
    varied = [name for name in ("task", "seed") if len({line[name] for line in result.lines}) > 1]
    known = [name for name in COLUMNS if any(line[name] is not None for line in result.lines)]
    names = [*swept, *varied, *(("digital", *means) if means else ()), *known]
    table = Table(title="points; * is on the Pareto front", title_justify="left")
    for name in ("", *names):
        table.add_column(COLUMNS.get(name, name.rpartition(".")[2].replace("mean_", "at ")), overflow="fold")
    for line in result.lines[:SHOWN]:
        mark = "*" if line["pareto"] else "" if line["status"] == "done" else line["status"]
        table.add_row(mark, *(_cell(name, line[name]) for name in names))
    out.print(table)
    if len(result.lines) > SHOWN:
        out.print(f"and {len(result.lines) - SHOWN} others")
    for path in result.files:
        out.print(str(path))


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "token_ns":
        return f"{value / 1e3:.2f}"
    if name == "adapter_bytes":
        return f"{value / 1024:,.0f}"
    return f"{value:.3f}" if name == "digital" or name.startswith("mean_") else str(value)
