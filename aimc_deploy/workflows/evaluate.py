"""Evaluate: accuracy over chips and years, every chip an independent programming, paired over time."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import Baseline, Results, Row, check_gate, summarise, to_csv, to_json
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.run import Run
from aimc_deploy.config.times import label, seconds
from aimc_deploy.errors import ArtifactError
from aimc_deploy.report.plot import accuracy_over_time
from aimc_deploy.tasks.data import load_data, sample
from aimc_deploy.tasks.features import Features, encode
from aimc_deploy.tasks.metrics import compute
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import base
from aimc_deploy.workflows.adapters import device_of, read_record
from aimc_deploy.workflows.deployed import DeployedModel
from aimc_deploy.workflows.predict import predict
from aimc_deploy.workflows.progress import Progress, Silent

DIGITAL = -1  # stands in a chip's place for the model without hardware


@dataclass(frozen=True)
class EvaluateResult:
    """``failures`` says which conditions of the gate do not hold; empty means it passed or was not asked."""

    results: Results
    failures: list[str]
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Job:
    """One adapter on one chip, at all times; all that a worker needs to know."""

    bundle: Path
    adapter: str
    chip: int
    times: tuple[str, ...]
    hardware: Hardware
    task: str
    data_dir: str | None
    samples: int | None
    batch_size: int
    seed: int
    device: str


def adapters_for(bundle: Bundle, config: Run) -> tuple[str, ...]:
    """The adapters asked for, else all of the task.

    Raises:
        ArtifactError: there is none, or one is for another task.
    """
    names = config.evaluate.adapters or tuple(
        name for name in bundle.adapters() if read_record(bundle, name).task == config.task
    )
    if not names:
        raise ArtifactError(
            f"{bundle.path} has no adapter for '{config.task}': train one with `aimc-deploy adapt --task {config.task}`"
        )
    for name in names:
        task = read_record(bundle, name).task
        if task != config.task:
            raise ArtifactError(f"adapter '{name}' is for task '{task}', not '{config.task}': use --task {task}")
    return names


def run(config: Run, *, out: str | None = None, progress: Progress | None = None) -> EvaluateResult:
    """Measure every adapter on every chip at every time; write JSON, CSV and a plot into the bundle.

    Args:
        out: name of the results in the bundle; the task's name if None.

    Raises:
        ArtifactError, DataError: nothing to evaluate.
        ConfigError: the gate names a time that is not evaluated, or there is only one chip.
    """
    progress = progress or Silent()
    settings = config.evaluate
    hardware = config.hardware
    if settings.compensation is not None:
        hardware = hardware.model_copy(update={"drift_compensation": settings.compensation})
    task = get_task(config.task)
    bundle = Bundle.open(Path(config.bundle))
    names = adapters_for(bundle, config)
    times = tuple(sorted(set(settings.times), key=seconds))
    jobs = [
        Job(
            bundle=bundle.path,
            adapter=name,
            chip=chip,
            times=times,
            hardware=hardware,
            task=task.name,
            data_dir=config.data_dir,
            samples=settings.eval_samples,
            batch_size=settings.batch_size,
            seed=config.seed,
            device=config.device,
        )
        for name in names
        for chip in (DIGITAL, *range(settings.chips))
    ]
    tokenizer = base.read_tokenizer(bundle)
    samples = len(_features(bundle, names[0], tokenizer, _data_of(jobs[0]), config.seed))
    progress.start(f"evaluating {task.name}", len(names) * (1 + settings.chips * len(times)))
    rows: list[Row] = []
    for row in _rows(jobs, _workers(config, len(jobs))):
        rows.append(row)
        progress.advance(1, f"{row.metrics[task.metric]:.3f} at {row.time}")
    results = Results(
        task=task.name,
        metric=task.metric,
        samples=samples,
        seed=config.seed,
        hardware_digest=hardware.digest(),
        settings={
            "chips": settings.chips,
            "times": list(times),
            "batch_size": settings.batch_size,
            "hardware": hardware.model_dump(mode="json"),
            "trained_for_other_hardware": [
                name
                for name in names
                if (record := read_record(bundle, name)).hardware_aware
                and record.hardware_digest != hardware.digest()
            ],
        },
        baselines=[Baseline(adapter=row.adapter, metrics=row.metrics) for row in rows if row.chip == DIGITAL],
        rows=sorted(
            (row for row in rows if row.chip != DIGITAL),
            key=lambda row: (names.index(row.adapter), row.chip, row.t_s),
        ),
    )
    failures = check_gate(results, settings.gate)
    stem = f"results/{out or task.name}"
    files = {
        f"{stem}.json": to_json(results).encode(),
        f"{stem}.csv": to_csv(results).encode(),
        f"{stem}.svg": accuracy_over_time(results, summarise(results)).encode(),
    }
    bundle.put_files(files)
    return EvaluateResult(results, failures, tuple(bundle.path / name for name in files))


def _workers(config: Run, jobs: int) -> int:
    """As many processes as were asked for, else one for each processor; one where a GPU computes."""
    if config.evaluate.workers is not None:
        return min(config.evaluate.workers, jobs)
    if device_of(config.device).type != "cpu":
        return 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(processors, jobs)


def _rows(jobs: list[Job], workers: int) -> Iterator[Row]:
    """Rows of all jobs, in whatever order they end.

    Every job computes on one thread: a sum over another number of threads may round differently, and a
    result must not depend on how many workers there were.
    """
    if workers == 1:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            for job in jobs:
                yield from _run_job(job)
        finally:
            torch.set_num_threads(threads)
        return
    with ProcessPoolExecutor(workers, mp_context=_clean_processes()) as pool:
        try:
            for done in as_completed([pool.submit(_in_worker, job) for job in jobs]):
                yield from done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _clean_processes() -> multiprocessing.context.BaseContext:
    """Processes that inherit neither threads nor random state; where it can be, torch is imported once."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _in_worker(job: Job) -> list[Row]:
    torch.set_num_threads(1)
    return list(_run_job(job))


