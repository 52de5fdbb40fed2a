"""The checkpoints of an interrupted training: which are whole, and who may go on from them."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows.processes import Processes


def prepare(work: Path, here: Processes, resume: bool | None) -> bool:
    """Whether training goes on from a checkpoint in ``work``; what it does not go on from is removed.

    Args:
        resume: go on from the last one; None: if there is one.

    Raises:
        ArtifactError: there is none, or another number of processes wrote it.
    """
    if here.first:
        _remove_incomplete(work)
        if resume is False:
            shutil.rmtree(work, ignore_errors=True)
    here.wait()
    found = last(work)  # of those before it, one may be half removed
    if resume and found is None:
        raise ArtifactError(f"nothing to resume for these settings in {work.parent}; run without --resume")
    if found is not None:
        _check_count(found, here.count)
    return found is not None


def remove(work: Path) -> None:
    """Remove the checkpoints of a run, once the bundle has what they were for."""
    shutil.rmtree(work, ignore_errors=True)
    with contextlib.suppress(OSError):  # other runs keep theirs there
        work.parent.rmdir()


def last(work: Path) -> Path | None:
    """The checkpoint of the latest step in ``work``; None if there is none."""
    return max(_checkpoints(work), key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _checkpoints(work: Path) -> list[Path]:
    return sorted(work.glob(f"{PREFIX_CHECKPOINT_DIR}-*"))


def _remove_incomplete(work: Path) -> None:
    """Remove what an interrupt cut off in the writing: the Trainer writes its state last."""
    for checkpoint in _checkpoints(work):
        try:
            json.loads((checkpoint / TRAINER_STATE_NAME).read_bytes())
        except (FileNotFoundError, ValueError):
            shutil.rmtree(checkpoint)


def _check_count(checkpoint: Path, count: int) -> None:
    """Each process goes on with its own random draws, so there must be as many as before.

    Raises:
        ArtifactError: there are more or fewer.
    """
    wrote = len(list(checkpoint.glob("rng_state*.pth")))
    if wrote != count:
        raise ArtifactError(
            f"{checkpoint} was written by {wrote} {'process' if wrote == 1 else 'processes'} and cannot be "
            f"continued by {count}: start {wrote} (more than one with torchrun or accelerate launch), or "
            "start over without --resume"
        )
