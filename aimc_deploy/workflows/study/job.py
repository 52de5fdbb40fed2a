"""One training as a job, and the file that keeps what it gave.

Imports nothing heavy: the process that only hands out jobs must be there at once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from aimc_deploy.artifact.files import read_json, write_json
from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.errors import ArtifactError
from aimc_deploy.version import __version__

SIZES = (64, 64, 32, 10)
BATCH = 10
SAMPLES, TRAIN, VALIDATION = 1797, 1347, 270
"""All digits, those of the training part, and those of it that a learning rate is judged by."""
SPLIT_SEED = 0
DIGITAL_RATE = 0.05
"""Of biases and scales, where the matrices are in memory. At 0.5 the scales of Analog SGD run to 0."""
LIBRARIES = ("numpy", "scikit-learn", "torch")
ROWS = 2
"""To be counted up when a row's meaning changes, so that none of another version is taken for one of ours."""

Part = Literal["validation", "test"]


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        settings: of the layers in memory; None: all is digital.
        part: what it is judged by; the validation part is not learned from then, otherwise it is.
    """

    settings: InMemory | None
    lr: float
    epochs: int
    seed: int
    part: Part

    @property
    def key(self) -> str:
        """SHA-256 of all that its row depends on, down to the last bit."""
        content: list[Any] = [ROWS, None if self.settings is None else self.settings.essentials()]
        content += [self.lr, self.epochs, self.seed, self.part]
        content += [SIZES, BATCH, TRAIN, VALIDATION, SPLIT_SEED, DIGITAL_RATE, _libraries()]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Row(BaseModel):
    """What one training gave.

    Attributes:
        accuracy: percent of the part it was judged by.
        loss: mean cross-entropy of the last epoch of training; None where it is not finite.
        stopped: why training could not go on; None where it came to its end.
        first_layer: what its arrays have been through; None where it is digital. See
            :func:`aimc_deploy.training.diagnostics.diagnose`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key: str
    seed: int
    lr: float
    accuracy: float
    loss: float | None
    stopped: str | None
    first_layer: dict[str, Any] | None


def versions() -> dict[str, str]:
    """Of this package and of the libraries that rows depend on."""
    return {"aimc-deploy": __version__, **_libraries()}


@lru_cache
def _libraries() -> dict[str, str]:
    return {name: metadata.version(name) for name in LIBRARIES}


def kept(out: Path, job: Job) -> Row | None:
    """The row of a job that was done before; None if there is none that is whole."""
    try:
        row = Row.model_validate(read_json(_place(out, job)))
    except (ArtifactError, ValidationError):
        return None
    return row if row.key == job.key else None


@dataclass(frozen=True)
class Work:
    """A job, and the folder of the study that keeps it."""

    out: Path
    job: Job


def compute(work: Work) -> Row:
    """Do a job and keep its row.

    Raises:
        ArtifactError: it cannot be kept.
    """
    from aimc_deploy.workflows.study.digits import train

    row = train(work.job)
    path = _place(work.out, work.job)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, row.model_dump(mode="json"))
    return row


def _place(out: Path, job: Job) -> Path:
    return out / "runs" / f"{job.key[:16]}.json"
