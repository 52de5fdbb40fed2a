"""Where jobs that do not depend on each other are computed: the chips of an evaluation, a sweep's points."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aimc_deploy.config.model import Model

Workers = Annotated[int | None, Field(ge=1, le=10_000)]


class Local(Model):
    """Processes on this machine, one thread each; a single one is this process itself."""

    kind: Literal["local"] = "local"
    workers: Annotated[Workers, Field(description="processes; null: one a processor, one where a GPU is")] = (
        None
    )


class Ray(Model):
    """A Ray cluster. Needs the extra ``[ray]``, and the same paths on all machines."""

    kind: Literal["ray"] = "ray"
    workers: Annotated[Workers, Field(description="jobs at a time; null: as many as there is room for")] = (
        None
    )
    address: Annotated[
        str | None,
        Field(description="null: RAY_ADDRESS if that is set, else a cluster of this machine"),
    ] = None
    cpus: Annotated[float, Field(gt=0, description="processors of a job")] = 1.0
    gpus: Annotated[float, Field(ge=0, description="GPUs of a job")] = 0.0


class Slurm(Model):
    """A Slurm cluster by way of submitit. Needs the extra ``[slurm]``, and the same paths on all machines."""

    kind: Literal["slurm"] = "slurm"
    workers: Annotated[
        Workers, Field(description="jobs at a time; null: as Slurm sees fit, locally one a processor")
    ] = None
    cluster: Annotated[
        Literal["slurm", "local"], Field(description="local: processes of this machine, to try it out")
    ] = "slurm"
    folder: Annotated[str, Field(description="for submitit's files and the logs of the jobs")] = "slurm-jobs"
    timeout_min: Annotated[int, Field(ge=1, description="of a job, in minutes")] = 240
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    cpus: Annotated[int, Field(ge=1, description="processors of a job")] = 1
    gpus: Annotated[int, Field(ge=0, description="GPUs of a job")] = 0
    mem_gb: Annotated[float | None, Field(gt=0, description="memory of a job")] = None


Executor = Annotated[Local | Ray | Slurm, Field(discriminator="kind")]
