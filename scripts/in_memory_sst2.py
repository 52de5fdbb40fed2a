"""SST-2 on a pretrained encoder, learned in memory: runs that choose rates, and runs that are reported.

Rates are chosen by phrases of the training file that no run learns from, on a seed of their own; the dev file
has no say in it. Every run trains and is measured on one chip, as the adapter of a chip in use would be.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from pydantic import BaseModel, ConfigDict

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import read_json, write_json
from aimc_deploy.artifact.manifest import MANIFEST
from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.executor import Local
from aimc_deploy.config.load import load_run
from aimc_deploy.config.run import Run as Config
from aimc_deploy.errors import ArtifactError, DataError
from aimc_deploy.workflows import adapt, executors, map
from aimc_deploy.workflows.env import run as environment
from aimc_deploy.workflows.progress import Progress
from aimc_deploy.workflows.threads import one_thread

SAMPLES, HELD_OUT, BATCH = 2000, 1000, 32
SEEDS, CHOOSING_SEEDS = (0, 1, 2), (1000, 1001, 1002)
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


@dataclass(frozen=True)
class Run:
    """One training: a key of ``WHAT``, one of ``METHODS``, states (None: digital), learning rate and seed."""

    what: str
    method: str
    states: int | None
    lr: float
    seed: int

    @property
    def place(self) -> tuple[str, str, int | None]:
        """Of the cell that it belongs to."""
        return self.what, self.method, self.states

    @property
    def file(self) -> str:
        """Where it is kept."""
        words = f"{self.what} {self.method} {self.states or ''} {self.lr:g} {self.seed}"
        return "-".join(re.findall(r"[\w.]+", words)) + ".json"

    @property
    def adapt(self) -> Adapt:
        """What it trains, and how."""
        settings = {
            "method": WHAT[self.what],
            "chip": 0,
            "epochs": 1,
            "train_samples": SAMPLES,
            "batch_size": BATCH,
            "learning_rate": self.lr,
        }
        if (algorithm := METHODS[self.method]) is not None:
            device = {"states": self.states}
            settings["learning_rate"] = REST
            settings["in_memory"] = {"algorithm": algorithm, "device": device, "learning_rate": self.lr}
        return Adapt.model_validate(settings)

    def key(self, shared: Sequence[str]) -> str:
        """SHA-256 of all that it depends on; ``shared`` are the digests of base and data."""
        content = [*shared, self.seed, self.adapt.essentials()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Job:
    """A run, the configuration of all as JSON, and the file and the key that keep what it gave."""

    config: str
    run: Run
    path: Path
    key: str


class Cell(BaseModel):
    """A method at a number of states (None where it is digital), and what its runs gave.

    Attributes:
        what: a key of ``WHAT``.
        candidates: rates and their percent of the phrases held out, the least where there are several seeds.
        accuracy: percent of dev for each seed, on the chip that was trained, new.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    what: str
    method: str
    states: int | None
    lr: float
    candidates: dict[float, float]
    accuracy: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Percent."""
        return fmean(self.accuracy)

    @property
    def text(self) -> str:
        """For a table."""
        return f"{self.mean:.1f} ± {stdev(self.accuracy):.1f}"


class Measured(BaseModel):
    """All cells, and what they were measured with."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    samples: int
    steps: int
    held_out: int
    seeds: tuple[int, ...]
    choosing_seeds: tuple[int, ...]
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
        """The most accurate method in memory."""
        cells = (cell for cell in self.cells if (cell.what, cell.states) == (what, states))
        return max(cells, key=lambda cell: cell.mean)


def places() -> list[tuple[str, str, int | None]]:
    """What, method and states of each cell."""
    return [
        (what, method, states)
        for what, (method, settings) in itertools.product(WHAT, METHODS.items())
        for states in ((None,) if settings is None else STATES)
    ]


def choosing_seeds(method: str) -> tuple[int, ...]:
    """By which the rate of a method is chosen: what all others are compared with, by the worst of several.

    At the rate that is best for one of them, and for their mean, digital LoRA learns nothing with others.
    """
    return CHOOSING_SEEDS if METHODS[method] is None else CHOOSING_SEEDS[:1]


