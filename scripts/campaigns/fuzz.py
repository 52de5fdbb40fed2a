"""Documents that are almost sound, for whatever this package reads: each is refused in words, or taken.

An execution is fixed by the seed, the name of its parser and its number, and by nothing else: not by the
number of processes, nor by what ran before.
"""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from campaigns import parse_bundle, parse_config, parse_data
from campaigns.cases import Tally
from campaigns.fuzz_bench import Bench, Done
from campaigns.fuzz_pool import Job, Pool
from campaigns.parser import Parser

SIZE = 2_000_000
JOB = 500
"""Executions that a process is given at a time."""

SHOWN_BYTES = 4096
FOLDER = Path("/dev/shm")  # a disk takes longer to write a file than most parsers to read it

ROOMS = (parse_bundle, parse_config, parse_data)


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
