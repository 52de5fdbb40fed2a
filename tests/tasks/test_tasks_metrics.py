"""Metrics against scikit-learn, scipy and values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from aimc_deploy.errors import TrainingError
from aimc_deploy.tasks.metrics import METRICS, compute
from aimc_deploy.tasks.registry import TASKS

# Predicted 0 0 1 1 1 0 1 1, so 3 true and 2 false positives, 1 true and 2 false negatives.
LOGITS = np.array([[2, 1], [1, -1], [0, 3], [-1, 0], [0, 0.5], [9, 8], [1, 2], [-3, -2]], dtype=np.float32)
LABELS = np.array([0, 1, 1, 1, 0, 1, 1, 0])


def test_every_metric_of_every_task_is_there() -> None:
    asked = {metric for task in TASKS.values() for metric in task.metrics if task.kind != "spans"}
    assert asked == set(METRICS)


def test_values_worked_out_by_hand() -> None:
    assert compute(TASKS["sst2"], LOGITS, LABELS) == {"accuracy": 0.5}
    assert compute(TASKS["mrpc"], LOGITS, LABELS) == {
        "accuracy": 0.5,
        "f1": pytest.approx(2 * 3 / (2 * 3 + 2 + 2)),
    }
    matthews = (3 * 1 - 2 * 2) / math.sqrt(5 * 5 * 3 * 3)
    assert compute(TASKS["cola"], LOGITS, LABELS) == {"matthews": pytest.approx(matthews), "accuracy": 0.5}
    scores = np.array([1.0, 2.0, 3.0, 10.0])
    found = compute(TASKS["stsb"], scores, np.array([1.0, 2.0, 4.0, 5.0]))
    assert found["spearman"] == pytest.approx(1.0)
    assert found["pearson"] == pytest.approx(19.0 / math.sqrt(50.0 * 10.0))


@pytest.mark.parametrize("seed", range(5))
def test_the_libraries_say_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(200, 2)), rng.integers(0, 2, 200)
    predicted = logits.argmax(axis=1)
    for name in ("mrpc", "cola"):
        for metric, value in compute(TASKS[name], logits, labels).items():
            reference = {"accuracy": accuracy_score, "f1": f1_score, "matthews": matthews_corrcoef}[metric]
            assert value == reference(labels, predicted)
    three, classes = rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
    assert compute(TASKS["mnli"], three, classes) == {
        "accuracy": accuracy_score(classes, three.argmax(axis=1))
    }
    scores, truth = rng.normal(size=200), rng.uniform(0, 5, 200)
    found = compute(TASKS["stsb"], scores, truth)
    assert found["pearson"] == pearsonr(truth, scores).statistic
    assert found["spearman"] == spearmanr(truth, scores).statistic
    assert compute(TASKS["stsb"], scores[:, None].astype(np.float64), truth) == found, (
        "a column is scores too"
    )


@pytest.mark.parametrize("label", [0, 1])
@pytest.mark.parametrize("prediction", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 7])
def test_one_class_has_defined_metrics(label: int, prediction: int, size: int) -> None:
    logits = np.eye(2)[np.full(size, prediction)]
    right = float(label == prediction)
    expected = {"accuracy": right, "f1": right * label}
    assert compute(TASKS["mrpc"], logits, np.full(size, label)) == expected
    assert compute(TASKS["cola"], logits, np.full(size, label)) == {"matthews": 0.0, "accuracy": right}


def test_one_class_predicted_for_two() -> None:
    assert compute(TASKS["cola"], np.tile([0.0, 1.0], (8, 1)), LABELS)["matthews"] == 0.0


@pytest.mark.parametrize(
    ("scores", "labels"),
    [
        ([2.5, 2.5, 2.5], [1.0, 2.0, 3.0]),
        ([1.0, 2.0, 3.0], [4.0, 4.0, 4.0]),
        ([1.0], [2.0]),
        ([0.0, 0.0], [0.0, 0.0]),
    ],
)
def test_constant_scores_have_no_correlation(scores: list[float], labels: list[float]) -> None:
    found = compute(TASKS["stsb"], np.array(scores), np.array(labels))
    assert found == {"pearson": 0.0, "spearman": 0.0}


finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(st.tuples(finite, st.floats(0, 5)), min_size=1, max_size=12))
def test_correlations_are_always_numbers(pairs: list[tuple[float, float]]) -> None:
    scores, labels = np.array(pairs).T
    found = compute(TASKS["stsb"], scores, labels)
    assert all(-1.0 <= value <= 1.0 for value in found.values())


@given(st.lists(st.tuples(finite, finite, st.integers(0, 1)), min_size=1, max_size=12))
def test_class_metrics_are_always_numbers(rows: list[tuple[float, float, int]]) -> None:
    logits, labels = np.array([row[:2] for row in rows]), np.array([row[2] for row in rows])
    for name in ("mrpc", "cola"):
        found = compute(TASKS[name], logits, labels)
        assert all(type(value) is float and -1.0 <= value <= 1.0 for value in found.values())


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_predictions_that_are_not_finite_are_refused(broken: float) -> None:
    logits = LOGITS.copy()
    logits[2, 0] = logits[2, 1] = logits[5, 1] = broken
    with pytest.raises(TrainingError, match=r"2 of 8 predictions of task 'sst2' are not finite .* adapt"):
        compute(TASKS["sst2"], logits, LABELS)
    with pytest.raises(TrainingError, match="1 of 3 predictions of task 'stsb'"):
        compute(TASKS["stsb"], np.array([1.0, broken, 2.0]), np.zeros(3))


def test_predictions_of_another_shape_are_a_defect() -> None:
    with pytest.raises(AssertionError, match="instead of"):
        compute(TASKS["mnli"], LOGITS, LABELS)
