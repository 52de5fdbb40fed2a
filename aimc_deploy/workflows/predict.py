"""Predict: what a chip says of texts, at a time since it was programmed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.config.times import seconds
from aimc_deploy.errors import ArtifactError, DataError
from aimc_deploy.physics.device import device_model
from aimc_deploy.tasks.data import Split
from aimc_deploy.tasks.kinds import prepare
from aimc_deploy.tasks.registry import Task, get_task
from aimc_deploy.tasks.spans import Windows, best_answers
from aimc_deploy.tasks.tables import read_texts
from aimc_deploy.workflows import base
from aimc_deploy.workflows.adapters import device_of, read_record
from aimc_deploy.workflows.choose import usual_adapter
from aimc_deploy.workflows.deployed import DeployedModel
from aimc_deploy.workflows.logits import batch_count, predict
from aimc_deploy.workflows.progress import Progress, Silent


@dataclass(frozen=True)
class Prediction:
    """What the model says of one text, or of one pair.

    Attributes:
        answer: the word for the class, the part of the context, or the score.
        probability: of the class; None for the other kinds.
    """

    texts: tuple[str, ...]
    answer: str | float
    probability: float | None


def run(
    config: Run,
    texts: Sequence[str],
    *,
    file: Path | None = None,
    adapter: str | None = None,
    chip: int | None = 0,
    at: str = "0s",
    progress: Progress | None = None,
) -> list[Prediction]:
    """Predictions in the order of the texts.

    Args:
        texts: one after the other; of a task with pairs, both of each.
        file: a table with the task's text columns, in the place of ``texts``.
        adapter: the task's for this hardware if None.
        chip: number of the chip; None computes without hardware.
        at: time since programming.

    Raises:
        ArtifactError: no bundle or no such adapter, or an adapter for another task.
        HardwareError: nothing is known of the device at that time.
        DataError: no texts, or not as many as the task needs.
    """
    task, bundle = get_task(config.task), Bundle.open(Path(config.bundle))
    name = adapter or usual_adapter(bundle, config)
    record = read_record(bundle, name)
    if record.task != task.name:
        raise ArtifactError(f"adapter '{name}' is for task '{record.task}': use --task {record.task}")
    columns = read_texts(file, task) if file is not None else _columns(task, texts)
    device_model(config.hardware.device).check_age(seconds(at))  # before anything is loaded
    tokenizer = base.read_tokenizer(bundle)
    unknown = [("", 0)] if task.kind == "spans" else 0
    split = Split(columns, [unknown] * len(columns[0]), str(file or "the command line"), "")
    features = prepare(task, split, tokenizer, record.max_length)
    model = DeployedModel(bundle, config.hardware, seed=config.seed).to(device_of(config.device))
    model.set_adapter(name).eval()
    if chip is None:
        model.digital()
    else:
        model.program(chip).drift(at)
    size = config.evaluate.batch_size
    progress = progress or Silent()
    progress.start("predicting", batch_count(features, size))
    logits = predict(model, features, tokenizer, size, progress.advance)
    pairs = list(zip(*columns, strict=True))
    if isinstance(features, Windows):
        answers = best_answers(logits, features)
        return [Prediction(pair, answer, None) for pair, answer in zip(pairs, answers, strict=True)]
    if task.kind == "score":
        return [Prediction(pair, float(value), None) for pair, value in zip(pairs, logits[:, 0], strict=True)]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    chosen = shares.argmax(axis=1)
    return [
        Prediction(pair, task.labels[number], float(row[number]))
        for pair, number, row in zip(pairs, chosen, shares, strict=True)
    ]


def _columns(task: Task, texts: Sequence[str]) -> tuple[list[str], ...]:
    """Texts as one list for each column of the task."""
    width = len(task.text_columns)
    if not texts or len(texts) % width:
        each = "a text" if width == 1 else f"{' and '.join(task.text_columns)}, in this order, for each"
        raise DataError(
            f"task '{task.name}' needs {each}: {len(texts)} given. Quote each text; many go into --file"
        )
    for place, text in enumerate(texts):
        if not text.strip():
            raise DataError(f"text {place + 1} is empty: give it words or leave it out")
    return tuple(list(texts[start::width]) for start in range(width))
