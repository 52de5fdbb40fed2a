"""SST-2 on a pretrained encoder, learned in memory: two sweeps, one that chooses rates and one that reports.

Rates are chosen by phrases of the training file that no run learns from, on a seed of their own; the dev file
has no say in it. Every run trains and is measured on one chip, as the adapter of a chip in use would be.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict

from aimc_deploy.artifact.files import read_json, write_json
from aimc_deploy.errors import DataError
from aimc_deploy.workflows import sweep
from aimc_deploy.workflows.env import run as environment
from aimc_deploy.workflows.progress import Progress
from aimc_deploy.workflows.sweep.table import Line

SAMPLES, HELD_OUT, BATCH = 2000, 1000, 32
SEEDS, CHOOSING_SEED = (0, 1, 2), 1000
TIMES = ("0s", "1y")
STATES = (1200, 200)
WHAT = {"head": "head", "LoRA, rank 8, and head": "lora"}
PULSED = {"update": {"kind": "counts"}}
DIGITAL = "digital, Adam"
REST = 1.0e-3
"""Rate of the biases and scales behind arrays that learn."""
METHODS: dict[str, dict[str, Any] | None] = {
    DIGITAL: None,
    "Analog SGD": {"kind": "analog_sgd", **PULSED},
    "residual": {"kind": "residual", **PULSED},
    "TT-v2": {"kind": "tt_v2", **PULSED},
    "mixed precision, Adam": {"kind": "mixed_precision"},
}
"""Settings of ``adapt.in_memory.algorithm``; None where all is digital."""
RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "head": {
        DIGITAL: (1.0e-3, 3.0e-3, 1.0e-2, 3.0e-2),
        "Analog SGD": (30.0, 100.0, 300.0, 1000.0),
        "residual": (100.0, 300.0, 1000.0),
        "TT-v2": (100.0, 300.0, 1000.0),
        "mixed precision, Adam": (5.0e-3, 1.0e-2, 2.0e-2, 4.0e-2),
    },
    "LoRA, rank 8, and head": {
        DIGITAL: (1.0e-3, 3.0e-3, 1.0e-2),
        "Analog SGD": (30.0, 100.0, 300.0),
        "residual": (30.0, 100.0, 300.0),
        "TT-v2": (30.0, 100.0, 300.0),
        "mixed precision, Adam": (5.0e-3, 1.0e-2, 2.0e-2),
    },
}
"""To choose from."""


class Cell(BaseModel):
    """A method at a number of states (None where it is digital), and what its runs gave.

    Attributes:
        what: a key of ``WHAT``.
        candidates: rates and their percent of the phrases held out.
        accuracy: percent of dev by time, one for each seed, on the chip that was trained.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    what: str
    method: str
    states: int | None
    lr: float
    candidates: dict[float, float]
    accuracy: dict[str, tuple[float, ...]]

    def text(self, time: str) -> str:
        """For a table."""
        return f"{self.mean(time):.1f} ± {stdev(self.accuracy[time]):.1f}"

    def mean(self, time: str) -> float:
        """Percent."""
        return fmean(self.accuracy[time])


