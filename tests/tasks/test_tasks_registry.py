"""The list of tasks."""

from __future__ import annotations

import pytest

from aimc_deploy.errors import DataError
from aimc_deploy.tasks.registry import TASKS, get_task


def test_every_task_is_complete() -> None:
    assert list(TASKS) == [
        "reviews",
        "sst2",
        "cola",
        "mrpc",
        "qqp",
        "stsb",
        "mnli",
        "qnli",
        "rte",
        "wnli",
        "squad",
    ]
    for name, task in TASKS.items():
        assert get_task(name) is task
        assert task.name == name
        assert len(task.text_columns) in (1, 2)
        assert task.metric == task.metrics[0]
        assert (task.kind == "score") == (name == "stsb")
        assert (task.kind == "spans") == (name == "squad")
        assert bool(task.labels) == (task.kind == "classes")
        assert len(task.labels) != 1
        assert all(label == label.casefold() for label in task.labels), "labels are compared without case"
        assert (task.hub is None) == (name == "reviews")
        assert task.epochs > 0
        assert task.title
        assert task.description.endswith((".", "?"))


def test_the_class_numbers_are_those_of_glue() -> None:
    assert get_task("rte").labels == get_task("qnli").labels == ("entailment", "not_entailment")
    assert get_task("wnli").labels == ("not_entailment", "entailment")
    assert get_task("mnli").labels == ("entailment", "neutral", "contradiction")
    assert get_task("mrpc").labels[1] == "equivalent"
    assert get_task("qqp").labels[1] == "duplicate"
    assert get_task("cola").labels[1] == "acceptable"
    assert get_task("sst2").labels[1] == "positive"


@pytest.mark.parametrize(
    ("given", "meant"),
    [("SST-2", "sst2"), ("sst", "sst2"), ("STS-B", "stsb"), ("CoLA", "cola"), ("nli", "wnli")],
)
def test_an_unknown_name_lists_all_and_the_close_ones(given: str, meant: str) -> None:
    with pytest.raises(DataError) as caught:
        get_task(given)
    message, _, hint = str(caught.value).partition("; did you mean ")
    assert f"'{given}'" in message
    assert all(name in message for name in TASKS)
    assert meant in hint


def test_nothing_is_suggested_where_nothing_is_close() -> None:
    with pytest.raises(DataError) as caught:
        get_task("translation-xyz")
    assert "did you mean" not in str(caught.value)
    assert "aimc-deploy tasks" in str(caught.value)
