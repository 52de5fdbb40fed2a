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

from small_bundle import content, failing, leftovers, takes_space, write_adapter
from tiny_deployment import recipe, write_checkpoint, write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import AimcError
from aimc_deploy.workflows import adapt, evaluate, map, report
from campaigns import target
from campaigns.cases import Case, Tally, chosen, run

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS)
COMMANDS = ("map", "adapt", "evaluate", "report")
STEPS = ("create", "overwrite", "put", "put_files")
LEFT = "left something that the next command removed or went on from"


def campaign(folder: Path, size: int | None, seed: int, only: str | None) -> Tally:
    """Every call of the steps that change a bundle, and of the commands, with each error."""
    tally = Tally("disk", seed, figures={"finished nevertheless": 0, LEFT: 0})
    bench = Bench(folder, tally)
    commands = only.startswith(COMMANDS) if only else size is None
    return run(tally, chosen(list(bench.cases(commands=commands)), size, seed, only))


class Bench:
    """A sound bundle of a small model, and a copy of it for each case."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self.folder, self.tally = folder, tally
        self.small = folder / "small"
        target.complete(self.small)
        self.after: dict[str, dict[str, bytes] | None] = {}

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
        other = {"adapt": {"learning_rate": 1.0e-2}, "evaluate": {"chips": 1, "times": ("1h",)}}
        config = recipe(deployed, checkpoint, data, **other)  # so that each command changes something
        map.run(config, deployed)
        adapt.run(config)
        evaluate.run(config)
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
            "put": lambda: Bundle.open(path).put("adapters/one", write_adapter(9)),
            "put_files": lambda: Bundle.open(path).put_files(target.results(9)),
            "map": lambda: map.run(self.config, path, overwrite=True),
            "adapt": lambda: adapt.run(self.config, existing="replace"),
            "evaluate": lambda: evaluate.run(self.config),
            "report": lambda: report.run(path),
        }
        steps[step]()

    def _calls(self, step: str) -> int:
        """How many calls of a step may fail; keeps what the bundle holds after it."""
        path = self._place(step)
        with self._failing(10**9, 0) as count:
            self._do(step, path)
        self.after[step] = content(path)
        return count[0]

    def _failing(self, at: int, code: int) -> contextlib.AbstractContextManager[list[int]]:
        """From a call on, the disk takes nothing; reading goes on, as it does on a disk that is full."""
        disk = str(self.folder / "disk")

        def fail() -> None:
            raise OSError(code, os.strerror(code))

        def counts(name: str, args: tuple[Any, ...]) -> bool:
            return takes_space(name, args) and (isinstance(args[0], int) or disk in os.fsdecode(args[0]))

        return failing(at, fail, from_then_on=True, among=counts)

    def _check(self, step: str, at: int, code: int) -> str | None:
        """What is wrong with how a command took it."""
        path = self._place(step)
        before, after, refused = content(path), self.after[step], None
        if before == after:
            return "it changes nothing, whatever the disk does"
        with self._failing(at, code):
            try:
                self._do(step, path)
            except (AimcError, OSError) as error:  # the command line tells both in one line, with exit code 2
                refused = f"{error}"
        if refused is None:
            self.tally.figures["finished nevertheless"] += 1
        elif os.strerror(code) not in refused:
            return f"the message does not tell of the disk: {refused}"
        now = content(path)  # which finishes or undoes what was begun, and fails if the bundle is damaged
        if now != after and (refused is None or now != before):
            differing = ", ".join(_differing(now, after))
            return f"it ended with {refused or 'success'}, and is not as it was to be: {differing}"
        told = refused is None or "may not survive" in refused or "interrupted write" in refused
        if now != before and not told:
            return f"it was refused with {refused}, and the bundle has changed"
        if left := _beside(path):
            self.tally.figures[LEFT] += 1
        if step == "create" and now is not None:
            target.create(path, 2, overwrite=True)
        else:
            self._do(step, path)
        if (again := content(path)) != after:
            return f"done again, it is not as it was to be: {', '.join(_differing(again, after))}"
        left = _beside(path)
        return f"done again, it left behind: {', '.join(left)}" if left else None


def _differing(one: dict[str, bytes] | None, other: dict[str, bytes] | None) -> list[str]:
    """Names of files that are not the same in both."""
    first, second = one or {}, other or {}
    return sorted(name for name in first | second if first.get(name) != second.get(name))


def _beside(path: Path) -> list[str]:
    """What is in the bundle or beside it and is no part of it."""
    return sorted({*leftovers(path), *os.listdir(path.parent)} - {path.name})
