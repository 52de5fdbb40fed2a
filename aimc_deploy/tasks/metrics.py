"""How good predictions are: the metrics of GLUE, from scikit-learn and scipy.

Where a metric is undefined, because there is only one class or a constant score, it is 0: such predictions
tell nothing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from aimc_deploy.errors import TrainingError
from aimc_deploy.tasks.registry import Metric, Task


def compute(task: Task, predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Every metric of ``task``.

    Args:
        predictions: logits, (samples, classes); for regression scores, (samples,) or (samples, 1).
        labels: (samples,) class numbers or scores.

    Raises:
        TrainingError: a prediction is not finite.
    """
    predictions = np.asarray(predictions, dtype=np.float64)
    labels = np.asarray(labels)
    shape = (len(labels), task.outputs)
    assert predictions.size == shape[0] * shape[1], f"predictions {predictions.shape} instead of {shape}"
    predictions = predictions.reshape(shape)
    broken = int((~np.isfinite(predictions)).any(axis=1).sum())
    if broken:
        raise TrainingError(
            f"{broken} of {len(labels)} predictions of task '{task.name}' are not finite numbers: the model "
            "has diverged; adapt it again with a lower --set adapt.learning_rate or adapt.weight_noise"
        )
    predicted = predictions[:, 0] if task.kind == "score" else predictions.argmax(axis=1)
    return {name: METRICS[name](labels, predicted) for name in task.metrics}


def _accuracy(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(accuracy_score(labels, predicted))


def _f1(labels: np.ndarray, predicted: np.ndarray) -> float:
    return float(f1_score(labels, predicted, zero_division=0))  # pyrefly: ignore[bad-argument-type]


def _matthews(labels: np.ndarray, predicted: np.ndarray) -> float:
    one_class = len(np.union1d(labels, predicted)) < 2
    return 0.0 if one_class else float(matthews_corrcoef(labels, predicted))


def _correlation(function: Callable[..., Any]) -> Callable[[np.ndarray, np.ndarray], float]:
    def correlation(labels: np.ndarray, predicted: np.ndarray) -> float:
        if len(labels) < 2:
            return 0.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of scores that are constant, or nearly so
            value = float(function(labels, predicted).statistic)
        return value if math.isfinite(value) else 0.0

    return correlation


METRICS: Mapping[Metric, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "pearson": _correlation(pearsonr),
    "spearman": _correlation(spearmanr),
}
