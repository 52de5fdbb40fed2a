"""What a worker of the campaign of device faults does: one model in memory, on one chip after another."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from faults_plan import EPOCHS, SAMPLES, Cell, Row
from transformers import set_seed

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.config.times import seconds
from aimc_deploy.nn.convert import analog_layers, drift, program
from aimc_deploy.tasks.data import load_data, sample
from aimc_deploy.tasks.features import Features
from aimc_deploy.tasks.kinds import prepare, score
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import base
from aimc_deploy.workflows.adapters import add_lora, device_of, fit_head, go_on_from, read_record
from aimc_deploy.workflows.logits import predict
from aimc_deploy.workflows.processes import Processes
from aimc_deploy.workflows.progress import Silent
from aimc_deploy.workflows.threads import one_thread
from aimc_deploy.workflows.trainer import train


@dataclass(frozen=True)
class Job:
    """One cell; ``cell`` None stands for the model without hardware.

    Attributes:
        config: of the adapter that is measured, as JSON.
        adapter: its name in the bundle of ``config``.
        samples: of dev, drawn by the seed; None for all.
    """

    config: str
    adapter: str
    samples: int | None
    cell: Cell | None


@dataclass(frozen=True)
class Opened:
    """A model with its adapter, ready to be trained, and its data."""

    config: Run
    bundle: Bundle
    adapter: str
    model: Any
    tokenizer: Any
    dev: Features
    few: Features
    device: torch.device


@lru_cache(maxsize=1)
def opened(config_json: str, adapter: str, samples: int | None) -> Opened:
    """What all jobs of a worker share."""
    config = Run.model_validate_json(config_json)
    task, bundle = get_task(config.task), Bundle.open(Path(config.bundle))
    record, tokenizer = read_record(bundle, adapter), base.read_tokenizer(bundle)
    data = load_data(task, None if config.data_dir is None else Path(config.data_dir))
    judged = data.dev if samples is None else sample(data.dev, samples, config.seed)
    dev, few = (
        prepare(task, split, tokenizer, record.max_length)
        for split in (judged, sample(data.train, min(SAMPLES, len(data.train)), config.seed))
    )
    model: Any = base.read_model(bundle, config.hardware, seed=config.seed)
    model = fit_head(model, task.kind, task.outputs, seed=config.seed)
    model = add_lora(model, task.kind, config.adapt.lora)
    go_on_from(model, bundle, adapter)
    device = device_of(config.device)
    return Opened(config, bundle, adapter, model.to(device).eval(), tokenizer, dev, few, device)


def measure(job: Job) -> list[Row] | float:
    """The accuracies of a cell, one a time, or that of the model without hardware."""
    with one_thread():
        own = opened(job.config, job.adapter, job.samples)
        go_on_from(own.model, own.bundle, own.adapter)
        for layer in analog_layers(own.model).values():
            layer.set_hardware(
                own.config.hardware if job.cell is None else job.cell.hardware(own.config.hardware)
            )
        if job.cell is None:
            return _accuracy(own)
        if job.cell.treatment == "re-adaptation":
            _adapt(own, job.cell)
        program(own.model, own.config.seed, job.cell.chip)
        rows = []
        for time in job.cell.times:
            drift(own.model, seconds(time))
            rows.append(Row(**job.cell.model_dump(), time=time, accuracy=_accuracy(own)))
        return rows


def _accuracy(own: Opened) -> float:
    task = get_task(own.config.task)
    found = score(task, predict(own.model, own.dev, own.tokenizer, own.config.evaluate.batch_size), own.dev)
    return found[task.metric]


def _adapt(own: Opened, cell: Cell) -> None:
    """Go on with the adapter on this chip alone, as ``aimc-deploy adapt --from-chip`` does."""
    changes = {"chip": cell.chip, "age": "0s", "epochs": EPOCHS, "train_samples": SAMPLES, "report_to": ()}
    config = own.config.model_copy(update={"adapt": own.config.adapt.model_copy(update=changes)})
    set_seed(own.config.seed)
    with tempfile.TemporaryDirectory() as folder:
        train(
            config,
            get_task(config.task),
            own.model,
            own.few,
            own.tokenizer,
            Path(folder) / "checkpoints",
            name=own.adapter,
            resume=False,
            device=own.device,
            here=Processes(),
            progress=Silent(),
        )
