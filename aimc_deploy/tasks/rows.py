"""Files of tables, row by row: TSV as GLUE writes it, CSV, JSON lines, Parquet, and SQuAD's own JSON.

Every reader yields rows with their place, ``file:line``. A TSV is split at tabs and line feeds and nothing
else: quotes are text.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimc_deploy.errors import DataError
from aimc_deploy.tasks.columns import own_columns, short
from aimc_deploy.tasks.registry import Task

MAX_UNPACKED = 1 << 30  # bytes of a packed file; the official train file has 30 million
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Row:
    """Cells by column name, or what is wrong with the line; ``where`` says which line it is."""

    where: str
    cells: Mapping[str, Any]
    fault: str = ""


def read_rows(path: Path, task: Task) -> Iterator[Row]:
    """The rows of a file, in the format its ending tells.

    Raises:
        DataError: the ending is none of the task's, or the file cannot be read.
    """
    ending = next((ending for ending in readers(task) if path.name.endswith(ending)), None)
    if ending is None:
        raise DataError(f"{path}: of this ending no file is read: use {', '.join(readers(task))}")
    return readers(task)[ending](path, task)


def column_rows(columns: Mapping[str, Sequence[Any]], source: str) -> Iterator[Row]:
    """Rows of a table that is stored by column, counted from 1."""
    for number, values in enumerate(zip(*columns.values(), strict=True), start=1):
        yield Row(f"{source}, row {number}", dict(zip(columns, values, strict=True)))


def readers(task: Task) -> Mapping[str, Callable[[Path, Task], Iterator[Row]]]:
    """How a file of the task is read, by its ending."""
    return {**(SPAN_READERS if task.kind == "spans" else {}), **READERS}


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
        own_columns(task, lines[0], f"{path}:1")
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
            own_columns(task, fields, where)
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
            raise DataError(f"{where}: is {short(cells)}; a line holds one JSON object with named values")
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
                data = _all_of(file.read)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                (name,) = archive.namelist()
                with archive.open(name) as file:
                    data = _all_of(file.read)
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        # RuntimeError: encrypted, or packed in a way that is not implemented here
        raise DataError(f"{path}: cannot be unpacked ({error}): it holds one JSON file") from None
    if len(data) > MAX_UNPACKED:
        raise DataError(f"{path}: holds more than {MAX_UNPACKED >> 20} MiB: split it, or use .jsonl")
    return data


def _all_of(read: Callable[[int], bytes]) -> bytes:
    """What is in there, and no more than one chunk above :data:`MAX_UNPACKED`.

    Asked for all of it at once, gzip takes as much memory as it might be.
    """
    parts, size = [], 0
    while size <= MAX_UNPACKED and (part := read(_CHUNK_BYTES)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)


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
        own_columns(task, fields, "")
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
