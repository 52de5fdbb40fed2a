"""A task of the user's own, described in a YAML file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aimc_deploy.config.model import Model
from aimc_deploy.config.run import Name

METRICS: dict[str, tuple[str, ...]] = {
    "classes": ("accuracy", "f1", "matthews"),
    "score": ("pearson", "spearman"),
    "spans": ("f1", "exact_match"),
}
"""What can be measured for each kind; f1 of classes only for two of them."""


class TaskFile(Model):
    """One task; file names are relative to the file itself."""

    name: Annotated[Name, Field(description="also of its adapter and its results")]
    kind: Annotated[
        Literal["classes", "score", "spans"],
        Field(description="a class, a number, or a part of the second text that answers the first"),
    ] = "classes"
    text: Annotated[
        tuple[str, ...], Field(min_length=1, max_length=2, description="columns of one or two texts")
    ]
    label: Annotated[str, Field(description="column of the class, the number or the answer")] = "label"
    labels: Annotated[
        tuple[str, ...], Field(description="the words for the classes, in the order of their numbers")
    ] = ()
    metric: Annotated[str | None, Field(description="null: the first that fits the kind")] = None
    train: Annotated[str, Field(description="TSV, CSV, JSONL or parquet; SQuAD's JSON for spans")]
    dev: Annotated[str, Field(description="what it is measured on")]
    epochs: Annotated[float, Field(gt=0, le=1000)] = 3.0
    max_length: Annotated[int, Field(ge=8, le=8192, description="tokens of a sample or a window")] = 128
    description: str = ""

    def metrics(self) -> tuple[str, ...]:
        """What is measured, the most important first."""
        fit = METRICS[self.kind]
        if self.kind == "classes" and len(self.labels) != 2:
            fit = tuple(name for name in fit if name != "f1")
        return fit if self.metric is None else (self.metric, *(name for name in fit if name != self.metric))

    @model_validator(mode="after")
    def _fits_together(self) -> TaskFile:
        words = [label.strip().casefold() for label in self.labels]
        if self.kind == "classes" and (len(words) < 2 or len(set(words)) < len(words) or "" in words):
            raise ValueError(
                "labels: give two or more different words for the classes (capitals do not count)"
            )
        if self.kind != "classes" and words:
            raise ValueError(f"labels: a task of kind {self.kind} has none: leave them out")
        if self.kind == "spans" and len(self.text) != 2:
            raise ValueError("text: a task of kind spans has two columns: the question and the context")
        if self.label in self.text:
            raise ValueError(f"label: '{self.label}' is a text column already")
        if self.metric is not None and self.metric not in (
            fit := self.model_copy(update={"metric": None}).metrics()
        ):
            raise ValueError(f"metric: '{self.metric}' does not fit; choose one of {', '.join(fit)}")
        return self
