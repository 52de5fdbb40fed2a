"""The execution of one document, within its limits, and what came of many."""

from __future__ import annotations

import contextlib
import resource
import signal
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pyarrow
import torch

from campaigns.parser import Parser, read

ALLOWED_S = 1.0
"""Of processor time, for one document."""

PATIENCE_S = 10.0
"""Of processor time, after which one is broken off."""

ALLOWED_MIB = 256
"""That one document may take, at most."""

MORE_BYTES = 1 << 30
"""Of addresses, which a process gets at most before it is refused memory."""

TRIES = 1500


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
