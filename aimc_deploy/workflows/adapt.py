"""Adapt: learn a task on fixed analog weights, or retrain all of them as the classic baseline."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from torch import nn
from transformers import DataCollatorWithPadding, set_seed
from transformers.trainer_callback import PrinterCallback

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import write_json
from aimc_deploy.config.hardware import Hardware, StaticRange
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.nn.calibrate import calibrate
from aimc_deploy.nn.convert import analog_layers, base_sha256, drift, program
from aimc_deploy.tasks.data import load_data, sample
from aimc_deploy.tasks.features import Features, encode
from aimc_deploy.tasks.metrics import compute
from aimc_deploy.tasks.registry import Task, get_task
from aimc_deploy.workflows import base
from aimc_deploy.workflows.adapters import (
    AdapterRecord,
    add_lora,
    device_of,
    fit_head,
    lora_switched_off,
    set_input_ranges,
    trainable_parameters,
    write_head,
    write_lora,
)
from aimc_deploy.workflows.map import create_bundle, map_model
from aimc_deploy.workflows.predict import batch_count, batches, predict
from aimc_deploy.workflows.progress import Progress, Silent
from aimc_deploy.workflows.trainer import GuardedTrainer, Reporter, training_arguments


@dataclasses.dataclass(frozen=True)
class AdaptResult:
    """What training gave.

    Attributes:
        name: of the adapter in ``bundle``.
        metric: name of the task's metric; the three figures are on the dev set.
        digital: the adapted model without any hardware.
        unadapted: the trained head on chip 0 at 0 s, without LoRA; None for ``method: full``.
        adapted: the adapted model on chip 0 at 0 s.
        base_before, base_after: SHA-256 of what the tiles were asked to hold.
    """

    bundle: Bundle
    name: str
    task: str
    metric: str
    digital: float
    unadapted: float | None
    adapted: float
    parameters: int
    steps: int
    samples: int
    base_before: str
    base_after: str


def adapter_name(config: Run) -> str:
    """The name asked for, else the task's; plain digital training adds ``-digital`` to it."""
    return config.adapt.name or config.task + ("" if config.adapt.hardware_aware else "-digital")


