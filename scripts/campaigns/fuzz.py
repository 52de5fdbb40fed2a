"""Documents that are almost sound, for whatever this package reads: each is refused in words, or taken.

An execution is fixed by the seed, the name of its parser and its number, and by nothing else: not by the
number of processes, nor by what ran before.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import resource
import shlex
import signal
import sys
import tempfile
import time
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any

import pyarrow
import torch

from campaigns import parse_bundle, parse_config, parse_data
from campaigns.cases import Tally
from campaigns.parser import Parser, read

SIZE = 2_000_000
JOB = 500
"""Executions that a process is given at a time."""

ALLOWED_S = 1.0
"""Of processor time, for one document."""

PATIENCE_S = 10.0
"""Of processor time, after which one is broken off."""

STUCK_S = 120.0
"""After which a process that is still at the same document is killed: it is in code that is not Python."""

ALLOWED_MIB = 256
"""That one document may take, at most."""

MORE_BYTES = 1 << 30
"""Of addresses, which a process gets at most before it is refused memory."""

SHOWN_BYTES = 4096
TRIES = 1500
FOLDER = Path("/dev/shm")  # a disk takes longer to write a file than most parsers to read it

ROOMS = (parse_bundle, parse_config, parse_data)
Job = tuple[str, int, int]


class Hang(BaseException):
    """It has not ended; no parser may catch this."""


@dataclass
class Done:
    """How the executions of a job went.

    Attributes:
        longest: processor time of one execution, s.
        most_mib: that the process took for one execution.
        grown_mib: by which the process is larger than before its first execution.
        failures: by what went wrong: the first number, how often, why, and the document.
    """

    name: str
    taken: int = 0
    refused: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    bytes: int = 0
    most_mib: float = 0.0
    grown_mib: float = 0.0
    failures: dict[str, tuple[int, int, str, bytes]] = field(default_factory=dict)

    @property
    def failed(self) -> int:
        """Executions that did."""
        return sum(times for _, times, _, _ in self.failures.values())

    @property
    def size(self) -> int:
        """Executions."""
        return self.taken + self.refused + self.failed

    def fail(self, kind: str, number: int, why: str, data: bytes) -> None:
        """Count a failure; of those that are alike the first is told."""
        self.merge_failure(kind, (number, 1, why, data))

    def merge_failure(self, kind: str, found: tuple[int, int, str, bytes]) -> None:
        """Count failures that are alike."""
        before = self.failures.get(kind, found)
        times = found[1] + (before[1] if kind in self.failures else 0)
        number, _, why, data = min(before, found, key=lambda one: one[0])
        self.failures[kind] = (number, times, why, data)

    def merge(self, other: Done) -> None:
        """Add what another job of the same parser gave."""
        for name in ("taken", "refused", "seconds", "bytes"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("longest", "most_mib", "grown_mib"):
            setattr(self, name, max(getattr(self, name), getattr(other, name)))
        for kind, found in other.failures.items():
            self.merge_failure(kind, found)


def campaign(folder: Path, size: int | None, seed: int, only: str | None, workers: int = 1) -> Tally:
    """So many documents in all, each parser its share of them, in so many processes."""
    tally = Tally("fuzz", seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(dir=FOLDER if os.access(FOLDER, os.W_OK) else folder) as place:
        found = {parser.name: parser for room in ROOMS for parser in room.parsers()}
        bench = Bench(found, Path(place), seed)
        bench.warm()
        if only is not None:
            name, _, number = only.rpartition(" ")
            jobs = [(name, int(number), int(number) + 1)] if name in found and number.isdecimal() else []
        else:
            jobs = list(_jobs(found, size or SIZE))
        total = {name: Done(name) for name, _, _ in jobs}
        left = Pool(bench, jobs, total, workers).run()
    tally.seconds = time.monotonic() - start
    _tell(tally, total, workers, left)
    return tally


def _jobs(found: dict[str, Parser], size: int) -> Iterator[Job]:
    """All executions, the parsers in turn."""
    shares = sum(parser.share for parser in found.values())
    ends = {name: max(1, size * parser.share // shares) for name, parser in found.items()}
    ends[next(iter(ends))] += max(0, size - sum(ends.values()))
    for begin in range(0, max(ends.values()), JOB):
        for name, end in ends.items():
            if begin < end:
                yield name, begin, min(begin + JOB, end)


def _tell(tally: Tally, total: dict[str, Done], workers: int, left: int) -> None:
    for name, done in total.items():
        tally.kinds[name] = done.size
        for kind, (number, times, why, data) in sorted(done.failures.items()):
            label = f"{name} {number}"
            again = f"scripts/campaign fuzz --seed {tally.seed} --only {shlex.quote(label)}"
            told = {"case": label, "times": times, "kind": kind, "why": why, "reproduce": again}
            tally.failures.append(told | {"document": repr(data[:SHOWN_BYTES])})
    done = total.values()
    tally.figures["parsers"] = {
        name: {
            "executions": of.size,
            "taken": of.taken,
            "refused": of.refused,
            "longest, s": round(of.longest, 3),
            "a second": round(of.size / max(of.seconds, 1e-9)),
        }
        for name, of in total.items()
    }
    tally.figures |= {
        "taken": sum(of.taken for of in done),
        "refused": sum(of.refused for of in done),
        "processes": workers,
        "MiB of documents": round(sum(of.bytes for of in done) / 1024**2),
        "longest, s of CPU": round(max((of.longest for of in done), default=0.0), 3),
        "most memory for one document, MiB": round(max((of.most_mib for of in done), default=0.0), 1),
        "a process grew in all by, MiB": round(max((of.grown_mib for of in done), default=0.0), 1),
    }
    if left:
        tally.figures["not run"] = left


class Bench:
    """All parsers, and a folder for what they read."""

    def __init__(self, found: dict[str, Parser], folder: Path, seed: int) -> None:
        self.parsers, self.folder, self.seed = found, folder, seed
        self.draw = Random()
        self.begun: float | None = None
        self.begun_mib = 0.0

    def warm(self) -> None:
        """Give every parser its sound documents, so that whatever is imported late is.

        On one thread: forks take none along, and each takes addresses, of which there are few.

        Raises:
            ValueError: one is refused.
        """
        torch.set_num_threads(1)
        pyarrow.set_cpu_count(1)
        pyarrow.set_io_thread_count(1)
        for parser in self.parsers.values():
            for data in parser.pristine():
                path = self._write(parser, data)
                if not read(parser, path):
                    raise ValueError(f"'{parser.name}' refuses a sound document: {data[:300]!r}")

    def begin(self) -> None:
        """In a process of its own: limit what it may take."""
        self.folder = Path(tempfile.mkdtemp(dir=self.folder))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MORE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent's to tell
        signal.signal(signal.SIGPROF, self._tick)
        signal.setitimer(signal.ITIMER_PROF, PATIENCE_S / 10, PATIENCE_S / 10)
        self.begun_mib = _mib()

    def _tick(self, *_: object) -> None:
        if self.begun is not None and time.process_time() - self.begun > PATIENCE_S:
            raise Hang

    def _write(self, parser: Parser, data: bytes) -> Path:
        path = self.folder / parser.file
        with path.open("wb") as stream:
            stream.write(data)
        return path

    def document(self, parser: Parser, number: int) -> bytes:
        """The document of an execution."""
        self.draw.seed(f"{self.seed} {parser.name} {number}")
        return parser.document(self.draw)

    def execute(self, done: Done, number: int) -> None:
        """One execution."""
        parser = self.parsers[done.name]
        data = self.document(parser, number)
        done.bytes += len(data)
        before = _mib()
        taken, wrong, seconds = self.outcome(parser, data)
        if wrong is None and seconds > ALLOWED_S:
            seconds = min(seconds, self.outcome(parser, data)[2])
            if seconds > ALLOWED_S:
                wrong = "slow", f"it took {seconds:.2f} s of CPU"
        done.longest = max(done.longest, seconds)
        took = _peak_mib() - before
        done.most_mib = max(done.most_mib, took)
        done.grown_mib = max(done.grown_mib, before - self.begun_mib)
        if wrong is None and took > ALLOWED_MIB:
            wrong = "memory", f"it took {took:.0f} MiB"
        if wrong is None:
            done.taken += taken
            done.refused += not taken
            return
        kind, why = wrong
        if kind not in done.failures:
            why += f"\n({len(data)} bytes)"
            data = data if kind in ("slow", "memory", "Hang") else self._shortened(parser, data, kind)
        done.fail(kind, number, why, data)

    def outcome(self, parser: Parser, data: bytes) -> tuple[bool, tuple[str, str] | None, float]:
        """Whether a document is taken, what kind of thing is wrong and why, and the processor time."""
        path = self._write(parser, data)
        taken, wrong = False, None
        self.begun = start = time.process_time()
        try:
            taken = read(parser, path)
        except Hang:
            wrong = "Hang", f"it had not ended after {PATIENCE_S:.0f} s of CPU"
        except BaseException as error:  # what campaigns look for
            wrong = _kind(error), traceback.format_exc(limit=-4)
        finally:
            self.begun = None
        return taken, wrong, time.process_time() - start

    def _shortened(self, parser: Parser, data: bytes, kind: str) -> bytes:
        """A part of the document that fails alike."""
        tries, piece = TRIES, len(data) // 2
        deadline = time.process_time() + PATIENCE_S
        while piece:
            at = 0
            while at < len(data) and tries and time.process_time() < deadline:
                shorter = data[:at] + data[at + piece :]
                tries -= 1
                wrong = self.outcome(parser, shorter)[1]
                if wrong is not None and wrong[0] == kind:
                    data = shorter
                else:
                    at += piece
            piece //= 2
        return data


def _kind(error: BaseException) -> str:
    """What failures that are alike have in common: the type and the place, the nearest in this package."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "aimc_deploy" in frame.filename] or frames
    where = own[-1]
    return f"{type(error).__name__} at {Path(where.filename).name}:{where.lineno}"


