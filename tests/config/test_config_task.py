"""Tasks of the user's own: what the file may say, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimc_deploy.config.load import load_task
from aimc_deploy.config.task import TaskFile
from aimc_deploy.errors import ConfigError

GOOD = """\
name: tickets
text: [subject, body]
label: kind
labels: [Bug, Question, Praise]
train: train.csv
dev: dev.csv
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "tickets.yaml"
    path.write_text(text)
    return path


def test_a_task_is_read_with_its_defaults(tmp_path: Path) -> None:
    task = load_task(write(tmp_path, GOOD))
    assert task == TaskFile(
        name="tickets",
        kind="classes",
        text=("subject", "body"),
        label="kind",
        labels=("Bug", "Question", "Praise"),
        train="train.csv",
        dev="dev.csv",
        epochs=3.0,
        max_length=128,
    )
    assert task.metrics() == ("accuracy", "matthews"), "f1 is of two classes"


@pytest.mark.parametrize(
    ("changes", "metrics"),
    [
        ({"labels": ["no", "yes"]}, ("accuracy", "f1", "matthews")),
        ({"labels": ["no", "yes"], "metric": "matthews"}, ("matthews", "accuracy", "f1")),
        ({"kind": "score", "labels": []}, ("pearson", "spearman")),
        ({"kind": "spans", "labels": [], "metric": "exact_match"}, ("exact_match", "f1")),
    ],
)
def test_what_is_measured_follows_the_kind(changes: dict, metrics: tuple[str, ...]) -> None:
    task = {"name": "x", "text": ["a", "b"], "train": "t", "dev": "d", **changes}
    assert TaskFile.model_validate(task).metrics() == metrics


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("labels: [Bug, Question, Praise]\n", ""), "labels: give two or more different words"),
        (GOOD.replace("Question", "bug"), "labels: give two or more different words for the classes"),
        (GOOD + "kind: score\n", "labels: a task of kind score has none: leave them out"),
        (GOOD.replace("[subject, body]", "[kind]"), "label: 'kind' is a text column already"),
        (GOOD + "metric: f1\n", "metric: 'f1' does not fit; choose one of accuracy, matthews"),
        (
            "name: x\nkind: spans\ntext: [question]\ntrain: t\ndev: d\n",
            "text: a task of kind spans has two columns",
        ),
        (GOOD + "lables: 3\n", r"tickets.yaml:7: lables: unknown key; did you mean 'labels'\? allowed: "),
        (GOOD.replace("name: tickets", "name: My Tickets"), "tickets.yaml:1: name: String should match"),
        (GOOD.replace("train: train.csv\n", ""), "train: Field required"),
        ("- a\n- b\n", "tickets.yaml: a task is a mapping of keys to values: name, text, labels, train, dev"),
        ("", "tickets.yaml: a task is a mapping"),
    ],
)
def test_mistakes_are_told_with_what_is_allowed(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_task(write(tmp_path, text))
