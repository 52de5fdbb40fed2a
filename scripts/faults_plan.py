"""The campaign of device faults: its cells, in which order, and the file that holds what they gave."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from aimc_deploy.artifact.files import read_json, write_atomic
from aimc_deploy.config.hardware import Faults, Hardware

Treatment = Literal["nothing", "placement", "re-adaptation"]
Unit = Literal["cell", "row", "column", "tile"]

RATES = (0.0005, 0.001, 0.005, 0.01, 0.02, 0.05)
KINDS = {"stuck_at_zero": "reset", "stuck_at_g_max": "g_max", "stuck_at_random": "random"}
UNITS: tuple[Unit, ...] = ("cell", "row", "column", "tile")
TREATMENTS: tuple[Treatment, ...] = ("nothing", "placement", "re-adaptation")
CHIPS = 10
ADAPTED_CHIPS = 3
ADAPTED_RATES = {
    "cell": (0.005, 0.01, 0.02, 0.05),
    "row": (0.01, 0.05),
    "column": (0.01, 0.05),
    "tile": (0.01, 0.05),
}
SAMPLES, EPOCHS = 1000, 3.0
"""Of the training data, or all where there are fewer, with which an adapter goes on on one chip."""

TIMES: dict[str, tuple[str, ...]] = {"cell": ("0s", "1y")}
"""When a unit is measured, where not only at 0 s."""


class Cell(BaseModel):
    """One chip with its faults, and what is done about them.

    Attributes:
        kind, unit: what devices are stuck at, and as parts of what; None on a chip without faults.
        rate: share of the units.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["stuck_at_zero", "stuck_at_g_max", "stuck_at_random"] | None
    unit: Unit | None
    rate: float
    treatment: Treatment
    chip: int

    @property
    def times(self) -> tuple[str, ...]:
        """When it is measured."""
        return TIMES.get(self.unit or "cell", ("0s",))

    def hardware(self, hardware: Hardware) -> Hardware:
        """The hardware with these faults."""
        if self.kind is None or self.unit is None:
            return hardware
        known = self.treatment == "placement"
        faults = Faults.model_validate({"unit": self.unit, self.kind: self.rate, "known": known})
        return hardware.model_copy(update={"faults": faults})


def cells(chips: int = CHIPS, adapted_chips: int = ADAPTED_CHIPS) -> list[Cell]:
    """All of them, the most important ones first.

    Left out is what is known beforehand: placement on tiles that are stuck as a whole, which are not used at
    all; and re-adaptation where next to nothing is lost.
    """
    return list(
        itertools.chain(
            _sound(chips, adapted_chips),
            _measured("cell", chips),
            _adapted("cell", adapted_chips),
            *(_measured(unit, chips) for unit in UNITS[1:]),
            *(_adapted(unit, adapted_chips) for unit in UNITS[1:]),
        )
    )


def _sound(chips: int, adapted_chips: int) -> Iterator[Cell]:
    for treatment, count in (("nothing", chips), ("re-adaptation", adapted_chips)):
        for chip in range(count):
            yield Cell(kind=None, unit=None, rate=0, treatment=treatment, chip=chip)


def _measured(unit: Unit, chips: int) -> Iterator[Cell]:
    treatments = TREATMENTS[:1] if unit == "tile" else TREATMENTS[:2]
    for rate, kind, treatment, chip in itertools.product(RATES[::-1], KINDS, treatments, range(chips)):
        yield Cell(kind=kind, unit=unit, rate=rate, treatment=treatment, chip=chip)


def _adapted(unit: Unit, chips: int) -> Iterator[Cell]:
    for rate, kind, chip in itertools.product(ADAPTED_RATES[unit][::-1], KINDS, range(chips)):
        yield Cell(kind=kind, unit=unit, rate=rate, treatment="re-adaptation", chip=chip)


class Row(Cell):
    """What a cell gave at one time, of all its samples."""

    time: str
    accuracy: float

    @property
    def cell(self) -> Cell:
        """Of which it is a part."""
        return Cell(**self.model_dump(exclude={"time", "accuracy"}))


class Results(BaseModel):
    """What was measured of one model.

    Attributes:
        samples, dev: of dev that accuracies are of, and all.
        request: SHA-256 of all that the rows depend on.
        digital: accuracy without hardware.
        tiles, utilisation, strategy: of the placement.
        seconds: that measuring took, of all calls together.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: str
    task: str
    metric: str
    samples: int
    dev: int
    seed: int
    request: str
    digital: float
    tiles: int
    utilisation: float
    strategy: str
    versions: dict[str, str]
    seconds: float = 0.0
    rows: tuple[Row, ...] = ()

    def cells(self) -> set[Cell]:
        """Those that are measured."""
        return {row.cell for row in self.rows}


def read(path: Path) -> Results:
    """The results in a file.

    Raises:
        ArtifactError: there is none, or it is no JSON.
    """
    return Results.model_validate(read_json(path))


def write(path: Path, results: Results) -> None:
    """Write results, a row a line, in the order of the plan whatever they were measured in."""
    places = {cell: place for place, cell in enumerate(cells())}
    rows = sorted(results.rows, key=lambda row: (places.get(row.cell, len(places)), row.chip, row.time))
    lines = ",\n".join(f"  {json.dumps(row.model_dump(mode='json'))}" for row in rows)
    head = json.dumps(results.model_dump(mode="json", exclude={"rows"}), indent=1)
    write_atomic(path, f'{head.removesuffix("}").rstrip()},\n "rows": [\n{lines}\n ]\n}}\n'.encode())
