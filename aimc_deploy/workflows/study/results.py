"""What a study gave, as the files that tell it: results.json, results.csv and the picture."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from aimc_deploy.artifact.files import dump_json, read_json, write_atomic
from aimc_deploy.errors import ArtifactError
from aimc_deploy.report.methods import Mark, picture
from aimc_deploy.workflows.study import job as plan
from aimc_deploy.workflows.study.job import Row
from aimc_deploy.workflows.study.studies import Point, Study, place
from aimc_deploy.workflows.sweep.table import to_csv

NAME, PICTURE = "results", "accuracy.svg"
SCHEMA = 1


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Candidate(_Model):
    """A learning rate that was tried, and the percent of the validation part that it got right."""

    lr: float
    accuracy: float


class Cell(_Model):
    """A point of the study and what it gave.

    Attributes:
        method, x, settings, epochs: see :class:`aimc_deploy.workflows.study.studies.Point`.
        lr: learning rate, the best of the candidates or the one that was given.
        candidates: empty where none was chosen.
        mean: percent of the test part, over seeds.
        std: standard deviation over seeds; None for one seed.
        rows: one for each seed.
    """

    method: str
    x: float | str | None
    settings: dict[str, Any] | None
    epochs: int
    lr: float
    candidates: tuple[Candidate, ...]
    mean: float
    std: float | None
    rows: tuple[Row, ...]

    @property
    def text(self) -> str:
        """For a table."""
        return f"{self.mean:.1f}" if self.std is None else f"{self.mean:.1f} ± {self.std:.1f}"


class Results(_Model):
    """A study.

    Attributes:
        name, title, axis: see :class:`aimc_deploy.workflows.study.studies.Study`.
        network: sizes of the layers, of a batch, and the learning rate of what is digital in it.
        digits: how many are learned from, chosen by and judged by.
        seeds: of the weights, devices, pulses and order of each run.
        choosing_seed: of the runs that choose learning rates.
        warnings: settings that are known to fail, and what to change.
    """

    schema_version: Literal[1] = SCHEMA
    name: str
    title: str
    axis: str
    network: dict[str, Any]
    digits: dict[str, int]
    seeds: tuple[int, ...]
    choosing_seed: int
    cells: tuple[Cell, ...]
    warnings: tuple[str, ...]
    versions: dict[str, str]

    @property
    def columns(self) -> list[float | str]:
        """The values on the axis, in the study's order."""
        return list(dict.fromkeys(cell.x for cell in self.cells if cell.x is not None))

    @property
    def methods(self) -> list[str]:
        """The lines of its table."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    def cell(self, method: str, x: float | str | None) -> Cell | None:
        """A cell of its table; that of a method which does not depend on the axis, whatever ``x`` is."""
        return next((one for one in self.cells if one.method == method and one.x in (x, None)), None)


def cell(point: Point, lr: float, candidates: Sequence[Candidate], rows: Sequence[Row]) -> Cell:
    """What the runs of a point add up to."""
    values = [row.accuracy for row in rows]
    # The scale behind an array starts at 1 whatever rms says.
    settings = None if point.settings is None else point.settings.model_dump(mode="json", exclude={"rms"})
    return Cell(
        method=point.method,
        x=point.x,
        settings=settings,
        epochs=point.epochs,
        lr=lr,
        candidates=tuple(candidates),
        mean=statistics.fmean(values),
        std=statistics.stdev(values) if len(values) > 1 else None,
        rows=tuple(rows),
    )


def gathered(
    study: Study, seeds: Sequence[int], choosing_seed: int, cells: Sequence[Cell], warnings: Sequence[str]
) -> Results:
    """All of a study."""
    return Results(
        name=study.name,
        title=study.title,
        axis=study.axis,
        network={"sizes": plan.SIZES, "batch": plan.BATCH, "digital_rate": plan.DIGITAL_RATE},
        digits={
            "training": plan.TRAIN,
            "validation": plan.VALIDATION,
            "test": plan.SAMPLES - plan.TRAIN,
        },
        seeds=tuple(seeds),
        choosing_seed=choosing_seed,
        cells=tuple(cells),
        warnings=tuple(warnings),
        versions=plan.versions(),
    )


def write(out: Path, found: Results) -> list[Path]:
    """Write the three files.

    Raises:
        ArtifactError: they cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    files = [out / f"{NAME}.json", out / f"{NAME}.csv", out / PICTURE]
    content = [dump_json(found.model_dump(mode="json"), files[0]), to_csv(_lines(found))]
    for file, data in zip(files, [*(text.encode() for text in content), drawn(found)], strict=True):
        write_atomic(file, data)
    return files


def read(path: Path) -> Results:
    """The results of a study.

    Raises:
        ArtifactError: the file is missing, damaged or of another version.
    """
    try:
        return Results.model_validate(read_json(path))
    except ValidationError as error:
        raise ArtifactError(
            f"{path} holds no results of a study: {error.error_count()} mistakes, such as "
            f"{'.'.join(map(str, error.errors()[0]['loc']))}: {error.errors()[0]['msg']}"
        ) from None


def drawn(found: Results) -> bytes:
    """The picture of a study."""
    lines = {
        method: [
            Mark(place(one.x), one.mean, one.std)
            for one in found.cells
            if one.method == method and one.x is not None
        ]
        for method in found.methods
    }
    flat = {one.method: one.mean for one in found.cells if one.x is None}
    joined = not any(isinstance(x, str) for x in found.columns)
    title = f"{found.title}: mean and standard deviation, {len(found.seeds)} seeds"
    return picture({name: marks for name, marks in lines.items() if marks}, flat, found.axis, title, joined)


def _lines(found: Results) -> list[dict[str, Any]]:
    """One for each run, all with the same columns; of the first layer, the state of its arrays."""
    lines, states = [], []
    for own in found.cells:
        for row in own.rows:
            line: dict[str, Any] = {"study": found.name, "method": own.method, found.axis: own.x}
            line |= {"epochs": own.epochs, "lr": own.lr, "seed": row.seed, "accuracy": row.accuracy}
            lines.append(line | {"loss": row.loss, "stopped": row.stopped})
            arrays = row.first_layer["arrays"] if row.first_layer else {}
            states.append(
                {f"{name}.{key}": value for name, state in arrays.items() for key, value in state.items()}
            )
    columns = sorted({key for state in states for key in state})
    return [
        line | {key: state.get(key) for key in columns} for line, state in zip(lines, states, strict=True)
    ]