def _run_job(job: Job) -> Iterator[Row]:
    """One adapter without hardware, or on one chip through all times."""
    task = get_task(job.task)
    model, features, tokenizer = _open(job.bundle, job.adapter, job.hardware, job.seed, job.device, _data_of(job))

    def measure(time: str) -> Row:
        logits = predict(model, features, tokenizer, job.batch_size)
        return Row(
            adapter=job.adapter,
            chip=job.chip,
            time=time,
            t_s=seconds(time),
            metrics=compute(task, logits, features.labels),
        )

    if job.chip == DIGITAL:
        model.digital()
        yield measure("0s")
        return
    model.program(job.chip)
    for time in job.times:
        model.drift(time)
        yield measure(time)


def _data_of(job: Job) -> tuple[str, str | None, int | None]:
    return job.task, job.data_dir, job.samples


@lru_cache(maxsize=1)
def _open(
    bundle_path: Path,
    adapter: str,
    hardware: Hardware,
    seed: int,
    device: str,
    data: tuple[str, str | None, int | None],
) -> tuple[DeployedModel, Features, Any]:
    """The model and the data of a job; a worker's next job is mostly for the same ones."""
    bundle = Bundle.open(bundle_path)
    model = DeployedModel(bundle, hardware, seed=seed).to(device_of(device))
    model.set_adapter(adapter).eval()
    tokenizer = base.read_tokenizer(bundle)
    return model, _features(bundle, adapter, tokenizer, data, seed), tokenizer


def _features(
    bundle: Bundle, adapter: str, tokenizer: Any, data: tuple[str, str | None, int | None], seed: int
) -> Features:
    task_name, data_dir, samples = data
    dev = load_data(get_task(task_name), None if data_dir is None else Path(data_dir)).dev
    if samples is not None:
        dev = sample(dev, samples, seed)
    return encode(dev, tokenizer, read_record(bundle, adapter).max_length)
