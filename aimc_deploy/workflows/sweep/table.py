"""The table of a sweep: one line a point in the order of the file, as CSV, parquet and a picture."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimc_deploy.artifact.files import TEMPORARY, write_atomic
from aimc_deploy.artifact.journal import sweep as clear
from aimc_deploy.report.pareto import front, picture
from aimc_deploy.workflows.sweep.points import Point
from aimc_deploy.workflows.sweep.row import Row

NAME, PICTURE = "results", "pareto.svg"
COSTS = ("tiles", "utilisation", "token_ns", "sequence_ns", "token_nj", "adapter_parameters", "adapter_bytes")
SPREAD = ("mean", "std", "ci_low", "ci_high")
Line = dict[str, Any]


@dataclass(frozen=True)
class Ended:
    """How a point ended: with its row, or failed or lost for a reason."""

    row: Row | None
    status: str = "done"
    error: str | None = None


def accuracy_of(row: Row) -> float | None:
    """At the last time; None where nothing was measured."""
    return row.times[-1].mean if row.times else None


def table(points: Sequence[Point], ended: Mapping[str, Ended], *, search: bool = False) -> list[Line]:
    """The lines, all with the same columns.

    Args:
        ended: by key.
        search: number the trials, from 0 as Optuna does.
    """
    swept = list(dict.fromkeys(key for point in points for key in point.swept))
    rows = [ended[point.key].row for point in points]
    times = {part.time: part.t_s for row in rows if row is not None for part in row.times}
    columns = [f"{name}_{time}" for time in sorted(times, key=lambda time: times[time]) for name in SPREAD]
    lines = []
    for point, best in zip(points, _front(rows), strict=True):
        end = ended[point.key]
        line: Line = {"trial": point.number - 1} if search else {}
        line |= {key: _plain(point.swept.get(key)) for key in swept if key not in ("task", "seed")}
        line |= {"task": point.config.task, "seed": point.config.seed}
        content = {} if end.row is None else end.row.model_dump()
        line |= {name: content.get(name) for name in ("adapter", "metric", "digital")}
        spread = {
            f"{name}_{part['time']}": part[name] for part in content.get("times", ()) for name in SPREAD
        }
        line |= {column: spread.get(column) for column in columns}
        line |= {name: content.get(name) for name in COSTS}
        lines.append({**line, "pareto": best, "status": end.status, "error": end.error, "key": point.key})
    return lines


def _front(rows: Sequence[Row | None]) -> list[bool]:
    """Of accuracy (the more the better), tiles, time and memory; what has no row is not on it."""
    there = [row for row in rows if row is not None]
    best = iter(
        front([(_minus(accuracy_of(row)), row.tiles, row.token_ns, row.adapter_bytes) for row in there])
    )
    return [row is not None and next(best) for row in rows]


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _plain(value: Any) -> Any:
    """A swept value for one cell."""
    return json.dumps(value) if isinstance(value, list | tuple | dict) else value


def to_csv(lines: Sequence[Line]) -> str:
    """The table as CSV; nothing is written for what is not known."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(lines[0])
    writer.writerows([_cell(value) for value in line.values()] for line in lines)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None else value


def write(
    out: Path, points: Sequence[Point], ended: Mapping[str, Ended], lines: Sequence[Line]
) -> list[Path]:
    """Write CSV, parquet and, where accuracy was measured, the picture; what is there already is left.

    Raises:
        ArtifactError: they cannot be written.
    """
    drawn = any(end.row is not None and end.row.times for end in ended.values())
    files = [out / f"{NAME}.csv", out / f"{NAME}.parquet", *([out / PICTURE] if drawn else [])]
    text = to_csv(lines).encode()
    if all(file.is_file() for file in files) and files[0].read_bytes() == text:
        return files
    out.mkdir(parents=True, exist_ok=True)
    clear(out, TEMPORARY)  # what an interrupted writer left
    write_atomic(files[1], _parquet(lines))
    if drawn:
        write_atomic(files[2], _drawn(points, ended))
    else:
        (out / PICTURE).unlink(missing_ok=True)
    write_atomic(files[0], text)  # the last: who finds it finds the others
    return files


def _parquet(lines: Sequence[Line]) -> bytes:
    import pyarrow
    import pyarrow.parquet

    columns = {name: _column([line[name] for line in lines]) for name in lines[0]}
    buffer = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue().to_pybytes()


def _column(values: list[Any]) -> Any:
    """Values of one kind; as text where they are of several."""
    import pyarrow

    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        return pyarrow.array(values, pyarrow.float64())
    if not kinds:
        return pyarrow.array(values, pyarrow.string())
    if len(kinds) > 1:
        values = [None if value is None else str(_cell(value)) for value in values]
    return pyarrow.array(values)


def _drawn(points: Sequence[Point], ended: Mapping[str, Ended]) -> bytes:
    rows = [row for point in points if (row := ended[point.key].row) is not None]
    metrics = sorted({row.metric for row in rows if row.metric is not None})
    values = [{"accuracy": accuracy_of(row), **row.model_dump(include=set(COSTS))} for row in rows]
    times = {row.times[-1].time for row in rows if row.times}
    when = times.pop() if len(times) == 1 else "the last time"
    return picture(values, _front(rows), f"{' or '.join(metrics)} at {when}")
