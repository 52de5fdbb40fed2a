"""The tasks: classes and scores of one text or of a pair of texts, and answers found in a text.

A :class:`Task` holds all that is particular to one task, so that reading, encoding and scoring need no
cases of their own.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from aimc_deploy.config.load import load_task
from aimc_deploy.errors import ConfigError, DataError

Metric = Literal["accuracy", "f1", "matthews", "pearson", "spearman", "exact_match"]
Kind = Literal["classes", "score", "spans"]


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        text_columns: one or two, as the hub names them.
        labels: words in the order of the class numbers; empty for the other kinds.
        label_column: empty where only texts are read.
        metric: the one that gates and plots use; ``metrics`` are all that are reported.
        folder: what GLUE calls the folder of its files.
        hub: dataset and configuration on the hub; None for data that comes with this package.
        train_split, dev_split: names of the splits on the hub.
        train_files, dev_files: names of local files, or shell patterns, without their ending.
        headerless: column names of the official files that have no header, one entry for each number of
            fields that a line may have.
        broken_share: largest share of samples that the official files are known to have damaged and that
            are left out, and counted in the source of the split; 0 accepts none.
        kind: a class, a score, or a part of the second text that answers the first.
        max_length: tokens of a sample, or of a window, if nothing else is said.
        second_split, second_files: of another dev set, whose metrics end in ``_mm``: texts of other genres
            than those learned from.
        files: train and dev of a task that the user described in a file of his own.
        epochs: how long an adapter is trained if nothing else is said.
    """

    name: str
    title: str
    text_columns: tuple[str, ...]
    labels: tuple[str, ...]
    metric: Metric
    metrics: tuple[Metric, ...]
    folder: str
    hub: tuple[str, str] | None
    description: str
    epochs: float
    label_column: str = "label"
    train_split: str = "train"
    dev_split: str = "validation"
    train_files: tuple[str, ...] = ("train",)
    dev_files: tuple[str, ...] = ("dev", "validation")
    headerless: tuple[tuple[str, ...], ...] = ()
    broken_share: float = 0.0
    kind: Kind = "classes"
    max_length: int = 128
    second_split: str | None = None
    second_files: tuple[str, ...] = ()
    files: tuple[Path, Path] | None = None

    def identity(self) -> dict[str, Any]:
        """All that decides what is learned and measured, wherever the data lies."""
        return asdict(replace(self, files=None, description="", title=""))

    @property
    def outputs(self) -> int:
        """Values that a head gives: one for each class, a score, or a start and an end for each token."""
        return {"classes": len(self.labels), "score": 1, "spans": 2}[self.kind]


_GLUE = "nyu-mll/glue"
_STS_B_COLUMNS = ("genre", "file", "year", "id", "score", "sentence1", "sentence2")

