"""Adapt: learn a task on fixed analog weights, or retrain all of them as the classic baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from peft import PeftModel
from transformers import set_seed

from aimc_deploy.artifact.adapter import AdapterRecord, Stage
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import write_json
from aimc_deploy.config.run import Run
from aimc_deploy.config.times import label, seconds
from aimc_deploy.errors import ConfigError
from aimc_deploy.nn.convert import analog_layers, base_sha256, drift, program, replace_layers
from aimc_deploy.nn.head import head_on_tiles, restore_head
from aimc_deploy.physics.device import device_model
from aimc_deploy.tasks.data import load_data, sample
from aimc_deploy.tasks.features import Features
from aimc_deploy.tasks.kinds import prepare, score
from aimc_deploy.tasks.registry import Task, get_task
from aimc_deploy.workflows import base, checkpoints, processes
from aimc_deploy.workflows.adapt_request import (
    NO_PART,
    AdaptResult,
    Existing,
    adapter_name,
    existing_adapter,
    full_bundle,
    run_digest,
)
from aimc_deploy.workflows.adapters import (
    add_lora,
    check_start,
    device_of,
    fit_head,
    go_on_from,
    layers_that_fit,
    read_record,
    train_head,
    trainable_parameters,
    write_adapter,
)
from aimc_deploy.workflows.attach import lora_switched_off
from aimc_deploy.workflows.in_memory import out_of_memory, put_into_memory
from aimc_deploy.workflows.input_ranges import calibrate_ranges, get_ranges, set_ranges
from aimc_deploy.workflows.logits import batch_count, predict
from aimc_deploy.workflows.map import create_bundle, map_again
from aimc_deploy.workflows.own_layers import take_off_tiles, write_layers
from aimc_deploy.workflows.processes import Processes
from aimc_deploy.workflows.progress import Progress, Silent
from aimc_deploy.workflows.trackers import check_trackers
from aimc_deploy.workflows.trainer import train as training


def run(
    config: Run,
    *,
    out: Path | None = None,
    resume: bool | None = False,
    existing: Existing = "refuse",
    progress: Progress | None = None,
) -> AdaptResult:
    """Train an adapter for ``config.task`` against ``config.hardware`` and put it into the bundle.

    Where torchrun has started several processes, each calls this and computes its part of every batch; the
    first one measures, reports and writes.

    Args:
        out: for ``method: full``, the folder of the new bundle.
        resume: continue from the last checkpoint of the same run, bit by bit; None: if there is one.
        existing: what to do with an adapter of that name; ``keep`` trains nothing if it is of the same run.

    Raises:
        ConfigError: a batch cannot be divided among the processes, they have not read the same, or a tracker
            is not installed.
        ArtifactError: no bundle, the adapter exists, or there is nothing to resume.
        DataError: the task's data is missing or malformed.
        TrainingError: the loss is not a number, or another process has ended.
        HardwareError: nothing is known of the device at the age of the chip.
    """
    task = get_task(config.task)
    adapt = config.adapt.of_task(task.name)
    config = config.model_copy(update={"adapt": adapt})
    check_trackers(adapt)
    here = _join(config)
    if adapt.in_memory and here.count > 1:
        raise ConfigError(
            f"adapt.in_memory: {here.count} processes would each pulse arrays of their own: start one process"
        )
    progress = progress if progress is not None and here.first else Silent()
    device_model(config.hardware.device).check_age(seconds(adapt.age))
    bundle = Bundle.open(Path(config.bundle))
    name = adapter_name(config)
    if adapt.start_from is not None:
        check_start(bundle, adapt.start_from, task.name)
    out = (out or full_bundle(config)) if adapt.method == "full" else bundle.path
    data = load_data(task, None if config.data_dir is None else Path(config.data_dir))
    train = (
        data.train if adapt.train_samples is None else sample(data.train, adapt.train_samples, config.seed)
    )
    run_sha256 = run_digest(config, bundle, train.sha256)
    if not here.agree(run_sha256):
        raise ConfigError(
            f"the {here.count} processes have not read the same settings, data and bundle: start all of them "
            "with one command, on folders that every machine shares"
        )
    found = existing_adapter(out, name, existing, run_sha256)
    work = bundle.work / f"{name}-{run_sha256[:12]}"
    if found is not None:
        if here.first:
            checkpoints.remove(work)  # of a run that was interrupted when all was written
        return found
    if adapt.schedule:
        return _schedule(config, name, run_sha256, existing, here, progress)
    progress.start(f"preparing {task.name}", None)
    tokenizer = base.read_tokenizer(bundle)
    max_length = config.max_length or task.max_length
    train_set, dev_set = (prepare(task, split, tokenizer, max_length) for split in (train, data.dev))

    device = device_of(config.device)
    set_seed(config.seed)
    model = base.read_model(bundle, config.hardware, seed=config.seed)
    model: Any = fit_head(model, task.kind, task.outputs, seed=config.seed)
    before = base_sha256(model)
    if adapt.method == "lora":
        model = add_lora(model, task.kind, adapt.lora)
        if adapt.start_from is not None:
            go_on_from(model, bundle, adapt.start_from)
        if adapt.analog_head:
            head_on_tiles(model, config.hardware, train=True)
    elif adapt.method == "full":
        model.requires_grad_(True)
    else:
        train_head(model)
    taken = take_off_tiles(model, layers_that_fit(model, "adapt.layers", adapt.layers))
    model.to(device)
    calibrate_ranges(model, config.hardware, task, train, tokenizer, max_length, config.seed)
    ranges, parameters = get_ranges(model), trainable_parameters(model)
    if adapt.in_memory:
        put_into_memory(model, adapt.in_memory, config.hardware, config.seed, progress)

    steps = training(
        config,
        task,
        model,
        train_set,
        tokenizer,
        work,
        name=name,
        resume=resume,
        device=device,
        here=here,
        progress=progress,
    )
    here.wait()
    if not here.first:
        here.wait()  # for the first one to measure and write
        bundle = Bundle.open(out)
        return AdaptResult(bundle, name, read_record(bundle, name), before, bundle.manifest.base_sha256)
    devices = {"devices": out_of_memory(model)} if adapt.in_memory else {}
    if adapt.method == "full":
        map_again(model, bundle, config.hardware)
        model.to(device)
    own_layers = {name: model.get_submodule(name) for name in taken}
    replace_layers(model, taken)
    after = base_sha256(model)
    replace_layers(model, own_layers)
    trained_head = head_on_tiles(model, config.hardware) if adapt.analog_head else []
    set_ranges(model, ranges)
    record = AdapterRecord(
        task=task.name,
        metric=task.metric,
        method=adapt.method,
        kind=task.kind,
        num_labels=task.outputs,
        hardware_aware=adapt.hardware_aware,
        hardware_digest=config.hardware.digest(),
        base_sha256=after,
        run_sha256=run_sha256,
        max_length=max_length,
        parameters=parameters,
        input_ranges=ranges,
        scores=_scores(config, task, model, dev_set, tokenizer, progress),
        training={
            "samples": len(train_set),
            "steps": steps,
            "train_sha256": train.sha256,
            "seed": config.seed,
            "hardware": config.hardware.model_dump(mode="json"),
            **({"processes": here.count} if here.count > 1 else {}),
            **adapt.model_dump(mode="json", exclude=NO_PART),
            **devices,
        },
    )
    restore_head(trained_head)
    if adapt.method == "full":
        bundle = _create_full(config, bundle, model, tokenizer, out, name, existing == "replace")
    else:
        assert after == before, "training changed the analog base"

    def write(folder: Path) -> None:
        write_adapter(folder, model, record, bundle)
        if own_layers:
            write_layers(folder, model, own_layers)

    bundle.put(f"adapters/{name}", write)
    checkpoints.remove(work)
    here.wait()
    return AdaptResult(bundle, name, record, before, after)


def _join(config: Run) -> Processes:
    """Meet the other processes, if there are any.

    Raises:
        ConfigError: they cannot share a batch.
    """
    size, count = config.adapt.batch_size, processes.this_process().count
    if size % count:
        raise ConfigError(
            f"adapt.batch_size: {size} samples a step cannot be divided among {count} processes: choose a "
            f"multiple of {count} (--set adapt.batch_size={-(-size // count) * count}), or start others"
        )
    return processes.join(config.device)


def _schedule(
    config: Run,
    name: str,
    run_sha256: str,
    existing: Existing,
    here: Processes,
    progress: Progress,
) -> AdaptResult:
    """An adapter for each epoch of a chip's life, each from the one before, and a record that lists them.

    What is finished of it is kept, and what was interrupted goes on.
    """
    adapt, stages, results = config.adapt, [], []
    since = [label(seconds(age)) for age in adapt.schedule]
    for begin, end in zip(since, (*since[1:], adapt.drift), strict=True):
        span = {"youngest": begin, "drift": end, "schedule": (), "name": f"{name}-{begin}"}
        start = results[-1].name if results else adapt.start_from
        stage = adapt.model_copy(update={**span, "start_from": start})
        results.append(
            run(
                config.model_copy(update={"adapt": stage}),
                resume=None,
                existing="replace" if existing == "replace" else "keep",
                progress=progress,
            )
        )
        stages.append(Stage(since=begin, adapter=results[-1].name))
    first, last = results[0], results[-1]
    changes = {
        "stages": tuple(stages),
        "run_sha256": run_sha256,
        "parameters": sum(result.record.parameters for result in results),
        "training": {**first.record.training, **adapt.model_dump(mode="json", exclude=NO_PART)},
    }
    record = first.record.model_copy(update=changes)
    here.wait()  # until every process has found that there is room for it
    bundle = Bundle.open(Path(config.bundle))
    if here.first:
        bundle.put(
            f"adapters/{name}",
            lambda folder: write_json(folder / "adapter.json", record.model_dump(mode="json")),
        )
    here.wait()
    return AdaptResult(bundle, name, record, first.base_before, last.base_after)


def _create_full(
    config: Run, source: Bundle, model: Any, tokenizer: Any, out: Path, name: str, overwrite: bool
) -> Bundle:
    """A bundle for the retrained weights, which have their own tiles."""
    plan = source.read_json("tile_map.json")
    provenance = {**source.manifest.source, "retrained": name}
    return create_bundle(config, out, model, tokenizer, plan, provenance, overwrite=overwrite)


def _scores(
    config: Run, task: Task, model: Any, features: Features, tokenizer: Any, progress: Progress
) -> dict[str, float | None]:
    """The task's metric without hardware, and on chip 0 at 0 s with and without LoRA."""
    size = config.evaluate.batch_size
    lora = isinstance(model, PeftModel)
    progress.start("measuring", (3 if lora else 2) * batch_count(features, size))

    def measure() -> float:
        logits = predict(model, features, tokenizer, size, progress.advance)
        return score(task, logits, features)[task.metric]

    for layer in analog_layers(model).values():
        layer.digital()
    digital = measure()
    program(model, config.seed, 0)
    drift(model, 0.0)
    adapted = measure()
    unadapted = None
    if lora:
        drift(model, 0.0)
        with lora_switched_off(model):
            unadapted = measure()
    return {"digital": digital, "adapted": adapted, "unadapted": unadapted}