class Measured(BaseModel):
    """All cells, and what they were measured with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    samples: int
    steps: int
    held_out: int
    seeds: tuple[int, ...]
    choosing_seed: int
    versions: dict[str, Any]
    cells: tuple[Cell, ...]

    def cell(self, what: str, method: str, states: int | None) -> Cell:
        """The one of these."""
        return next(
            cell for cell in self.cells if (cell.what, cell.method, cell.states) == (what, method, states)
        )

    def line(self, what: str, method: str) -> list[Cell]:
        """A cell for each number of states; the same one where it is digital."""
        return [self.cell(what, method, None if METHODS[method] is None else states) for states in STATES]

    @property
    def at_edge(self) -> int:
        """Cells whose rate is the lowest or the highest of those that were tried."""
        return sum(cell.lr in (min(cell.candidates), max(cell.candidates)) for cell in self.cells)

    def best(self, what: str, states: int) -> Cell:
        """The most accurate method in memory, new."""
        return max(
            (cell for cell in self.cells if (cell.what, cell.states) == (what, states)),
            key=lambda cell: cell.mean(TIMES[0]),
        )


def places() -> list[tuple[str, str, int | None]]:
    """What, method and states of each cell."""
    return [
        (what, method, states)
        for what, (method, settings) in itertools.product(WHAT, METHODS.items())
        for states in ((None,) if settings is None else STATES)
    ]


def measure(
    data: Path, work: Path, shared: Sequence[str], workers: int | None, progress: Progress
) -> Measured:
    """Do what is not done yet, in the folder ``work``.

    Args:
        data: folder with GLUE's SST-2.
        shared: settings of all runs, such as ``source.path=FOLDER``.

    Raises:
        DataError: the training file is too short.
        AimcError: as a sweep raises it, or one of its points failed.
    """
    whole, part = _divided(data / "SST-2", work)
    asked = [(place, lr) for place in places() for lr in RATES[place[0]][place[1]]]
    tried = _sweep(work / "choose", part, shared, [(*one, CHOOSING_SEED) for one in asked], workers, progress)
    found: dict[tuple[str, str, int | None], dict[float, float]] = {}
    for (place, lr), line in zip(asked, tried, strict=True):
        found.setdefault(place, {})[lr] = _percent(line, TIMES[0])
    chosen = {place: max(rates, key=lambda lr: (rates[lr], -lr)) for place, rates in found.items()}
    runs = [(place, chosen[place], seed) for place in places() for seed in SEEDS]
    lines = _sweep(work / "report", whole, shared, runs, workers, progress)
    rows = dict(zip(((place, seed) for place, _, seed in runs), lines, strict=True))
    return Measured(
        samples=SAMPLES,
        steps=-(-SAMPLES // BATCH),
        held_out=HELD_OUT,
        seeds=SEEDS,
        choosing_seed=CHOOSING_SEED,
        versions=environment(),
        cells=tuple(
            Cell(
                what=place[0],
                method=place[1],
                states=place[2],
                lr=chosen[place],
                candidates=found[place],
                accuracy={time: tuple(_percent(rows[place, seed], time) for seed in SEEDS) for time in TIMES},
            )
            for place in places()
        ),
    )


def write(path: Path, measured: Measured) -> None:
    """Keep it."""
    path.parent.mkdir(exist_ok=True)
    write_json(path, measured.model_dump(mode="json"))


def read(path: Path) -> Measured:
    """What is kept."""
    return Measured.model_validate(read_json(path))


def _divided(source: Path, work: Path) -> tuple[Path, Path]:
    """Folders of data: all but the phrases held out to learn from, judged by dev, and by those held out."""
    head, *phrases = (source / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    if len(phrases) < SAMPLES + HELD_OUT:
        raise DataError(f"{source}/train.tsv has {len(phrases)} phrases, {SAMPLES + HELD_OUT} are needed")
    every = len(phrases) // HELD_OUT
    held = set(range(0, every * HELD_OUT, every))
    train = head + "".join(phrase for at, phrase in enumerate(phrases) if at not in held)
    dev = {
        "whole": (source / "dev.tsv").read_text(encoding="utf-8"),
        "part": head + "".join(phrases[at] for at in sorted(held)),
    }
    for name, text in dev.items():
        folder = work / name / "SST-2"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.tsv").write_text(train, encoding="utf-8")
        (folder / "dev.tsv").write_text(text, encoding="utf-8")
    return work / "whole", work / "part"


def _sweep(
    out: Path,
    data: Path,
    shared: Sequence[str],
    runs: Iterable[tuple[tuple[str, str, int | None], float, int]],
    workers: int | None,
    progress: Progress,
) -> list[Line]:
    """One line for each run."""
    points = [_point(*place, lr, seed) for place, lr, seed in runs]
    content = {
        "set": {
            "task": "sst2",
            "data_dir": str(data.resolve()),
            "adapt.chip": 0,
            "adapt.epochs": 1,
            "adapt.train_samples": SAMPLES,
            "adapt.batch_size": BATCH,
            "evaluate.chip": 0,
            "evaluate.times": list(TIMES),
            "evaluate.unadapted": False,
        },
        "points": points,
        "executor": {"kind": "local", "workers": workers},
    }
    path = out.with_suffix(".yaml")
    content = json.loads(json.dumps(content))  # what is there twice would become an alias, which is refused
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    done = sweep.run(sweep.read_sweep(path, shared), out, progress=progress)
    if done.problems:
        raise DataError(f"{len(done.problems)} points of {path}, such as {done.problems[0]}")
    return done.lines


def _point(what: str, method: str, states: int | None, lr: float, seed: int) -> dict[str, Any]:
    settings = METHODS[method]
    point: dict[str, Any] = {"seed": seed, "adapt.method": WHAT[what]}
    if settings is None:
        return point | {"adapt.learning_rate": lr}
    in_memory = {"algorithm": settings, "device": {"states": states}, "learning_rate": lr}
    return point | {"adapt.learning_rate": REST, "adapt.in_memory": in_memory}


def _percent(line: Line, time: str) -> float:
    return 100 * float(line[f"mean_{time}"])
