"""Disks that are full, failing or read-only, at every call by which a command writes."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tiny_deployment import files_of, recipe, write_checkpoint, write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import AimcError
from aimc_deploy.workflows import adapt, evaluate, map, report
from campaigns import target
from campaigns.cases import Case, Tally, chosen, run

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
CALLS = ("open", "mkdir", "fsync", "rename", "replace")
COMMANDS = ("map", "adapt", "evaluate", "report")
STEPS = ("create", "overwrite", "put", "put_files")


def campaign(folder: Path, size: int | None, seed: int, only: str | None) -> Tally:
    """Every call of the steps that change a bundle, and of the commands, with each error."""
    tally = Tally("disk", seed, figures={"finished nevertheless": 0})
    bench = Bench(folder, tally)
    return run(tally, chosen(list(bench.cases(commands=size is None or only is not None)), size, seed, only))


@contextlib.contextmanager
def failing(nth: int, code: int, below: Path) -> Iterator[list[int]]:
    """From the ``nth`` call on that changes what is ``below``, the disk answers ``code``; yields the count.

    Reading goes on, as it does on a disk that is full; flushing and renaming fail too.
    """
    count = [0]
    originals = {name: getattr(os, name) for name in CALLS}

    def watched(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            writes = name != "open" or args[1] & os.O_CREAT
            here = isinstance(args[0], int) or str(below) in os.fsdecode(args[0])
            if writes and here:
                count[0] += 1
                if count[0] > nth:
                    raise OSError(code, os.strerror(code))
            return originals[name](*args, **kwargs)

        return call

    try:
        for name in CALLS:
            setattr(os, name, watched(name))
        yield count
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


class Bench:
    """A sound bundle of a small model, and a copy of it for each case."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self.folder, self.tally = folder, tally
        self.small = folder / "small"
        target.complete(self.small)

    def cases(self, *, commands: bool) -> Iterator[Case]:
        for step in STEPS:
            for at in range(self._calls(step)):
                for code in ERRORS:
                    label = f"{step}, {errno.errorcode[code]} from call {at} on"
                    yield Case(step, label, partial(self._check, step, at, code))
        if not commands:
            return
        checkpoint = write_checkpoint(self.folder / "checkpoint")
        data = write_task(self.folder / "data", train=16, dev=8)
        self.config = recipe(
            self.folder / "disk" / "bundle", checkpoint, data, evaluate={"chips": 1, "times": ("0s",)}
        )
        deployed = self.folder / "deployed"
        mapped = self.config.model_copy(update={"bundle": str(deployed)})
        map.run(mapped, deployed)
        adapt.run(mapped)
        evaluate.run(mapped)
        for step in COMMANDS:
            for at in range(self._calls(step)):
                code = ERRORS[at % len(ERRORS)]
                label = f"{step}, {errno.errorcode[code]} from call {at} on"
                yield Case(f"aimc-deploy {step}", label, partial(self._check, step, at, code))

    def _place(self, step: str) -> Path:
        disk = self.folder / "disk"
        shutil.rmtree(disk, ignore_errors=True)
        disk.mkdir()
        if step != "create":
            shutil.copytree(self.folder / ("deployed" if step in COMMANDS else "small"), disk / "bundle")
        return disk / "bundle"

    def _do(self, step: str, path: Path) -> None:
        steps: dict[str, Callable[[], object]] = {
            "create": lambda: target.create(path, 2),
            "overwrite": lambda: target.create(path, 2, overwrite=True),
            "put": lambda: Bundle.open(path).put("adapters/one", target.adapter(9)),
            "put_files": lambda: Bundle.open(path).put_files(target.results(9)),
            "map": lambda: map.run(self.config, path, overwrite=True),
            "adapt": lambda: adapt.run(self.config, existing="replace"),
            "evaluate": lambda: evaluate.run(self.config),
            "report": lambda: report.run(path),
        }
        steps[step]()

    def _calls(self, step: str) -> int:
        path = self._place(step)
        with failing(10**9, 0, path.parent) as count:
            self._do(step, path)
        return count[0]

    def _check(self, step: str, at: int, code: int) -> str | None:
        """What is wrong with how a command took it."""
        path = self._place(step)
        before = files_of(path) if path.exists() else {}
        refused = None
        with failing(at, code, path.parent):
            try:
                self._do(step, path)
            except (AimcError, OSError) as error:  # the command line tells both in one line, with exit code 2
                refused = f"{error}"
        if refused is None:
            self.tally.figures["finished nevertheless"] += 1
        elif os.strerror(code) not in refused:
            return f"the message does not tell of the disk: {refused}"
        if step == "create" and not path.exists():
            return None if not list(path.parent.iterdir()) or refused else "it left something behind"
        with contextlib.suppress(AimcError):
            Bundle.open(path)  # which finishes or undoes what was begun
        if Bundle.open(path).verify() != []:
            return f"the bundle is damaged: {Bundle.open(path).verify()}"
        now = files_of(path)
        told = refused is None or "may not survive" in refused or "interrupted write" in refused
        if now != before and not told:
            return f"it was refused with {refused}, and the bundle has changed"
        self._do(step, path) if step != "create" else target.create(path, 2, overwrite=True)
        return None if Bundle.open(path).verify() == [] else "it cannot be done again"
