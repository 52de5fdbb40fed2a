"""The jobs of an evaluation that are finished, kept on disk until the bundle has the results of all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import dump_json, read_json, write_json
from aimc_deploy.artifact.results import Alone, LayerErrors, Row
from aimc_deploy.errors import ArtifactError
from aimc_deploy.version import __version__
from aimc_deploy.workflows.progress import Progress

if TYPE_CHECKING:  # the jobs that run keep what they gave
    from aimc_deploy.workflows.jobs import Job

Measured = Row | LayerErrors
"""What a job yields; :class:`Alone` is a row too."""


class _File(BaseModel):
    """What is kept of a job; ``sha256`` is of the other fields, so that a damaged file tells."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    job: str
    rows: tuple[Row, ...] = ()
    alone: tuple[Alone, ...] = ()
    layers: tuple[LayerErrors, ...] = ()
    sha256: str = ""

    def seal(self) -> str:
        content = self.model_dump(mode="json", exclude={"sha256"})
        return hashlib.sha256(dump_json(content, "a finished job").encode()).hexdigest()


class Finished:
    """The finished jobs of one request, in ``BUNDLE.work/evaluate/NAME/REQUEST``.

    Where they cannot be kept, the evaluation goes on without: it has to begin anew if it is interrupted.
    """

    def __init__(self, bundle: Bundle, name: str, request: str, progress: Progress) -> None:
        """Jobs of other requests for the results of that name are removed: nobody will ask for them.

        Args:
            name: of the results.
            request: SHA-256 of all that they depend on.
        """
        self.request = request
        self.folder = bundle.work / "evaluate" / name / request[:16]
        self.progress = progress
        self.kept = True
        if self.folder.parent.is_dir():
            for other in self.folder.parent.iterdir():
                if other != self.folder:
                    _remove(other)

    def read(self, job: Job) -> list[Measured] | None:
        """What a job gave when it was finished before; None if it is to be computed."""
        path = self._path(job)
        if not path.exists():
            return None
        try:
            found = _File.model_validate(read_json(path))
        except (ArtifactError, ValidationError):
            found = None
        if found is None or found.job != self._digest(job) or found.sha256 != found.seal():
            self.progress.say(f"note: {path} is damaged or foreign: its job is computed again")
            return None
        return [*found.rows, *found.alone, *found.layers]

    def write(self, job: Job, measured: Sequence[Measured]) -> None:
        """Keep what a job gave."""
        if not self.kept:
            return
        layers = tuple(part for part in measured if isinstance(part, LayerErrors))
        alone = tuple(part for part in measured if isinstance(part, Alone))
        rows = tuple(part for part in measured if type(part) is Row)
        file = _File(job=self._digest(job), rows=rows, alone=alone, layers=layers)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self._path(job), {**file.model_dump(mode="json"), "sha256": file.seal()})
        except (ArtifactError, OSError) as error:
            self.kept = False
            self.progress.say(f"note: this evaluation cannot be continued if it is interrupted: {error}")

    def remove(self) -> None:
        """Remove them all, once the bundle has the results."""
        _remove(self.folder)
        for folder in list(self.folder.parents)[:3]:
            with contextlib.suppress(OSError):  # others keep theirs there
                folder.rmdir()

    def _path(self, job: Job) -> Path:
        return self.folder / f"{self._digest(job)[:16]}.json"

    def _digest(self, job: Job) -> str:
        """SHA-256 of all that the rows of a job depend on, down to their last bit."""
        content: list[Any] = [self.request, job.adapter, job.lora, job.chip, job.times, job.hardware.digest()]
        content += [job.layers, job.part, job.batch_size, job.device, __version__, torch.__version__]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _remove(path: Path) -> None:
    """Remove a folder, or whatever else lies in its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
