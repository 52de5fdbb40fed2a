"""Labelled texts out of the rows of a table: one check for all formats turns a row into texts and a label."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimc_deploy.errors import DataError
from aimc_deploy.tasks.columns import listed, own_columns, short
from aimc_deploy.tasks.registry import Task
from aimc_deploy.tasks.rows import Row, read_rows

MAX_SCORE = 1.0e15
"""The square of an error, summed over many samples, is still a 32-bit number."""

Answer = tuple[str, int]
Labels = list[Any]  # class numbers, scores, or lists of answers: the task's kind tells which


@dataclass(frozen=True)
class Table:
    """Labelled texts.

    Attributes:
        texts: one list for each text column.
        labels: class numbers, scores, or lists of answers: a text and where it begins in the second text.
        left_out: number of damaged samples that ``task.broken_share`` let pass; 0 for most tasks.
    """

    texts: tuple[list[str], ...]
    labels: Labels
    left_out: int


def read_table(path: Path, task: Task) -> Table:
    """Read the file of one split, in the format its ending tells.

    Raises:
        DataError: it cannot be read, or a line is not what the task needs (file, line, what is allowed).
    """
    return to_table(read_rows(path, task), task, str(path))


def read_texts(path: Path, task: Task) -> tuple[list[str], ...]:
    """The texts of a file that needs no labels, one list for each text column.

    Raises:
        DataError: it cannot be read, a column is missing, or a text is empty.
    """
    texts: tuple[list[str], ...] = tuple([] for _ in task.text_columns)
    names: tuple[str, ...] | None = None
    task = replace(task, label_column="")
    for row in read_rows(path, task):
        if row.fault:
            raise DataError(f"{row.where}: {row.fault}")
        names = names or own_columns(task, row.cells, row.where)
        for column, cell, name in zip(texts, _cells(row, names), names, strict=True):
            column.append(_text(cell, name, row.where))
    if not texts[0]:
        raise DataError(f"{path}: there are no texts in it; it needs at least one")
    return texts


def to_table(rows: Iterable[Row], task: Task, source: str) -> Table:
    """Check rows and take the texts and labels from them.

    Raises:
        DataError: no rows, a column that is missing, an empty text, or a label that the task does not have.
    """
    texts: tuple[list[str], ...] = tuple([] for _ in task.text_columns)
    labels: list[Any] = []
    faults: list[DataError] = []
    names: tuple[str, ...] | None = None
    to_label: Callable[[Any, str], Any] = {
        "classes": _class_number(task.labels),
        "score": _score,
        "spans": _answers,
    }[task.kind]
    ids: set[str] = set()
    for row in rows:
        try:
            if row.fault:
                raise DataError(f"{row.where}: {row.fault}")
            names = names or own_columns(task, row.cells, row.where)
            cells = _cells(row, names)
            checked = [
                _text(cell, name, row.where) for cell, name in zip(cells[:-1], names[:-1], strict=True)
            ]
            number = to_label(cells[-1], row.where)
            if task.kind == "spans":
                number = _found(number, row, checked[-1], ids)
        except DataError as error:
            if not task.broken_share:
                raise
            faults.append(error)
            continue
        labels.append(number)
        for column, text in zip(texts, checked, strict=True):
            column.append(text)
    if len(faults) > task.broken_share * (len(faults) + len(labels)):
        raise faults[0]
    if not labels:
        raise DataError(f"{source}: there are no samples in it; it needs at least one")
    return Table(texts, labels, len(faults))


def _cells(row: Row, names: tuple[str, ...]) -> list[Any]:
    missing = [name for name in names if name not in row.cells]
    if missing:
        raise DataError(
            f"{row.where}: no '{missing[0]}', which earlier lines have; there are {listed(row.cells)}"
        )
    return [row.cells[name] for name in names]


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: '{name}' is {short(value)}, not a text")
    if not value.strip():
        raise DataError(f"{where}: '{name}' is empty: give it a text or remove the line")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise DataError(f"{where}: '{name}' holds half of a surrogate pair, which is no character") from None
    return value


def _class_number(labels: tuple[str, ...]) -> Callable[[Any, str], int]:
    """How to turn what stands in a label column, a number or a word, into the number of the class."""
    words = {word: number for number, word in enumerate(labels)}
    # Where the words are numbers themselves, as in one to five stars, only these count.
    plain = {} if any(word.isdigit() for word in labels) else {str(n): n for n in range(len(labels))}
    numbers = {**plain, **words}

    def to_label(value: Any, where: str) -> int:
        number = numbers.get(str(value).strip().casefold())
        if number is None:
            allowed = ", ".join(f"{number} ({word})" for number, word in enumerate(labels))
            raise DataError(
                f"{where}: label {short(value)} is none of {allowed}: write the number or the word"
            )
        return number

    return to_label


def _score(value: Any, where: str) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{where}: score {short(value)} is not a finite number, such as 3.8")
    if abs(score) > MAX_SCORE:
        raise DataError(f"{where}: score {short(value)} is beyond {MAX_SCORE:g}: give it in other units")
    return score


def _answers(value: Any, where: str) -> list[tuple[str, int | None]]:
    """Answers as the hub has them, ``{text: [...], answer_start: [...]}``, or one text, anywhere in there."""
    if isinstance(value, str):
        return [(_text(value, "answer", where), None)]
    try:
        texts, starts = list(value["text"]), [int(start) for start in value["answer_start"]]
        found = list(zip(texts, starts, strict=True))
    except (TypeError, KeyError, ValueError, OverflowError):
        raise DataError(
            f"{where}: answers are {short(value)}: write a text, or an object with lists of equal length, "
            "'text' and 'answer_start'"
        ) from None
    if not found:
        raise DataError(f"{where}: the question has no answer, and SQuAD v1.1 has none of these: remove it")
    return [(_text(text, "answer", where), start) for text, start in found]


def _found(answers: list[tuple[str, int | None]], row: Row, context: str, ids: set[str]) -> list[Answer]:
    """Answers with their place in the context; each question id once."""
    name = str(row.cells.get("id", ""))
    if name and name in ids:
        raise DataError(f"{row.where}: the question id '{name}' is there twice: give each question its own")
    ids.add(name)
    placed = []
    for text, start in answers:
        place = context.find(text) if start is None else start
        if place < 0 or context[place : place + len(text)] != text:
            given = "" if start is None else f" at {start}"
            raise DataError(f"{row.where}: the context does not have the answer {short(text)}{given}")
        placed.append((text, place))
    return placed