_ALL = (
    Task(
        name="reviews",
        title="Short reviews",
        text_columns=("sentence",),
        labels=("negative", "positive"),
        metric="accuracy",
        metrics=("accuracy",),
        folder="reviews",
        hub=None,
        epochs=5.0,
        description="Is a short review favourable? Written for this project; comes with it.",
    ),
    Task(
        name="sst2",
        title="SST-2",
        text_columns=("sentence",),
        labels=("negative", "positive"),
        metric="accuracy",
        metrics=("accuracy",),
        folder="SST-2",
        hub=(_GLUE, "sst2"),
        epochs=1.0,
        description="Stanford Sentiment Treebank: is a sentence from a film review favourable?",
    ),
    Task(
        name="cola",
        title="CoLA",
        text_columns=("sentence",),
        labels=("unacceptable", "acceptable"),
        metric="matthews",
        metrics=("matthews", "accuracy"),
        folder="CoLA",
        hub=(_GLUE, "cola"),
        epochs=5.0,
        headerless=(("source", "label", "mark", "sentence"),),
        description="Corpus of Linguistic Acceptability: is a sentence grammatical?",
    ),
    Task(
        name="mrpc",
        title="MRPC",
        text_columns=("sentence1", "sentence2"),
        labels=("not_equivalent", "equivalent"),
        metric="accuracy",
        metrics=("accuracy", "f1"),
        folder="MRPC",
        hub=(_GLUE, "mrpc"),
        epochs=5.0,
        description="Microsoft Research Paraphrase Corpus: do two sentences say the same?",
    ),
    Task(
        name="qqp",
        title="QQP",
        text_columns=("question1", "question2"),
        labels=("not_duplicate", "duplicate"),
        metric="accuracy",
        metrics=("accuracy", "f1"),
        folder="QQP",
        hub=(_GLUE, "qqp"),
        epochs=1.0,
        # The official train.tsv has questions with line breaks and tabs in them, and two that are empty.
        broken_share=2e-4,
        description="Quora Question Pairs: do two questions ask the same?",
    ),
    Task(
        name="stsb",
        kind="score",
        title="STS-B",
        text_columns=("sentence1", "sentence2"),
        labels=(),
        metric="pearson",
        metrics=("pearson", "spearman"),
        folder="STS-B",
        hub=(_GLUE, "stsb"),
        epochs=5.0,
        train_files=("train", "sts-train"),
        dev_files=("dev", "validation", "sts-dev"),
        headerless=(_STS_B_COLUMNS, (*_STS_B_COLUMNS, "source1", "source2")),
        description="Semantic Textual Similarity Benchmark: how alike are two sentences, from 0 to 5?",
    ),
    Task(
        name="mnli",
        title="MNLI",
        text_columns=("premise", "hypothesis"),
        labels=("entailment", "neutral", "contradiction"),
        metric="accuracy",
        metrics=("accuracy",),
        folder="MNLI",
        hub=(_GLUE, "mnli"),
        epochs=1.0,
        dev_split="validation_matched",
        dev_files=("dev_matched", "validation_matched", "dev", "validation"),
        second_split="validation_mismatched",
        second_files=("dev_mismatched", "validation_mismatched"),
        description="Multi-Genre Natural Language Inference: does the premise entail the hypothesis?",
    ),
    Task(
        name="qnli",
        title="QNLI",
        text_columns=("question", "sentence"),
        labels=("entailment", "not_entailment"),
        metric="accuracy",
        metrics=("accuracy",),
        folder="QNLI",
        hub=(_GLUE, "qnli"),
        epochs=1.0,
        description="Question Natural Language Inference: does the sentence answer the question?",
    ),
    Task(
        name="rte",
        title="RTE",
        text_columns=("sentence1", "sentence2"),
        labels=("entailment", "not_entailment"),
        metric="accuracy",
        metrics=("accuracy",),
        folder="RTE",
        hub=(_GLUE, "rte"),
        epochs=5.0,
        description="Recognizing Textual Entailment: does the first text entail the second?",
    ),
    Task(
        name="wnli",
        title="WNLI",
        text_columns=("sentence1", "sentence2"),
        labels=("not_entailment", "entailment"),
        metric="accuracy",
        metrics=("accuracy",),
        folder="WNLI",
        hub=(_GLUE, "wnli"),
        epochs=5.0,
        description="Winograd Natural Language Inference: is the pronoun replaced by what it stands for?",
    ),
    Task(
        name="squad",
        kind="spans",
        title="SQuAD v1.1",
        text_columns=("question", "context"),
        label_column="answers",
        labels=(),
        metric="f1",
        metrics=("f1", "exact_match"),
        folder="squad",
        hub=("rajpurkar/squad", "plain_text"),
        epochs=2.0,
        max_length=384,
        train_files=("train*",),
        dev_files=("dev*", "validation*"),
        description="Stanford Question Answering Dataset: which part of a paragraph answers a question?",
    ),
)

TASKS: Mapping[str, Task] = {task.name: task for task in _ALL}
"""Every task by its name, in the order in which they are listed."""


def get_task(name: str) -> Task:
    """The task of that name, or the one that a YAML file describes.

    Raises:
        DataError: there is none; the message lists those there are.
        ConfigError: the file cannot be read or has mistakes.
    """
    if name in TASKS:
        return TASKS[name]
    if name.endswith((".yaml", ".yml")):
        return _from_file(Path(name))
    plain = name.casefold().replace("-", "").replace("_", "")
    close = difflib.get_close_matches(plain, TASKS, n=3)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    raise DataError(
        f"there is no task '{name}': choose one of {', '.join(TASKS)}{hint} "
        "(`aimc-deploy tasks` describes them), or give a YAML file that describes your own"
    )


def _from_file(path: Path) -> Task:
    described = load_task(path)
    if described.name in TASKS:
        raise ConfigError(f"{path}: name: there is a task '{described.name}' already: choose another name")
    return Task(
        name=described.name,
        title=described.name,
        text_columns=described.text,
        label_column=described.label,
        labels=tuple(label.strip().casefold() for label in described.labels),
        metric=cast(Metric, described.metrics()[0]),
        metrics=cast(tuple[Metric, ...], described.metrics()),
        folder="",
        hub=None,
        description=described.description,
        epochs=described.epochs,
        kind=described.kind,
        max_length=described.max_length,
        files=(path.parent / described.train, path.parent / described.dev),
    )
