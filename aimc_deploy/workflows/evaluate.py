"""Evaluate: accuracy over chips and years, every chip an independent programming, paired over time."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.gate import Verdict, failures, judge
from aimc_deploy.artifact.manifest import is_file_name
from aimc_deploy.artifact.results import (
    Alone,
    Baseline,
    LayerErrors,
    Results,
    Row,
    summarise,
    to_csv,
    to_json,
)
from aimc_deploy.config.hardware import Hardware, StaticRange
from aimc_deploy.config.nonidealities import each_alone
from aimc_deploy.config.run import Evaluate, Run
from aimc_deploy.config.times import label, seconds
from aimc_deploy.errors import ConfigError
from aimc_deploy.physics.device import device_model
from aimc_deploy.report.plot import accuracy_over_time
from aimc_deploy.tasks.data import load_data, sample
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows.adapters import read_record
from aimc_deploy.workflows.choose import adapters_for
from aimc_deploy.workflows.finished import Finished
from aimc_deploy.workflows.inspect import read_results
from aimc_deploy.workflows.jobs import DIGITAL, Job, run_jobs
from aimc_deploy.workflows.progress import Progress, Silent


@dataclass(frozen=True)
class EvaluateResult:
    """What was measured, or had been measured before.

    Attributes:
        verdicts: on each condition of the gate; none if it was not asked for.
        kept: the results were there already and nothing was measured.
    """

    results: Results
    verdicts: list[Verdict]
    files: tuple[Path, ...]
    kept: bool = False

    @property
    def failures(self) -> list[str]:
        """The conditions of the gate that do not hold, one sentence each."""
        return failures(self.verdicts)


def run(
    config: Run, *, out: str | None = None, keep: bool = False, progress: Progress | None = None
) -> EvaluateResult:
    """Measure adapters on many chips and put the results into the bundle.

    What an interrupted call has measured for the same request is not measured again.

    Args:
        out: name of the results; the task's if None.
        keep: measure nothing where the bundle has results of that name for the same request.

    Raises:
        ArtifactError: no bundle or no such adapter.
        DataError: the task's data is missing or malformed.
        ConfigError: the gate cannot be judged from what is measured.
        HardwareError: nothing is known of the device at one of the times.
        WorkerLost: the process of a chip died twice.
    """
    progress = progress or Silent()
    settings, task = config.evaluate, get_task(config.task)
    stem = f"results/{out or task.name}"
    if not is_file_name(f"{stem}.json"):
        raise ConfigError(
            f"'{out}' is no name for results (--results): use letters, digits, '-', '_' and '.'"
        )
    bundle = Bundle.open(Path(config.bundle))
    names = adapters_for(bundle, config)
    hardware = config.hardware
    if settings.compensation is not None:
        hardware = hardware.model_copy(update={"drift_compensation": settings.compensation})
    times = tuple(dict.fromkeys(label(t_s) for t_s in sorted(map(seconds, settings.times))))
    for time in times:
        device_model(hardware.device).check_age(seconds(time))
    data = load_data(task, None if config.data_dir is None else Path(config.data_dir))
    dev = data.dev
    if settings.eval_samples is not None:
        dev = sample(dev, settings.eval_samples, config.seed)
    data_sha256 = dev.sha256 + ("" if data.second is None else data.second.sha256)
    if isinstance(hardware.dac.input_range, StaticRange):
        data_sha256 += data.train.sha256  # which ranges may be calibrated on
    request = _request(config, bundle, names, hardware, times, data_sha256)
    finished = Finished(bundle, out or task.name, request, progress)
    files = tuple(bundle.path / f"{stem}.{ending}" for ending in ("json", "csv", "svg"))
    gate = settings.gate if settings.gate.is_set() else None
    if keep and f"{stem}.json" in bundle.manifest.files:
        results = read_results(bundle)[out or task.name]
        if results.settings.get("request_sha256") == request:
            if results.gate != gate:
                results = results.model_copy(update={"gate": gate})
                bundle.put_files({f"{stem}.json": to_json(results).encode()})
            finished.remove()
            return EvaluateResult(results, judge(results, settings.gate), files, kept=True)

    chips = range(DIGITAL, settings.chips) if settings.chip is None else (DIGITAL, settings.chip)
    job = partial(
        Job,
        bundle=bundle.path,
        task=config.task,
        data_dir=config.data_dir,
        samples=settings.eval_samples,
        batch_size=settings.batch_size,
        seed=config.seed,
        device=config.device,
    )
    jobs = [
        job(
            adapter=name,
            lora=lora,
            chip=chip,
            times=times,
            hardware=hardware,
            layers=(name, lora, chip) == (names[0], True, chips[1]),
        )
        for name in names
        for lora in ((True, False) if settings.unadapted and _has_lora(bundle, name) else (True,))
        for chip in chips
    ]
    ends = tuple(dict.fromkeys((times[0], times[-1])))
    jobs += [
        job(adapter=names[0], lora=True, chip=chip, times=ends, hardware=alone, part=part)
        for part, alone in (each_alone(hardware) if settings.noise_budget else {}).items()
        for chip in chips[1 : 1 + settings.noise_budget]
    ]
    progress.start(
        f"evaluating {task.name}", sum(len(job.times) if job.chip != DIGITAL else 1 for job in jobs)
    )
    rows: list[Row] = []
    alone: list[Alone] = []
    layers: list[LayerErrors] = []
    done, chips_asked = 0, sum(job.chip != DIGITAL for job in jobs)
    try:
        for found in run_jobs(jobs, config.executor, finished):
            if isinstance(found, LayerErrors):
                layers.append(found)
                continue
            alone.append(found) if isinstance(found, Alone) else rows.append(found)
            done += found.chip != DIGITAL and found.time == times[-1]
            note = f"chips {done}/{chips_asked}, {found.metrics[task.metric]:.3f} at {found.time}"
            progress.advance(1, note)
    except KeyboardInterrupt:
        progress.say("stopped; finished chips are kept: the same command goes on from them")
        raise
    results = Results(
        task=task.name,
        metric=task.metric,
        samples=len(dev),
        seed=config.seed,
        hardware_digest=hardware.digest(),
        settings={
            "request_sha256": request,
            "chips": len(chips) - 1,
            "times": list(times),
            "batch_size": settings.batch_size,
            "hardware": hardware.model_dump(mode="json"),
            "trained_for_other_hardware": [name for name in names if _for_other(bundle, name, hardware)],
        },
        baselines=tuple(
            Baseline(adapter=row.adapter, metrics=row.metrics) for row in rows if row.chip == DIGITAL
        ),
        rows=tuple(row for row in rows if row.chip != DIGITAL),
        layers=tuple(sorted(layers, key=lambda part: part.t_s)),
        noise_budget=tuple(sorted(alone, key=lambda row: (row.part, row.chip, row.t_s))),
        gate=gate,
    )
    plot = accuracy_over_time(results, summarise(results))
    contents = (to_json(results).encode(), to_csv(results).encode(), plot)
    bundle.put_files({f"{stem}{file.suffix}": content for file, content in zip(files, contents, strict=True)})
    finished.remove()
    return EvaluateResult(results, judge(results, settings.gate), files)


def _request(
    config: Run,
    bundle: Bundle,
    names: tuple[str, ...],
    hardware: Hardware,
    times: tuple[str, ...],
    data_sha256: str,
) -> str:
    """SHA-256 of all that the results depend on."""
    stages = (stage.adapter for name in names for stage in read_record(bundle, name).stages)
    names = (*names, *stages)
    content = [
        bundle.manifest.base_sha256,
        bundle.manifest.files["model.safetensors"].sha256,
        bundle.manifest.files["tile_map.json"].sha256,
        {name: entry.sha256 for name, entry in sorted(bundle.manifest.files.items()) if _is_of(name, names)},
        hardware.digest(),
        times,
        data_sha256,
        get_task(config.task).identity(),
        config.seed,
        config.evaluate.essentials(Evaluate.model_fields.keys() - _COUNTS),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_COUNTS = {"chips", "chip", "batch_size", "unadapted", "noise_budget"}


def _is_of(file: str, names: tuple[str, ...]) -> bool:
    return any(file.startswith(f"adapters/{name}/") for name in names)


def _has_lora(bundle: Bundle, name: str) -> bool:
    """Whether it can be switched off; the stages of a schedule are measured by themselves for that."""
    record = read_record(bundle, name)
    return record.method == "lora" and not record.stages


def _for_other(bundle: Bundle, name: str, hardware: Hardware) -> bool:
    record = read_record(bundle, name)
    return record.hardware_aware and record.hardware_digest != hardware.digest()
