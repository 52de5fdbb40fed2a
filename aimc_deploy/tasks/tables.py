"""Tables of labelled texts: TSV as GLUE writes it, CSV, JSON lines, Parquet, and SQuAD's own JSON.

Every reader yields rows with their place, ``file:line``; one check for all of them turns a row into
texts and a label. A TSV is split at tabs and line feeds and nothing else: quotes are text.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimc_deploy.errors import DataError
from aimc_deploy.tasks.registry import Task

# What other copies of the data call the columns, for tasks of one and of two texts.
_TEXT_NAMES: dict[int, tuple[tuple[str, ...], ...]] = {
    1: (("sentence", "text"),),
    2: (
        ("sentence1", "#1 String", "premise", "question1", "question"),
        ("sentence2", "#2 String", "hypothesis", "question2", "sentence"),
    ),
}
MAX_UNPACKED = 1 << 30  # bytes of a packed file; the official train file has 30 million

_LABEL_NAMES = ("label", "gold_label", "Quality", "is_duplicate", "score", "answer")

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


@dataclass(frozen=True)
class Row:
    """Cells by column name, or what is wrong with the line; ``where`` says which line it is."""

    where: str
    cells: Mapping[str, Any]
    fault: str = ""


def read_table(path: Path, task: Task) -> Table:
    """Read the file of one split, in the format its ending tells.

    Raises:
        DataError: it cannot be read, or a line is not what the task needs (file, line, what is allowed).
    """
    return to_table(_rows(path, task), task, str(path))


def read_texts(path: Path, task: Task) -> tuple[list[str], ...]:
    """The texts of a file that needs no labels, one list for each text column.

    Raises:
        DataError: it cannot be read, a column is missing, or a text is empty.
    """
    texts: tuple[list[str], ...] = tuple([] for _ in task.text_columns)
    names: tuple[str, ...] | None = None
    task = replace(task, label_column="")
    for row in _rows(path, task):
        if row.fault:
            raise DataError(f"{row.where}: {row.fault}")
        names = names or _columns(task, row.cells, row.where)
        for column, cell, name in zip(texts, _cells(row, names), names, strict=True):
            column.append(_text(cell, name, row.where))
    if not texts[0]:
        raise DataError(f"{path}: there are no texts in it; it needs at least one")
    return texts


def _rows(path: Path, task: Task) -> Iterator[Row]:
    ending = next((ending for ending in readers(task) if path.name.endswith(ending)), None)
    if ending is None:
        raise DataError(f"{path}: of this ending no file is read: use {', '.join(readers(task))}")
    return readers(task)[ending](path, task)


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
            names = names or _columns(task, row.cells, row.where)
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


def column_rows(columns: Mapping[str, Sequence[Any]], source: str) -> Iterator[Row]:
    """Rows of a table that is stored by column, counted from 1."""
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        yield Row(f"{source}, row {number}", dict(zip(columns, values, strict=True)))


def _columns(task: Task, names: Iterable[str], where: str) -> tuple[str, ...]:
    """How this table calls the text columns and, last, the label column; capitals make no difference."""
    there: dict[str, str] = {}
    for name in names:
        key = name.strip().casefold()
        if key in there:
            raise DataError(f"{where}: two columns are called '{key}': give each its own name")
        there[key] = name
    wanted = [*zip(task.text_columns, _TEXT_NAMES[len(task.text_columns)], strict=True)]
    if task.label_column:
        wanted.append((task.label_column, _LABEL_NAMES))
    if task.files is not None:  # the user said what they are called
        wanted = [(name, ()) for name, _ in wanted]
    found = []
    for name, others in wanted:
        match = [there[key] for key in map(str.casefold, (name, *others)) if key in there]
        if not match:
            raise DataError(
                f"{where}: no column '{name}' (nor {', '.join(o for o in others if o != name)}) for task "
                f"'{task.name}'; the columns there are {_listed(there.values())}: rename one"
            )
        found.append(match[0])
    return tuple(found)


def _cells(row: Row, names: tuple[str, ...]) -> list[Any]:
    missing = [name for name in names if name not in row.cells]
    if missing:
        raise DataError(
            f"{row.where}: no '{missing[0]}', which earlier lines have; there are {_listed(row.cells)}"
        )
    return [row.cells[name] for name in names]


def _text(value: Any, name: str, where: str) -> str:
    if not isinstance(value, str):
        raise DataError(f"{where}: '{name}' is {_short(value)}, not a text")
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
                f"{where}: label {_short(value)} is none of {allowed}: write the number or the word"
            )
        return number

    return to_label


def _score(value: Any, where: str) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        raise DataError(f"{where}: score {_short(value)} is not a finite number, such as 3.8")
    return score


def _answers(value: Any, where: str) -> list[tuple[str, int | None]]:
    """Answers as the hub has them, ``{text: [...], answer_start: [...]}``, or one text, anywhere in there."""
    if isinstance(value, str):
        return [(_text(value, "answer", where), None)]
    try:
        texts, starts = list(value["text"]), [int(start) for start in value["answer_start"]]
        found = list(zip(texts, starts, strict=True))
    except (TypeError, KeyError, ValueError):
        raise DataError(
            f"{where}: answers are {_short(value)}: write a text, or an object with lists of equal length, "
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
            raise DataError(f"{row.where}: the context does not have the answer {_short(text)}{given}")
        placed.append((text, place))
    return placed


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _listed(names: Iterable[str]) -> str:
    """The first dozen names."""
    shown = [_short(name) for name in names]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "") or "none"


def _read_bytes(path: Path) -> bytes:
    try:
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is a folder or a device; a table must be a file")
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror or error}): check that you may read it"
        ) from None


def _read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark and without empty lines at its end."""
    try:
        text = _read_bytes(path).decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}:{line}: byte 0x{error.object[error.start]:02x} is not UTF-8: save the file as UTF-8"
        ) from None
    if not text:
        raise DataError(f"{path}: is empty; it needs a header and at least one sample")
    return text


