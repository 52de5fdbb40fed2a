"""Processes that execute documents side by side; one that a document ends is replaced."""

from __future__ import annotations

import gc
import multiprocessing
import sys
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from campaigns.fuzz_bench import Bench, Done

STUCK_S = 120.0
"""After which a process that is still at the same document is killed: it is in code that is not Python."""

Job = tuple[str, int, int]
"""A parser, and the numbers of its executions from one to before another."""


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
