"""Study: published comparisons of training in memory on a small network, with rates chosen fairly.

Every point's learning rate is chosen by digits of the training part that its runs do not learn from then, on
a seed of its own; what is reported is the test part, on other seeds, after learning from all of the training
part. Every run is a job and kept by a digest of its settings, so that a study that was stopped goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimc_deploy.config.executor import Executor, Local
from aimc_deploy.errors import ConfigError
from aimc_deploy.workflows import executors
from aimc_deploy.workflows.progress import Progress, Silent
from aimc_deploy.workflows.study.job import Job, Row, Work, compute, kept
from aimc_deploy.workflows.study.results import Candidate, Results, cell, gathered, write
from aimc_deploy.workflows.study.studies import Point, Study

__all__ = ["StudyResult", "advice", "listed", "run"]

CHOOSING_SEED = 1000
"""Of the runs that choose learning rates; those that are reported have the seeds from 0 on."""
TRAINS = "aimc_deploy.workflows.study.digits"


@dataclass(frozen=True)
class StudyResult:
    """What a study gave, the files that tell it, and how many of its runs were done before."""

    results: Results
    files: list[Path]
    kept: int


@dataclass(frozen=True)
class Listed:
    """A point, how many runs it takes, and how many of them are done."""

    point: Point
    runs: int
    done: int


def listed(study: Study, out: Path, seeds: int = 5) -> list[Listed]:
    """The points of a study."""
    found = []
    for point in study.points:
        choosing = _choosing(point)
        rows = [row for job in choosing if (row := kept(out, job)) is not None]
        done = len(rows)
        if done == len(choosing):
            done += sum(kept(out, job) is not None for job in _reported(point, _best(point, rows), seeds))
        found.append(Listed(point, len(choosing) + seeds, done))
    return found


def advice(study: Study) -> list[str]:
    """Of all settings those that are known to fail, each reason once."""
    from aimc_deploy.training.diagnostics import advise

    told = (
        f"{warned.reason}; better: {warned.change}"
        for point in study.points
        if point.settings is not None
        for warned in advise(point.settings)
    )
    return list(dict.fromkeys(told))


def run(
    study: Study,
    out: Path,
    *,
    seeds: int = 5,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> StudyResult:
    """Do what is not done yet, and write the table.

    Args:
        out: folder of the runs and of the table.
        seeds: how many runs of each point are reported.

    Raises:
        ConfigError: too few seeds or too many.
        WorkerLost: the process of a run died, and died again when it was tried again.
        ArtifactError: a run cannot be kept.
    """
    if not 1 <= seeds <= CHOOSING_SEED:
        raise ConfigError(f"{seeds} seeds: from 1 to {CHOOSING_SEED}")
    progress = progress or Silent()
    warnings = advice(study)
    for warning in warnings:
        progress.say(f"note: {warning}")
    work = _Work(out, executor or Local(), progress)
    tried = work.rows("choosing rates", [job for point in study.points for job in _choosing(point)])
    chosen = {}
    for point in study.points:
        rows = [tried[job.key] for job in _choosing(point)]
        candidates = [Candidate(lr=row.lr, accuracy=row.accuracy) for row in rows]
        chosen[point] = (_best(point, rows), candidates)
    jobs = {point: _reported(point, chosen[point][0], seeds) for point in study.points}
    reported = work.rows("runs", [job for own in jobs.values() for job in own])
    cells = [
        cell(point, *chosen[point], [reported[job.key] for job in jobs[point]]) for point in study.points
    ]
    found = gathered(study, range(seeds), CHOOSING_SEED, cells, warnings)
    return StudyResult(found, write(out, found), work.kept)


def _choosing(point: Point) -> list[Job]:
    """The runs that choose its learning rate; none where it is given."""
    rates = point.rates if len(point.rates) > 1 else ()
    return [Job(point.settings, lr, point.epochs, CHOOSING_SEED, "validation") for lr in rates]


def _best(point: Point, rows: Sequence[Row]) -> float:
    """The most accurate rate, of equal ones the lowest."""
    return max(rows, key=lambda row: (row.accuracy, -row.lr)).lr if rows else point.rates[0]


def _reported(point: Point, lr: float, seeds: int) -> list[Job]:
    return [Job(point.settings, lr, point.epochs, seed, "test") for seed in range(seeds)]


class _Work:
    """Runs that are done once; ``kept`` counts those that were done before."""

    def __init__(self, out: Path, executor: Executor, progress: Progress) -> None:
        self.out, self.executor, self.progress = out.resolve(), executor, progress
        self.kept = 0

    def rows(self, what: str, jobs: Iterable[Job]) -> dict[str, Row]:
        """The rows of these jobs by their keys."""
        unique = {job.key: job for job in jobs}
        found = {key: row for key, job in unique.items() if (row := kept(self.out, job)) is not None}
        self.kept += len(found)
        work = [Work(self.out, job) for key, job in unique.items() if key not in found]
        if work:
            self.progress.start(what, len(work))
        done = executors.run_all(
            self.executor, compute, work, name=lambda _: "a run of the study", preload=(TRAINS,)
        )
        for _, row in done:
            found[row.key] = row
            self.progress.advance(note=f"{row.accuracy:.1f} %")
        return found