def _tsv_rows(path: Path, task: Task) -> Iterator[Row]:
    lines = [line.removesuffix("\r").split("\t") for line in _read_text(path).split("\n")]
    layouts = {len(columns): columns for columns in task.headerless}
    first = 1
    if not layouts or _is_header(task, lines[0]):
        _columns(task, lines[0], f"{path}:1")
        layouts = {len(lines[0]): lines[0]}
        first = 2
    for number, fields in enumerate(lines[first - 1 :], start=first):
        yield _row(f"{path}:{number}", layouts, fields, "tab")


def _csv_rows(path: Path, task: Task) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(_read_text(path), newline=""), strict=True)
    layouts: dict[int, Sequence[str]] = {}
    while True:
        where = f"{path}:{reader.line_num + 1}"
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"{where}: the row that starts here is not CSV ({error}): close every quote, and write a "
                "quote inside a quoted text twice"
            ) from None
        if layouts:
            yield _row(where, layouts, fields, "comma")
        else:
            _columns(task, fields, where)
            layouts = {len(fields): fields}


def _json_rows(path: Path, task: Task) -> Iterator[Row]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        where = f"{path}:{number}"
        try:
            cells = json.loads(line, object_pairs_hook=_unique)
        except RecursionError:
            raise DataError(f"{where}: is nested too deep; a line holds one flat JSON object") from None
        except ValueError as error:
            raise DataError(f"{where}: is not JSON ({error}): write one JSON object on each line") from None
        if not isinstance(cells, dict):
            raise DataError(f"{where}: is {_short(cells)}; a line holds one JSON object with named values")
        yield Row(where, cells)


def _parquet_rows(path: Path, task: Task) -> Iterator[Row]:
    import pyarrow
    import pyarrow.parquet

    data = _read_bytes(path)
    try:
        columns = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(data)).read().to_pydict()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"{path}: cannot be read as Parquet ({reason}): write it again or use .jsonl"
        ) from None
    yield from column_rows(columns, str(path))


def _squad_rows(path: Path, task: Task) -> Iterator[Row]:
    """SQuAD's nested JSON, as it is, in gzip, or as the only file of a zip."""
    where = str(path)
    try:
        content = json.loads(_unpacked(path), object_pairs_hook=_unique)
        for title, article in enumerate(content["data"]):
            for number, paragraph in enumerate(article["paragraphs"]):
                for place, asked in enumerate(paragraph["qas"]):
                    where = f"{path}: data[{title}].paragraphs[{number}].qas[{place}]"
                    answers = asked["answers"]
                    cells = {
                        "id": asked.get("id", ""),
                        "question": asked["question"],
                        "context": paragraph["context"],
                        "answers": {
                            key: [answer[key] for answer in answers] for key in ("text", "answer_start")
                        },
                    }
                    yield Row(where, cells)
    except RecursionError:
        raise DataError(f"{path}: is nested too deep for SQuAD's JSON") from None
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError(
            f"{where}: is not as SQuAD v1.1 has it ({type(error).__name__}: {error}): data, paragraphs with "
            "context and qas, each with question and answers"
        ) from None


def _unpacked(path: Path) -> bytes:
    """What is in the file, taken out of gzip or zip."""
    data = _read_bytes(path)
    try:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                data = file.read(MAX_UNPACKED + 1)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                (name,) = archive.namelist()
                with archive.open(name) as file:
                    data = file.read(MAX_UNPACKED + 1)
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path}: cannot be unpacked ({error}): it holds one JSON file") from None
    if len(data) > MAX_UNPACKED:
        raise DataError(f"{path}: holds more than {MAX_UNPACKED >> 20} MiB: split it, or use .jsonl")
    return data


def readers(task: Task) -> Mapping[str, Callable[[Path, Task], Iterator[Row]]]:
    """How a file of the task is read, by its ending."""
    return {**(SPAN_READERS if task.kind == "spans" else {}), **READERS}


SPAN_READERS = dict.fromkeys((".json", ".json.gz", ".json.zip"), _squad_rows)
"""Only for tasks whose answers are parts of a text."""

READERS: Mapping[str, Callable[[Path, Task], Iterator[Row]]] = {
    ".tsv": _tsv_rows,
    ".csv": _csv_rows,
    ".jsonl": _json_rows,
    ".parquet": _parquet_rows,
}
"""For every task."""


def _is_header(task: Task, fields: list[str]) -> bool:
    """Whether a first line names columns; only files of some tasks may lack a header."""
    if len(fields) not in {len(columns) for columns in task.headerless}:
        return True
    try:
        _columns(task, fields, "")
    except DataError:
        return False
    return True


def _row(where: str, layouts: Mapping[int, Sequence[str]], fields: list[str], separator: str) -> Row:
    if len(fields) in layouts:
        return Row(where, dict(zip(layouts[len(fields)], fields, strict=True)))
    columns = " or ".join(map(str, layouts))
    return Row(
        where,
        {},
        f"{len(fields)} fields instead of {columns} ({', '.join(next(iter(layouts.values())))}): put one "
        f"{separator} between two fields and none inside a text",
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    cells = dict(pairs)
    if len(cells) < len(pairs):
        raise ValueError("a name is there twice")
    return cells
