"""The points of a group, one after the other: what a worker of a sweep is asked for.

Imports nothing heavy: the process that only hands out jobs must be there at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aimc_deploy.artifact.files import TEMPORARY
from aimc_deploy.artifact.journal import sweep as clear
from aimc_deploy.config.run import Run
from aimc_deploy.errors import AimcError
from aimc_deploy.workflows.sweep.row import Row, bundle_of, place, read_row, write_row

MEASURE, RECKON = "aimc_deploy.workflows.sweep.measure", "aimc_deploy.workflows.sweep.reckon"


@dataclass(frozen=True)
class Work:
    """Points that share a base and an adapter, or a tile map; each with its key."""

    out: Path
    group: str
    points: tuple[tuple[str, Run], ...]
    accuracy: bool


def compute(work: Work) -> dict[str, Row | str]:
    """The row of each point by its key, or what is wrong with it; rows are kept as soon as they are there."""
    found: dict[str, Row | str] = {}
    for key, config in work.points:
        path = place(work.out, work.group, key)
        row = read_row(path)
        try:
            if row is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                clear(path.parent, TEMPORARY)  # what an interrupted writer of a row left
                row = _row(work, config, key)
                write_row(path, row)
            found[key] = row
        except AimcError as error:
            found[key] = str(error)
        except Exception as error:  # one point must not take the others with it
            found[key] = f"internal error: {type(error).__name__}: {error}; report it"
    return found


def _row(work: Work, config: Run, key: str) -> Row:
    if work.accuracy:
        from aimc_deploy.workflows.sweep.measure import measure

        return measure(config, bundle_of(work.out, work.group), key)
    from aimc_deploy.workflows.sweep.reckon import reckon

    return reckon(config, work.group, key)
