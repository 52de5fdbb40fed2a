"""Sweep: many points of the settings, each computed once whatever happens, and one table of all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimc_deploy.config.executor import Executor
from aimc_deploy.errors import ConfigError
from aimc_deploy.workflows import executors
from aimc_deploy.workflows.progress import Progress, Silent
from aimc_deploy.workflows.sweep.job import MEASURE, RECKON, Work, compute
from aimc_deploy.workflows.sweep.points import Point, SweepFile, read_sweep
from aimc_deploy.workflows.sweep.row import Row, bundle_of, place, read_row
from aimc_deploy.workflows.sweep.table import Ended, Line, accuracy_of, table, write

__all__ = ["SweepResult", "listed", "read_sweep", "run"]


@dataclass(frozen=True)
class SweepResult:
    """What a sweep gave.

    Attributes:
        lines: one for each point, in the order of the file; empty for a shard, which writes no table.
        files: the table and the picture.
        problems: what happened to each point that failed or was lost.
        kept: points that were done before.
        best: the bundle of the most accurate point, if anything was measured.
    """

    lines: list[Line]
    files: list[Path]
    problems: list[str]
    kept: int
    best: Path | None = None


def listed(file: SweepFile, out: Path) -> list[tuple[Point, bool]]:
    """The points, and whether each is done."""
    return [(point, _row(point, out) is not None) for point in file.grid()]


def run(
    file: SweepFile,
    out: Path,
    *,
    shard: tuple[int, int] | None = None,
    trials: int | None = None,
    progress: Progress | None = None,
) -> SweepResult:
    """Compute what is not done yet, and write the table.

    Args:
        out: folder of the points and the table.
        shard: (i, n): only the i-th of n shares of the points, from 1, and no table.
        trials: search instead: so many points, chosen from what the ones before gave.

    Raises:
        ConfigError: every mistake of every point at once, before anything is computed.
        ExecutorError: the engine is not installed, or cannot be reached.
    """
    progress = progress or Silent()
    ended: dict[str, Ended] = {}
    if trials is not None:
        from aimc_deploy.workflows.sweep.search import search

        points, kept = [], 0
        with search(file) as chosen:
            for batch in chosen.batches(trials):
                points += batch
                kept += _compute(batch, file.sweep.accuracy, file.sweep.executor, out, ended, progress)
                chosen.tell(batch, ended)
    else:
        points = file.grid()
        if shard is not None:
            points = _share(points, *shard)
        kept = _compute(points, file.sweep.accuracy, file.sweep.executor, out, ended, progress)
    problems = [
        f"{point.label} {end.status}: {end.error}"
        for point in points
        if (end := ended[point.key]).row is None
    ]
    if shard is not None:
        return SweepResult([], [], problems, kept)
    lines = table(points, ended, search=trials is not None)
    files = write(out, points, ended, lines)
    return SweepResult(lines, files, problems, kept, _best(points, ended, out))


def _best(points: Sequence[Point], ended: Mapping[str, Ended], out: Path) -> Path | None:
    measured = [
        (accuracy, -at)
        for at, point in enumerate(points)
        if (row := ended[point.key].row) is not None and (accuracy := accuracy_of(row)) is not None
    ]
    return bundle_of(out, points[-max(measured)[1]].group) if measured else None


def _share(points: Sequence[Point], number: int, of: int) -> list[Point]:
    """Every ``of``-th group of points, from the ``number``-th on."""
    if not 1 <= number <= of:
        raise ConfigError(f"--shard {number}/{of}: the first share is 1/{of} and the last {of}/{of}")
    groups = list(dict.fromkeys(point.group for point in points))[number - 1 :: of]
    return [point for point in points if point.group in set(groups)]


def _row(point: Point, out: Path) -> Row | None:
    return read_row(place(out, point.group, point.key))


def _compute(
    points: Iterable[Point],
    accuracy: bool,
    executor: Executor,
    out: Path,
    ended: dict[str, Ended],
    progress: Progress,
) -> int:
    """Fill ``ended`` for these points; the number of those that were done before."""
    unique = {point.key: point for point in points if point.key not in ended}
    groups: dict[str, list[Point]] = {}
    kept = 0
    for point in unique.values():
        row = _row(point, out)
        if row is None:
            groups.setdefault(point.group, []).append(point)
        else:
            kept += 1
            ended[point.key] = Ended(row)
    if not groups:
        return kept
    out = out.resolve()
    work = [
        Work(out, group, tuple((point.key, point.config) for point in own), accuracy)
        for group, own in groups.items()
    ]
    progress.start("points", len(unique) - kept)
    if accuracy:  # else nothing is computed on any device
        executor = executors.placed(executor, next(iter(unique.values())).config.device)
    preload = (MEASURE if accuracy else RECKON,)
    for part in executors.run(executor, compute, work, preload=preload):
        own = work[part.place].points
        if isinstance(part, executors.Lost):
            ended |= {key: Ended(None, "lost", part.reason) for key, _ in own}
        else:
            ended |= {key: _ended(found) for key, found in part.value.items()}
        progress.advance(len(own))
    return kept


def _ended(found: Row | str) -> Ended:
    return Ended(found) if isinstance(found, Row) else Ended(None, "failed", found)
