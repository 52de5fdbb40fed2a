"""What depends on the kind of a task: how its texts are encoded and how its predictions are judged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from aimc_deploy.tasks.data import Split
from aimc_deploy.tasks.features import Features, encode
from aimc_deploy.tasks.metrics import compute
from aimc_deploy.tasks.registry import Task
from aimc_deploy.tasks.spans import Windows, encode_spans, span_metrics

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def prepare(task: Task, split: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Features:
    """Texts as tokens, in the form that the task's kind needs.

    Raises:
        DataError: ``max_length`` is too short for it.
    """
    return (encode_spans if task.kind == "spans" else encode)(split, tokenizer, max_length)


def score(task: Task, predictions: np.ndarray, features: Features) -> dict[str, float]:
    """Every metric of the task.

    Args:
        predictions: what :func:`aimc_deploy.workflows.logits.predict` gives.

    Raises:
        TrainingError: a prediction is not finite.
    """
    if isinstance(features, Windows):
        return span_metrics(predictions, features)
    return compute(task, predictions, features.labels)
