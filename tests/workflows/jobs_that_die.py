"""Functions that other processes are asked for: they compute, fail, or take their process with them."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from aimc_deploy.errors import DataError


@dataclass(frozen=True)
class Work:
    """``deaths``: so many of its first processes are killed, counted by files in ``folder``."""

    number: int
    folder: Path
    deaths: int = 0
    fails: bool = False


def square(work: Work) -> int:
    """The square of the number, if the process lives to tell it."""
    tries = len(list(work.folder.glob(f"{work.number}-*")))
    (work.folder / f"{work.number}-{tries}").write_text(str(os.getpid()))
    if work.fails:
        raise DataError(f"{work.number} is no number")
    if tries < work.deaths:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return work.number**2


def where(work: Work) -> tuple[int, str]:
    """The process, and the folder that its relative paths begin at."""
    time.sleep(0.3)
    return os.getpid(), os.getcwd()
