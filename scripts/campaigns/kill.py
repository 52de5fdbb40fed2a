"""Commands that are killed at any instant: given again, each gives what an undisturbed one gives."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.backends.backend_svg
import matplotlib.figure  # noqa: F401  # which is imported when something is drawn
import torch
from shell import write_recipe
from tiny_deployment import files_of, recipe
from tiny_sweep import write_sweep

import aimc_deploy.workflows.sweep.measure  # noqa: F401  # which is imported when a sweep begins
from aimc_deploy.artifact import files
from aimc_deploy.config.load import load_run
from aimc_deploy.workflows import adapt, evaluate, sweep
from aimc_deploy.workflows.run import deploy
from campaigns.cases import Case, Tally, chosen, run

COMMANDS = ("map", "adapt", "evaluate", "sweep")
RANDOM = 60
"""Kills at random times, of each command."""

PATIENCE_S = 300
"""After which a command is taken to wait for ever, whatever else the machine does."""

FINISHED = "had finished before they were killed"
EVENTS = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "make a folder",
    "os.rmdir": "remove a folder",
}
CHANGING = ("created", "manifest_sha256")
"""Of a manifest: when it was made, and what follows from that."""


def campaign(folder: Path, size: int | None, seed: int, only: str | None) -> Tally:
    """Kills at every call by which a command changes the disk, and at random times.

    Every command runs in a fork of this process, which has imported all that they need and has computed
    nothing: a fork cannot take threads along.
    """
    tally = Tally("kill", seed, figures={FINISHED: 0})
    bench = Bench(folder, tally)
    tally = run(tally, chosen(list(bench.cases()), size, seed, only))
    tally.figures |= {f"calls of {command}": len(calls) for command, calls in bench.calls.items()}
    return tally


class Bench:
    """A tiny deployment, and what there is before and after each command."""

    def __init__(self, folder: Path, tally: Tally) -> None:
        self.folder, self.tally = folder, tally
        self.place, self.notes = folder / "place", folder / "notes.json"
        self.inputs = folder / "inputs"
        self.before = {command: folder / f"before-{command}" for command in COMMANDS}
        self.calls: dict[str, list[str]] = {}
        self.seconds: dict[str, float] = {}
        self.after: dict[str, dict[str, bytes]] = {}
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        torch.set_num_threads(1)
        gc.freeze()  # collecting what a fork has from its parent would take it a second
        self._prepare()

    def _prepare(self) -> None:
        """Run each command once, undisturbed, from where the one before it ended."""
        self.inputs.mkdir()
        in_fork(partial(self._write_inputs), self.notes)
        for command in COMMANDS:
            if command == "sweep":
                shutil.rmtree(self.place)
            self.place.mkdir(exist_ok=True)
            shutil.copytree(self.place, self.before[command])
            start = time.monotonic()
            status = in_fork(partial(self._counted, command), self.notes)
            self.seconds[command] = time.monotonic() - start
            if status != 0:
                raise RuntimeError(f"{command} itself fails: {self.notes.read_text()}")
            self.calls[command] = json.loads(self.notes.read_text())
            self.after[command] = told(self.place)

    def _write_inputs(self) -> None:
        write_sweep(
            self.inputs, points=[{"seed": 0}, {"seed": 1}], set={"evaluate.chips": 1, "adapt.epochs": 1}
        )
        settings = {"epochs": 1.0, "batch_size": 24, "learning_rate": 1.0e-2, "checkpoint_steps": 1}
        config = recipe(Path("unused"), self.inputs / "tiny", self.inputs / "SST-2", adapt=settings)
        write_recipe(self.inputs / "deploy.yaml", config)

    def do(self, command: str) -> None:
        """The command, as it is given first and given again."""
        if command == "sweep":
            file = sweep.read_sweep(self.inputs / "sweep.yaml", executor={"workers": 1})
            found = sweep.run(file, self.place / "sweep")
            assert not found.problems, found.problems
            return
        config = load_run(self.inputs / "deploy.yaml")
        config = config.model_copy(update={"bundle": str(self.place / "bundle")})
        if command == "map":
            next(deploy(config))
        elif command == "adapt":
            adapt.run(config, resume=None, existing="keep")
        else:
            evaluate.run(config, keep=True)

    def cases(self) -> Iterator[Case]:
        for command in COMMANDS:
            for at, name in enumerate(self.calls[command]):
                label = f"{command}, killed at call {at} ({name})"
                yield Case(f"{command}, at a call", label, partial(self._at_call, command, at))
            draw = random.Random(f"{self.tally.seed} {command}")
            for number in range(RANDOM):
                share = draw.random()
                label = f"{command}, killed at a random time, {number}"
                yield Case(f"{command}, at a random time", label, partial(self._at_time, command, share))

    def _at_call(self, command: str, at: int) -> str | None:
        self._begin(command)
        status = in_fork(partial(self._counted, command, at), self.notes)
        if status != -signal.SIGKILL:
            return f"it ended with {status} and was to be killed: {self.notes.read_text()}"
        return self._again(command)

    def _at_time(self, command: str, share: float) -> str | None:
        self._begin(command)
        status = in_fork(partial(self.do, command), self.notes, kill_after_s=share * self.seconds[command])
        if status == 0:
            self.tally.figures[FINISHED] += 1
        elif status != -signal.SIGKILL:
            return f"it ended with {status} and was to be killed: {self.notes.read_text()}"
        return self._again(command)

    def _begin(self, command: str) -> None:
        shutil.rmtree(self.place)
        shutil.copytree(self.before[command], self.place)

    def _again(self, command: str) -> str | None:
        """What is wrong after the same command was given again."""
        status = in_fork(partial(self.do, command), self.notes)
        if status != 0:
            return f"given again, it ended with {status}: {self.notes.read_text()}"
        now, after = told(self.place), self.after[command]
        if left := sorted(now.keys() - after.keys()):
            return f"given again, it left behind: {', '.join(left)}"
        differing = sorted(name for name in after if now.get(name) != after[name])
        return f"given again, it gave other bytes: {', '.join(differing)}" if differing else None

    def _counted(self, command: str, at: int | None = None) -> None:
        calls = Calls(self.place, at)
        self.do(command)
        self.notes.write_text(json.dumps(calls.names))


class Calls:
    """The calls by which this process changes what is below a folder; it dies at one of them.

    Python tells of files opened for writing, folders made, names changed and removed; flushes and the writes
    of this package are watched besides, and of the write that is died in, half is done. For good: only for a
    process that does nothing else.
    """

    def __init__(self, root: Path, at: int | None) -> None:
        self.root, self.at = str(root), at
        self.names: list[str] = []
        self._fsync, self._open = os.fsync, open
        os.fsync = self._flush
        files.open = self._opened  # pyrefly: ignore[missing-attribute]  # in the place of the built-in
        sys.addaudithook(self._hook)

    def _reach(self, name: str) -> None:
        if len(self.names) == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.names.append(name)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if isinstance(path, str | bytes) and flags & (os.O_WRONLY | os.O_RDWR) and self._counts(path):
                self._reach("open")
        elif event in EVENTS and self._counts(arguments[0]):
            self._reach(EVENTS[event])

    def _counts(self, path: str | bytes) -> bool:
        name = os.fsdecode(path)
        return name.startswith(self.root) or not os.path.isabs(name)  # relative to a folder that is open

    def _flush(self, descriptor: Any) -> None:
        self._reach("flush")
        self._fsync(descriptor)

    def _opened(self, file: Any, mode: str = "r", **options: Any) -> Any:
        stream = self._open(file, mode, **options)
        return Halved(stream, self) if mode == "wb" else stream


class Halved:
    """A file whose write may be the last thing that a process half does."""

    def __init__(self, stream: Any, calls: Calls) -> None:
        self.stream, self.calls = stream, calls

    def write(self, data: bytes) -> None:
        if len(self.calls.names) == self.calls.at:
            self.stream.write(data[: len(data) // 2])
            self.stream.flush()
        self.calls._reach("write")
        self.stream.write(data)

    def __enter__(self) -> Halved:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def in_fork(act: Callable[[], object], notes: Path, kill_after_s: float | None = None) -> int:
    """Do something in a fork of this process: its exit code, or minus the signal that ended it.

    Args:
        notes: holds the traceback where it is 1.
        kill_after_s: kill it then.
    """
    assert threading.active_count() == 1, "a fork takes no threads along"
    process = os.fork()
    if process == 0:
        code = 1
        try:
            act()
            code = 0
        except BaseException:
            notes.write_text(traceback.format_exc())
        finally:
            os._exit(code)
    try:
        return _ended(process, notes, kill_after_s)
    except BaseException:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        raise


def _ended(process: int, notes: Path, kill_after_s: float | None) -> int:
    """Wait for a process, and kill it after a time; its exit code, or minus the signal that ended it."""
    start, patience = time.monotonic(), PATIENCE_S if kill_after_s is None else kill_after_s
    while True:
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - start > patience:
            os.kill(process, signal.SIGKILL)
            patience = float("inf")
            if kill_after_s is None:
                notes.write_text(f"it still ran after {PATIENCE_S} s")
        time.sleep(0.002)


def told(place: Path) -> dict[str, bytes]:
    """Every file and every empty folder by its name; of a manifest, what does not tell the time."""
    found = files_of(place)
    for name, data in found.items():
        if name.endswith("manifest.json"):
            content = json.loads(data)
            found[name] = json.dumps({key: content[key] for key in content if key not in CHANGING}).encode()
    empty = (path for path in place.rglob("*") if path.is_dir() and not any(path.iterdir()))
    return found | {f"{path.relative_to(place)}/": b"" for path in empty}
