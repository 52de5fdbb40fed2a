"""Processes on this machine; where there is one, this process."""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import multiprocessing.context
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pebble import ProcessExpired, ProcessPool

from aimc_deploy.config.executor import Local
from aimc_deploy.workflows.executors import Broken, Died, Engine
from aimc_deploy.workflows.executors.call import Call, Outcome


def processors() -> int:
    """Of this machine, those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def engine(
    executor: Local, function: Callable[[Any], Any], jobs: int, preload: tuple[str, ...]
) -> Iterator[Engine]:
    """As many processes as are asked for, else one a processor, and no more than there are jobs."""
    workers = min(executor.workers or processors(), jobs)
    if workers == 1:
        yield _Here(function)
        return
    pool = _Pool(workers, Call.here(function), preload)
    try:
        yield pool
    finally:
        pool.close()


class _Here:
    """One job after the other in this process, each when it is asked for."""

    room = 1

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function
        self.job: Any = None

    def submit(self, jobs: Sequence[Any]) -> list[int]:
        (self.job,) = jobs
        return [0]

    def wait(self, handles: Sequence[int]) -> list[int]:
        return list(handles)

    def outcome(self, handle: int) -> Outcome:
        return Outcome(self.function(self.job))


class _Pool:
    """A pool of which a process may die, and takes no other job with it."""

    def __init__(self, workers: int, call: Call, preload: tuple[str, ...]) -> None:
        self.workers, self.call = workers, call
        self.room = 2 * workers  # the next job of each is there when it asks for it
        self.context = _clean_processes(preload)
        self.pool = self._start()

    def _start(self) -> ProcessPool:
        return ProcessPool(max_workers=self.workers, context=self.context)

    def submit(self, jobs: Sequence[Any]) -> list[concurrent.futures.Future[Outcome]]:
        if not self.pool.active:  # pebble gives the pool up when a process dies that has nothing to do
            self.close()
            self.pool = self._start()
        return [self.pool.schedule(self.call, args=(job,)) for job in jobs]

    def wait(
        self, handles: Sequence[concurrent.futures.Future[Outcome]]
    ) -> list[concurrent.futures.Future[Outcome]]:
        done, _ = concurrent.futures.wait(handles, return_when=concurrent.futures.FIRST_COMPLETED)
        return [handle for handle in handles if handle in done]

    def outcome(self, handle: concurrent.futures.Future[Outcome]) -> Outcome:
        try:
            return handle.result()
        except ProcessExpired as expired:
            raise Died(_how(expired.exitcode)) from None
        except BrokenProcessPool:
            raise Broken("the worker processes died") from None

    def close(self) -> None:
        self.pool.stop()
        self.pool.join()


def _how(code: int) -> str:
    """How a process ended, from its exit code."""
    if code >= 0:
        return f"its process ended with exit code {code}"
    hint = " (out of memory?)" if -code == signal.SIGKILL else ""
    return f"its process was ended by {signal.Signals(-code).name}{hint}"


def _clean_processes(preload: tuple[str, ...]) -> multiprocessing.context.BaseContext:
    """Processes that inherit neither threads nor random state; where it can be, torch is imported once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(preload))
    return context