def run(
    config: Run,
    *,
    out: Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> AdaptResult:
    """Train an adapter for ``config.task`` against ``config.hardware`` and put it into the bundle.

    Args:
        out: for ``method: full``, the folder of the new bundle.
        resume: continue from the last checkpoint of the same run, bit by bit.
        overwrite: replace an adapter (or, for ``full``, a bundle) of the same name.

    Raises:
        ArtifactError: no bundle, the adapter exists, or there is nothing to resume.
        DataError: the task's data is missing or malformed.
        TrainingError: the loss is not a number.
    """
    progress = progress or Silent()
    adapt, task = config.adapt, get_task(config.task)
    bundle = Bundle.open(Path(config.bundle))
    name = adapter_name(config)
    if adapt.method == "lora" and name in bundle.adapters() and not overwrite:
        raise ArtifactError(
            f"{bundle.path} has an adapter '{name}' already: choose another with --name, or replace it with --overwrite"
        )
    data = load_data(task, None if config.data_dir is None else Path(config.data_dir))
    train = data.train if adapt.train_samples is None else sample(data.train, adapt.train_samples, config.seed)
    tokenizer = base.read_tokenizer(bundle)
    train_set, dev_set = (encode(split, tokenizer, config.max_length) for split in (train, data.dev))

    device = device_of(config.device)
    set_seed(config.seed)
    model: Any = base.read_model(bundle, config.hardware, seed=config.seed)
    fit_head(model, max(1, len(task.labels)), seed=config.seed)
    before = base_sha256(model)
    if adapt.method == "lora":
        model = add_lora(model, adapt.lora)
    else:
        model.requires_grad_(True)
    model.to(device)
    _set_ranges(model, config.hardware, train_set, tokenizer, adapt.batch_size)
    parameters = trainable_parameters(model)

    run_name = f"{name} {_run_digest(config, bundle, train.sha256)[:12]}".replace(" ", "-")
    work = bundle.path.with_name(bundle.path.name + ".work") / run_name
    steps = _train(config, task, model, train_set, tokenizer, work, resume, device, progress)
    after = base_sha256(model) if adapt.method == "lora" else before
    assert after == before, "training changed the analog base"

    record = AdapterRecord(
        task=task.name,
        method=adapt.method,
        num_labels=max(1, len(task.labels)),
        hardware_aware=adapt.hardware_aware,
        hardware_digest=config.hardware.digest(),
        base_sha256=before,
        max_length=config.max_length,
        parameters=parameters,
        input_ranges=_ranges(model),
        training={
            "samples": len(train_set),
            "steps": steps,
            "train_sha256": train.sha256,
            "seed": config.seed,
            "hardware": config.hardware.model_dump(mode="json"),
            **adapt.model_dump(mode="json", exclude={"checkpoint_steps"}),
        },
    )
    if adapt.method == "lora":
        target = bundle
        target.put(f"adapters/{name}", lambda folder: _write_adapter(folder, model, record, bundle))
    else:
        target = _write_full(config, bundle, model, tokenizer, record, name, out, overwrite)
        model = base.read_model(target, config.hardware, num_labels=record.num_labels)
        model.load_state_dict(target.read_tensors(f"adapters/{name}/head.safetensors"), strict=False)
        model.to(device)
        set_input_ranges(model, record.input_ranges)
    scores = _scores(config, task, model, dev_set, tokenizer, progress)
    shutil.rmtree(work, ignore_errors=True)
    return AdaptResult(
        bundle=target,
        name=name,
        task=task.name,
        metric=task.metric,
        parameters=parameters,
        steps=steps,
        samples=len(train_set),
        base_before=before,
        base_after=after,
        **scores,
    )


def _run_digest(config: Run, bundle: Bundle, data_sha256: str) -> str:
    """What a checkpoint may be continued for: the same settings on the same base and data."""
    content = [
        config.model_dump(mode="json", include={"seed", "task", "max_length", "hardware", "adapt"}),
        bundle.manifest.base_sha256,
        data_sha256,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _set_ranges(model: nn.Module, hardware: Hardware, features: Features, tokenizer: Any, size: int) -> None:
    """Calibrate static input ranges on the first training batches, in digital mode."""
    settings = hardware.dac.input_range
    if not isinstance(settings, StaticRange):
        return
    model.eval()
    few = batches(features, tokenizer, size, first=settings.batches * size)
    device = next(model.parameters()).device
    calibrate(model, ({key: value.to(device) for key, value in batch.items()} for _, batch in few), settings)


def _ranges(model: nn.Module) -> dict[str, list[float]] | None:
    found = {name: layer.input_ranges for name, layer in analog_layers(model).items() if layer.input_ranges}
    return found or None


def _train(
    config: Run,
    task: Task,
    model: nn.Module,
    features: Features,
    tokenizer: Any,
    work: Path,
    resume: bool,
    device: torch.device,
    progress: Progress,
) -> int:
    """Run the Trainer; return the number of steps."""
    adapt = config.adapt
    if resume and not any(work.glob("checkpoint-*")):
        raise ArtifactError(f"nothing to resume for these settings in {work.parent}; run without --resume")
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    for layer in analog_layers(model).values():
        if adapt.hardware_aware:
            layer.simulate(adapt.weight_noise)
        else:
            layer.digital()
    arguments = training_arguments(
        adapt, work, epochs=adapt.epochs or task.epochs, seed=config.seed, device=device
    )
    trainer = GuardedTrainer(
        model=model,
        args=arguments,
        train_dataset=features,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[Reporter(progress, f"training {adapter_name(config)}")],
    )
    # The Trainer would print its log lines; what a person sees comes from the reporter.
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=resume)
    model.eval()
    return trainer.state.global_step


def _write_adapter(folder: Path, model: PeftModel, record: AdapterRecord, bundle: Bundle) -> None:
    write_lora(folder, model, str(bundle.manifest.source.get("source", "")))
    write_json(folder / "adapter.json", record.model_dump(mode="json"))


def _write_full(
    config: Run,
    bundle: Bundle,
    model: Any,
    tokenizer: Any,
    record: AdapterRecord,
    name: str,
    out: Path | None,
    overwrite: bool,
) -> Bundle:
    """Map the retrained weights anew, as a bundle of their own with only a head for the task."""
    out = out or bundle.path.with_name(f"{bundle.path.name}-full-{name}")
    plan = bundle.read_json("tile_map.json")
    for layer_name, layer in analog_layers(model).items():
        linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        linear.weight, linear.bias = layer.weight, layer.bias
        parent, _, child = layer_name.rpartition(".")
        setattr(model.get_submodule(parent), child, linear)
    model.cpu().requires_grad_(False)
    map_model(model, [entry["layer"] for entry in plan["analog"]], config.hardware)
    record = record.model_copy(update={"base_sha256": base_sha256(model)})
    provenance = {**bundle.manifest.source, "retrained": name}
    target = create_bundle(config, out, model, tokenizer, plan, provenance, overwrite=overwrite)

    def write(folder: Path) -> None:
        write_head(folder, model)
        write_json(folder / "adapter.json", record.model_dump(mode="json"))

    target.put(f"adapters/{name}", write)
    return target


def _scores(
    config: Run, task: Task, model: Any, features: Features, tokenizer: Any, progress: Progress
) -> dict[str, float | None]:
    """The task's metric without hardware, and on chip 0 at 0 s with and without LoRA."""
    size = config.evaluate.batch_size
    lora = isinstance(model, PeftModel)
    progress.start("measuring", (3 if lora else 2) * batch_count(features, size))

    def score() -> float:
        logits = predict(model, features, tokenizer, size, progress.advance)
        return compute(task, logits, features.labels)[task.metric]

    for layer in analog_layers(model).values():
        layer.digital()
    digital = score()
    program(model, config.seed, 0)
    drift(model, 0.0)
    adapted = score()
    unadapted = None
    if lora:
        drift(model, 0.0)
        with lora_switched_off(model):
            unadapted = score()
    return {"digital": digital, "adapted": adapted, "unadapted": unadapted}

