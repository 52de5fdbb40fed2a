"""The jobs of an evaluation: one adapter on one chip through all times."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import LORA_OFF, Alone, LayerErrors, Row
from aimc_deploy.config.executor import Executor, Local
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.times import seconds
from aimc_deploy.errors import TrainingError
from aimc_deploy.nn.layer_errors import layer_errors
from aimc_deploy.tasks.data import load_data, sample
from aimc_deploy.tasks.features import Features
from aimc_deploy.tasks.kinds import prepare, score
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import base, executors
from aimc_deploy.workflows.adapters import device_of, read_record
from aimc_deploy.workflows.attach import lora_switched_off
from aimc_deploy.workflows.deployed import DeployedModel
from aimc_deploy.workflows.finished import Finished
from aimc_deploy.workflows.input_ranges import calibrate_ranges
from aimc_deploy.workflows.logits import batches, predict
from aimc_deploy.workflows.threads import one_thread

SECOND = "_mm"  # ends the metrics of a second dev set: MNLI's of other genres
WATCHED = 8  # samples with which the errors of layers are measured
DIGITAL = -1  # stands in a chip's place for the model without hardware


@dataclass(frozen=True)
class Job:
    """One adapter on one chip, at all times; all that a worker needs to know.

    ``lora`` False measures the adapter's head on the layers as they were mapped; ``layers`` measures how
    exact each layer is, too. ``part`` is the one non-ideality that ``hardware`` has; None means all.
    """

    bundle: Path
    adapter: str
    lora: bool
    chip: int
    times: tuple[str, ...]
    hardware: Hardware
    task: str
    data_dir: str | None
    samples: int | None
    batch_size: int
    seed: int
    device: str
    layers: bool = False
    part: str | None = None


def run_jobs(jobs: list[Job], executor: Executor, finished: Finished) -> Iterator[Row | LayerErrors]:
    """What all jobs measure, in whatever order they end; what was finished before comes first.

    Every job computes on one thread: a sum over another number of threads may round differently, and a
    result must not depend on how many workers there were.

    Raises:
        WorkerLost: the process of a job died, and died again when it was tried again.
    """
    kept = [(job, finished.read(job)) for job in jobs]
    for _, measured in kept:
        yield from measured or ()
    jobs = [job for job, measured in kept if measured is None]
    if not jobs:
        return
    executor = executors.placed(executor, jobs[0].device)
    if isinstance(executor, Local) and executor.workers == 1:
        with one_thread():
            for job in jobs:
                measured = []
                for found in _run_job(job):
                    measured.append(found)
                    yield found  # row by row, which is worth seeing where all is done in turn
                finished.write(job, measured)
        return
    for job, measured in executors.run_all(executor, _in_worker, jobs, name=_name, preload=(__name__,)):
        finished.write(job, measured)
        yield from measured


def _name(job: Job) -> str:
    what = "the model without hardware" if job.chip == DIGITAL else f"chip {job.chip}"
    return f"{what} with adapter '{job.adapter}'"


def _in_worker(job: Job) -> list[Row | LayerErrors]:
    with one_thread():
        return list(_run_job(job))


def _run_job(job: Job) -> Iterator[Row | LayerErrors]:
    """One adapter without hardware, or on one chip through all times."""
    task = get_task(job.task)
    model, features, tokenizer = open_adapter(
        job.bundle, job.adapter, job.hardware, job.seed, job.device, (job.task, job.data_dir, job.samples)
    )

    def measure(time: str) -> Row:
        metrics = {}
        for ending, own in features.items():
            try:
                found = score(task, predict(model, own, tokenizer, job.batch_size), own)
            except TrainingError as error:
                where = "without hardware" if job.chip == DIGITAL else f"on chip {job.chip} at {time}"
                raise TrainingError(f"adapter '{job.adapter}' {where}: {error}") from None
            metrics |= {name + ending: value for name, value in found.items()}
        row = {
            "adapter": job.adapter if job.lora else f"{job.adapter}{LORA_OFF}",
            "chip": job.chip,
            "time": time,
            "t_s": seconds(time),
            "metrics": metrics,
        }
        return Row(**row) if job.part is None else Alone(**row, part=job.part)

    with contextlib.nullcontext() if job.lora else lora_switched_off(model.model):
        if job.chip == DIGITAL:
            model.digital()
            yield measure("0s")
            return
        model.program(job.chip)
        for time in job.times:
            model.drift(time)
            yield measure(time)
            if job.layers and time in (job.times[0], job.times[-1]):
                yield _layer_errors(job, model, features[""], tokenizer, time)


def _layer_errors(
    job: Job, model: DeployedModel, features: Features, tokenizer: Any, time: str
) -> LayerErrors:
    """How exact each layer is with the first samples of the dev set."""
    batch = next(iter(batches(features, tokenizer, WATCHED, first=WATCHED)))[1]
    device = next(model.parameters()).device
    with torch.inference_mode(), layer_errors(model.model) as found:
        model(**{key: value.to(device) for key, value in batch.items()})
    return LayerErrors(
        adapter=job.adapter, chip=job.chip, time=time, t_s=seconds(time), sqnr_db=dict(sorted(found.items()))
    )


@lru_cache(maxsize=1)
def open_adapter(
    bundle_path: Path,
    adapter: str,
    hardware: Hardware,
    seed: int,
    device: str,
    data: tuple[str, str | None, int | None],
) -> tuple[DeployedModel, dict[str, Features], Any]:
    """The model and the dev sets of a job; a worker's next job is mostly for the same ones.

    The dev sets come with the ending of their metrics.
    """
    bundle = Bundle.open(bundle_path)
    tokenizer, record = base.read_tokenizer(bundle), read_record(bundle, adapter)
    task_name, data_dir, samples = data

    task = get_task(task_name)
    loaded = load_data(task, None if data_dir is None else Path(data_dir))

    def calibration(inner: nn.Module) -> None:
        calibrate_ranges(inner, hardware, task, loaded.train, tokenizer, record.max_length, seed)

    model = DeployedModel(bundle, hardware, seed=seed).to(device_of(device))
    model.set_adapter(adapter, calibration).eval()
    splits = {"": loaded.dev, **({} if loaded.second is None else {SECOND: loaded.second})}
    features = {
        ending: prepare(
            task, dev if samples is None else sample(dev, samples, seed), tokenizer, record.max_length
        )
        for ending, dev in splits.items()
    }
    return model, features, tokenizer
