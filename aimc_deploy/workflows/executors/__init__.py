"""Jobs that do not depend on each other, on whatever engine the configuration names.

An engine only computes and says who died; trying again is done here, the same for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from aimc_deploy.config.executor import Executor, Local, Ray, Slurm
from aimc_deploy.errors import WorkerLost
from aimc_deploy.workflows.executors.call import Outcome

Job = TypeVar("Job")
Value = TypeVar("Value")
Handle = Any
"""What an engine knows a submitted job by; it can be hashed."""


@dataclass(frozen=True)
class Done:
    """What the job at ``place`` of the list gave."""

    place: int
    value: Any


@dataclass(frozen=True)
class Lost:
    """The job at ``place`` of the list took its process with it every time it was tried."""

    place: int
    reason: str


class Died(Exception):
    """The process of a job ended before the job did; the message says how."""


class Broken(Died):
    """All processes were given up, and nobody knows which job it was because of."""


BREAKS = 5
"""How often a job is tried again that was there when all processes were given up: mostly it was another's."""


class Engine(Protocol):
    """Computes jobs elsewhere.

    Attributes:
        room: so many jobs are submitted at a time.
    """

    room: int

    def submit(self, jobs: Sequence[Any]) -> list[Handle]:
        """Have these jobs computed; returns at once."""
        ...

    def wait(self, handles: Sequence[Handle]) -> list[Handle]:
        """Those that have ended, one way or the other: at least one."""
        ...

    def outcome(self, handle: Handle) -> Outcome:
        """What a job that has ended gave.

        Raises:
            Died: its process did not survive it.
        """
        ...


def run(
    executor: Executor,
    function: Callable[[Job], Value],
    jobs: Sequence[Job],
    *,
    retries: int = 1,
    preload: tuple[str, ...] = (),
) -> Iterator[Done | Lost]:
    """What ``function`` gives for each job, in whatever order they end.

    Args:
        function: of a module, so that other processes find it; it must give the same wherever it runs.
        retries: how often a job is tried again whose process died.
        preload: modules that local processes import once for all.

    Raises:
        ExecutorError: the engine is not installed, or cannot be reached.
        Exception: of the function itself; what has not begun is given up.
    """
    if not jobs:
        return
    with open_engine(executor, function, len(jobs), preload) as engine:
        waiting = list(range(len(jobs)))[::-1]
        running: dict[Handle, int] = {}
        deaths, breaks = [0] * len(jobs), [0] * len(jobs)
        while waiting or running:
            places = [waiting.pop() for _ in range(min(len(waiting), engine.room - len(running)))]
            if places:
                handles = engine.submit([jobs[place] for place in places])
                running |= zip(handles, places, strict=True)
            for handle in engine.wait(list(running)):
                place = running.pop(handle)
                try:
                    value = engine.outcome(handle).unwrap()
                except Died as died:
                    (breaks if isinstance(died, Broken) else deaths)[place] += 1
                    if deaths[place] <= retries and breaks[place] <= BREAKS:
                        waiting.append(place)
                    else:
                        yield Lost(place, str(died))
                else:
                    yield Done(place, value)


def run_all(
    executor: Executor,
    function: Callable[[Job], Value],
    jobs: Sequence[Job],
    *,
    name: Callable[[Job], str],
    preload: tuple[str, ...] = (),
) -> Iterator[tuple[Job, Value]]:
    """Each job and what ``function`` gives for it, in whatever order they end; without one, all is in vain.

    Args:
        name: what people call a job.

    Raises:
        WorkerLost: the process of a job died, and died again when it was tried again.
        ExecutorError, Exception: as :func:`run` raises them.
    """
    for ended in run(executor, function, jobs, preload=preload):
        job = jobs[ended.place]
        if isinstance(ended, Lost):
            raise WorkerLost(
                f"{name(job)} was lost twice: {ended.reason}; what is finished is kept: run it again with "
                "fewer workers (--workers 1)"
            )
        yield job, ended.value


def placed(executor: Executor, device: str) -> Executor:
    """The executor for jobs that compute on a device: one process where a GPU does, unless told how many."""
    if not isinstance(executor, Local) or executor.workers is not None or device == "cpu":
        return executor
    from aimc_deploy.workflows.adapters import device_of

    return executor if device_of(device).type == "cpu" else Local(workers=1)


def open_engine(
    executor: Executor, function: Callable[[Any], Any], jobs: int, preload: tuple[str, ...]
) -> AbstractContextManager[Engine]:
    """The engine that is named; leaving it ends whatever still runs."""
    if isinstance(executor, Ray):
        from aimc_deploy.workflows.executors import ray

        return ray.engine(executor, function)
    if isinstance(executor, Slurm):
        from aimc_deploy.workflows.executors import slurm

        return slurm.engine(executor, function)
    from aimc_deploy.workflows.executors import local

    return local.engine(executor, function, jobs, preload)