def measure(
    data: Path, work: Path, shared: Sequence[str], workers: int | None, progress: Progress
) -> Measured:
    """Do what is not done yet, in the folder ``work``.

    Args:
        data: folder with GLUE's SST-2.
        shared: settings of all runs, such as ``source.path=FOLDER``.

    Raises:
        DataError: the training file is too short.
        AimcError: as mapping and adapting raise it.
    """
    whole, part = _divided(data / "SST-2", work)
    base = load_run(None, [*shared, f"bundle={work / 'bundle'}"])
    if not (Path(base.bundle) / MANIFEST).exists():
        map.run(base, Path(base.bundle), progress=progress)
    candidates = {
        (place, lr): [Run(*place, lr, seed) for seed in choosing_seeds(place[1])]
        for place in places()
        for lr in RATES[place[0]][place[1]]
    }
    tried = _done(work, part, base, [run for own in candidates.values() for run in own], workers, progress)
    found: dict[tuple[str, str, int | None], dict[float, float]] = {}
    for (place, lr), own in candidates.items():
        found.setdefault(place, {})[lr] = min(tried[run] for run in own)
    chosen = {place: max(rates, key=lambda lr: (rates[lr], -lr)) for place, rates in found.items()}
    reported = {place: [Run(*place, chosen[place], seed) for seed in SEEDS] for place in places()}
    rows = _done(work, whole, base, [run for own in reported.values() for run in own], workers, progress)
    return Measured(
        samples=SAMPLES,
        steps=-(-SAMPLES // BATCH),
        held_out=HELD_OUT,
        seeds=SEEDS,
        choosing_seeds=CHOOSING_SEEDS,
        versions=environment(),
        cells=tuple(
            Cell(
                what=place[0],
                method=place[1],
                states=place[2],
                lr=chosen[place],
                candidates=found[place],
                accuracy=tuple(rows[run] for run in reported[place]),
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


def _done(
    work: Path, data: Path, base: Config, runs: Sequence[Run], workers: int | None, progress: Progress
) -> dict[Run, float]:
    """Percent right of each run; what was done before, on the same base and data, is kept in ``work``."""
    folder = work / "runs" / data.name
    folder.mkdir(parents=True, exist_ok=True)
    config = base.model_copy(update={"task": "sst2", "data_dir": str(data)}).model_dump_json()
    shared = [Bundle.open(Path(base.bundle)).manifest.base_sha256, base.hardware.digest()]
    files = (data / "SST-2" / name for name in ("train.tsv", "dev.tsv"))
    shared += [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]
    jobs = {run: Job(config, run, folder / run.file, run.key(shared)) for run in runs}
    found = {run: kept for run, job in jobs.items() if (kept := _kept(job)) is not None}
    todo = [job for run, job in jobs.items() if run not in found]
    progress.start("runs", len(todo))
    executor = executors.placed(Local(workers=workers), base.device)
    done = executors.run_all(
        executor, compute, todo, name=lambda job: job.run.file, preload=("aimc_deploy.workflows.adapt",)
    )
    for job, accuracy in done:
        found[job.run] = accuracy
        progress.advance()
    return found


def _kept(job: Job) -> float | None:
    """What a run gave before; None if it was another one, or none that is whole."""
    try:
        content = read_json(job.path)
    except ArtifactError:
        return None
    return content["accuracy"] if content.get("key") == job.key else None


def compute(job: Job) -> float:
    """Train on a copy of the base, as `aimc-deploy train-in-memory --chip 0` does; keep what it gave."""
    run, base = job.run, Config.model_validate_json(job.config)
    with tempfile.TemporaryDirectory() as folder, one_thread():
        bundle = Path(folder) / "bundle"
        shutil.copytree(base.bundle, bundle)
        config = base.model_copy(update={"bundle": str(bundle), "seed": run.seed, "adapt": run.adapt})
        accuracy = 100 * adapt.run(config).record.scores["adapted"]
    write_json(job.path, {"key": job.key, "accuracy": accuracy})
    return accuracy
