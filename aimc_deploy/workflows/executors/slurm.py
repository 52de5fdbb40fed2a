"""A Slurm cluster, by way of submitit; each job is one of Slurm's, those submitted together an array."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aimc_deploy.config.executor import Slurm
from aimc_deploy.errors import ExecutorError
from aimc_deploy.workflows.executors import Died, Engine
from aimc_deploy.workflows.executors.call import Call, Outcome
from aimc_deploy.workflows.executors.local import processors

ROOM = 1000  # jobs of one array
POLL_S = 0.2


@contextlib.contextmanager
def engine(executor: Slurm, function: Callable[[Any], Any]) -> Iterator[Engine]:
    """Jobs in the folder that the configuration names; what still runs in the end is cancelled."""
    try:
        import submitit
    except ImportError:
        raise ExecutorError(
            "executor: kind slurm needs submitit, which is not installed: pip install 'aimc-deploy[slurm]'"
        ) from None
    try:
        submitter = submitit.AutoExecutor(folder=Path(executor.folder).resolve(), cluster=executor.cluster)
    except RuntimeError as error:
        raise ExecutorError(
            f"executor: there is no Slurm here ({error}): call this on a machine that has `sbatch`, or try "
            "it out with executor.cluster=local"
        ) from None
    submitter.update_parameters(**_parameters(executor))
    queue = _Queue(submitit, submitter, executor, Call.here(function))
    try:
        yield queue
    finally:
        for job in queue.running:
            job.cancel(check=False)


def _parameters(executor: Slurm) -> dict[str, Any]:
    """In submitit's words; those of Slurm alone are left out by its local executor."""
    asked = {
        "name": "aimc-deploy",
        "timeout_min": executor.timeout_min,
        "cpus_per_task": executor.cpus,
        "gpus_per_node": executor.gpus,
        "mem_gb": executor.mem_gb,
        "slurm_partition": executor.partition,
        "slurm_account": executor.account,
        "slurm_qos": executor.qos,
        "slurm_array_parallelism": executor.workers,
    }
    return {name: value for name, value in asked.items() if value is not None}


class _Queue:
    """Submitted jobs; ``running`` are those that nobody has seen the end of."""

    def __init__(self, submitit: Any, submitter: Any, executor: Slurm, call: Call) -> None:
        self.submitit, self.submitter, self.call = submitit, submitter, call
        few = processors() if executor.cluster == "local" else ROOM
        self.room = executor.workers or few
        self.running: set[Any] = set()

    def submit(self, jobs: Sequence[Any]) -> list[Any]:
        submitted = self.submitter.map_array(self.call, list(jobs))
        self.running.update(submitted)
        return submitted

    def wait(self, handles: Sequence[Any]) -> list[Any]:
        while not (done := [handle for handle in handles if handle.done()]):
            time.sleep(POLL_S)
        self.running.difference_update(done)
        return done

    def outcome(self, handle: Any) -> Outcome:
        try:
            return handle.result()
        except self.submitit.core.utils.UncompletedJobError as error:
            reason = str(error).partition("\n")[0]
            raise Died(
                f"its job {handle.job_id} gave nothing ({reason}; log: {handle.paths.stderr})"
            ) from None
        except self.submitit.core.utils.FailedJobError:  # before the function was called: an import
            raise ExecutorError(
                f"executor: job {handle.job_id} could not begin; its log is {handle.paths.stderr}"
            ) from None