def _mib() -> float:
    """The memory of this process; its peak begins anew, where the system can do that (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_mib()


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@dataclass
class Worker:
    """A process, the job that it was given, and the number it is at."""

    process: Any
    pipe: Connection
    at: Any
    job: Job | None = None
    seen: tuple[int, float] = (-1, 0.0)


class Pool:
    """Processes that are forks of this one; one that a document ends is replaced."""

    def __init__(self, bench: Bench, jobs: list[Job], total: dict[str, Done], workers: int) -> None:
        self.bench, self.total, self.count = bench, total, workers
        self.left = deque(jobs)
        self.context: Any = multiprocessing.get_context("fork")

    def run(self) -> int:
        """Do all jobs; after Ctrl-C, how many executions were not done."""
        gc.collect()
        gc.freeze()  # what there is stays; else each process would look at all of it again and again
        sys.stdout.flush()
        workers = [self._start() for _ in range(min(self.count, len(self.left)))]
        try:
            while any(worker.job for worker in workers):
                ready = wait([worker.pipe for worker in workers if worker.job], timeout=1.0)
                for at, worker in enumerate(workers):
                    if worker.pipe in ready and not self._take(worker):
                        self._died(worker)
                        workers[at] = self._start()
                    elif worker.pipe not in ready:
                        _watch(worker)
        except KeyboardInterrupt:
            self.left.extend(worker.job for worker in workers if worker.job)
        finally:
            gc.unfreeze()
            for worker in workers:
                worker.process.kill()
                worker.process.join()
                worker.pipe.close()
        return sum(stop - start for _, start, stop in self.left)

    def _start(self) -> Worker:
        ours, theirs = self.context.Pipe()
        at = self.context.RawValue("q", -1)
        process = self.context.Process(target=_work, args=(self.bench, theirs, at), daemon=True)
        process.start()
        theirs.close()
        worker = Worker(process, ours, at)
        self._give(worker)
        return worker

    def _give(self, worker: Worker) -> None:
        worker.job = self.left.popleft() if self.left else None
        worker.seen = (-1, time.monotonic())
        if worker.job:
            worker.pipe.send(worker.job)

    def _take(self, worker: Worker) -> bool:
        """Count a finished job and give the next one; False if the process has ended."""
        try:
            done = worker.pipe.recv()
        except (EOFError, OSError):
            return False
        self.total[done.name].merge(done)
        self._give(worker)
        return True

    def _died(self, worker: Worker) -> None:
        """Count the document at which a process ended, and do what is left of its job anew."""
        worker.process.join()
        worker.pipe.close()
        assert worker.job is not None
        name, start, stop = worker.job
        at, code = worker.at.value, worker.process.exitcode
        if not start <= at < stop:
            raise RuntimeError(f"a process ended with {code} before its first document")
        done = Done(name)
        data = self.bench.document(self.bench.parsers[name], at)
        done.fail(f"ended with {code}", at, f"the process ended with {code}\n({len(data)} bytes)", data)
        self.total[name].merge(done)
        self.left.extend(job for job in ((name, start, at), (name, at + 1, stop)) if job[1] < job[2])


def _watch(worker: Worker) -> None:
    """End a process that does not come to the next document."""
    if worker.job is None or worker.at.value != worker.seen[0]:
        worker.seen = (worker.at.value, time.monotonic())
    elif time.monotonic() - worker.seen[1] > STUCK_S:
        worker.process.kill()


def _work(bench: Bench, pipe: Connection, at: Any) -> None:
    """Do jobs until this process is ended."""
    bench.begin()
    while True:
        name, start, stop = pipe.recv()
        done = Done(name)
        begun = time.process_time()
        for number in range(start, stop):
            at.value = number
            bench.execute(done, number)
        done.seconds = time.process_time() - begun
        pipe.send(done)
