"""A Ray cluster: one that is there, or one on this machine that lasts as long as the work."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from aimc_deploy.config.executor import Ray
from aimc_deploy.errors import ExecutorError
from aimc_deploy.workflows.executors import Died, Engine
from aimc_deploy.workflows.executors.call import Call, Outcome

ROOM = 1000  # jobs that Ray is given at a time
STORE_BYTES = 80 * 1024**2  # the least it takes; what jobs give is small


@contextlib.contextmanager
def engine(executor: Ray, function: Callable[[Any], Any]) -> Iterator[Engine]:
    """The cluster of the address, of ``RAY_ADDRESS``, or a new one; one that this process is in already."""
    # Before the import: nothing is reported to anybody, and a job without GPUs sees none of them hidden.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise ExecutorError(
            "executor: kind ray needs Ray, which is not installed: pip install 'aimc-deploy[ray]'"
        ) from None
    ours = not ray.is_initialized()
    if ours:
        _connect(ray, executor)
    try:
        yield _Cluster(ray, executor, Call.here(function))
    finally:
        if ours:
            ray.shutdown()


def _connect(ray: Any, executor: Ray) -> None:
    address = executor.address or os.environ.get("RAY_ADDRESS") or "local"
    settings: dict[str, Any] = {}
    if address == "local":
        settings = {
            "num_cpus": executor.workers,
            "object_store_memory": STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ExecutorError(
            f"executor: no Ray cluster can be reached at '{address}' ({reason}): start one with `ray start "
            "--head`, or leave out executor.address and RAY_ADDRESS for one on this machine"
        ) from None


class _Cluster:
    """Jobs as Ray's tasks, which it does not try again itself."""

    def __init__(self, ray: Any, executor: Ray, call: Call) -> None:
        self.ray = ray
        self.room = executor.workers or ROOM
        self.task = ray.remote(
            num_cpus=executor.cpus, num_gpus=executor.gpus, max_retries=0, retry_exceptions=False
        )(_in_worker)
        self.call = call

    def submit(self, jobs: Sequence[Any]) -> list[Any]:
        return [self.task.remote(self.call, job) for job in jobs]

    def wait(self, handles: Sequence[Any]) -> list[Any]:
        done, _ = self.ray.wait(list(handles), num_returns=1)
        return done

    def outcome(self, handle: Any) -> Outcome:
        try:
            return self.ray.get(handle)
        except self.ray.exceptions.RayTaskError as error:  # before the function was called: an import
            reason = str(error).strip().rpartition("\n")[2]
            raise ExecutorError(
                f"executor: a job could not begin on the Ray cluster ({reason}): install the same version of "
                "aimc-deploy on all of its machines"
            ) from None
        except self.ray.exceptions.RayError as error:
            reason = str(error).strip().partition("\n")[0]
            raise Died(f"its process was lost ({type(error).__name__}: {reason})") from None


def _in_worker(call: Call, job: Any) -> Outcome:
    return call(job)
