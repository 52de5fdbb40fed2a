"""Tables of data in every format that is read.

Each is read with its labels, written as JSON lines and read again, and must be the same.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow
import pyarrow.parquet

from aimc_deploy.errors import AimcError
from aimc_deploy.tasks.registry import TASKS, Task
from aimc_deploy.tasks.tables import Table, read_table, read_texts
from campaigns.mutations import Draft
from campaigns.parser import Parser, Render, Unsound, as_json, encoded, same


def _table(task: Task, path: Path) -> None:
    """Read a table with its labels, write it as JSON lines, and read it again."""
    with contextlib.suppress(AimcError):
        read_texts(path, task)
    found = read_table(path, task)
    lengths = {len(column) for column in (*found.texts, found.labels)}
    if lengths != {len(found.labels)} or not found.labels:
        raise Unsound(f"columns of {lengths} samples")
    if len(found.labels) > 200 or path.stat().st_size > 100_000:
        return
    again = path.with_suffix(".again.jsonl")
    again.write_text("\n".join(_lines(task, found)) + "\n", encoding="utf-8")
    other = read_table(again, task)
    same("the table", (found.texts, found.labels), (other.texts, other.labels))


def _lines(task: Task, table: Table) -> Iterator[str]:
    for *texts, of in zip(*table.texts, table.labels, strict=True):
        cells = dict(zip(task.text_columns, texts, strict=True))
        if task.kind == "spans":
            of = {"text": [text for text, _ in of], "answer_start": [start for _, start in of]}
        yield json.dumps(cells | {task.label_column: of})


def _rows(separator: str) -> Render:
    """A table, of which the tree is a list of rows."""

    def render(draft: Draft) -> bytes:
        rows = draft.tree if isinstance(draft.tree, list) else [draft.tree]
        rows = [row if isinstance(row, list) else [row] for row in rows]
        cells = [[cell if isinstance(cell, str) else json.dumps(cell) for cell in row] for row in rows]
        if separator == "\t":
            text = "\n".join("\t".join(row) for row in cells)
        else:
            out = io.StringIO()
            try:
                csv.writer(out, lineterminator=draft.draw.choice(("\n", "\r\n"))).writerows(cells)
            except csv.Error:  # a single empty cell
                out.write("\n".join(",".join(row) for row in cells))
            text = out.getvalue()
        return encoded(draft.resolved(text))

    return render


def _json_lines(draft: Draft) -> bytes:
    rows = draft.tree if isinstance(draft.tree, list) else [draft.tree]
    return encoded("\n".join(Draft(row, draft.draw, literals=draft.literals).as_json() for row in rows))


def _packed(kind: str) -> Render:
    def render(draft: Draft) -> bytes:
        data = as_json(draft)
        if kind == "gz":
            return gzip.compress(data, 1, mtime=0)
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("train.json", "more.json")[: draft.draw.choice((1, 1, 1, 1, 2))]:
                archive.writestr(zipfile.ZipInfo(name), data)
        return out.getvalue()

    return render


def _parquet(draft: Draft) -> bytes:
    out = io.BytesIO()
    rows = [row for row in draft.tree if isinstance(row, dict)] if isinstance(draft.tree, list) else []
    try:
        table = pyarrow.Table.from_pylist(rows)
        pyarrow.parquet.write_table(table, out)
    except (pyarrow.ArrowException, TypeError, ValueError, OverflowError):
        return b"PAR1" + as_json(draft) + b"PAR1"
    return out.getvalue()


def parsers() -> Iterator[Parser]:
    """All of them."""
    one = [["a good film", "1"], ["a bad, very bad book", "negative"], ['it is "fine"', "positive"]]
    two = [["a b", "a c", "0"], ["d\u0301", "e", "1"], ["f", "g", "1"]]
    scored = [["x", "y", "3.8"], ["x", "z", "0"], ["u", "v", "5e0"]]
    grammar = [["gj04", "1", "", "a text"], ["cj99", "0", "*", "text a"]]
    words = [{"sentence": text, "label": of} for text, of in one]
    scores = [{"sentence1": a, "sentence2": b, "label": float(of)} for a, b, of in scored]
    answers = {"text": ["the film", "film"], "answer_start": [6, 10]}
    asked = {"question": "who is it?", "context": "it is the film", "id": "1", "answers": answers}
    spans = [asked, {**asked, "id": "2", "answers": "film"}]
    inner = [{"text": "the film", "answer_start": 6}]
    qas = [{"question": "who?", "id": str(at), "answers": inner} for at in range(2)]
    paragraphs = [{"context": "it is the film", "qas": qas}]
    squad = {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}
    sentences, likeness = TASKS["sst2"], TASKS["stsb"]
    damaged = replace(TASKS["qqp"], broken_share=0.5)  # of the few lines that there are
    asks = ["question1", "question2", "label"]
    pairs = [["sentence1", "sentence2", "label"], *two]
    for name, share, task, ending, sample, render in (
        ("TSV, classes", 10, sentences, "tsv", [["sentence", "label"], *one], _rows("\t")),
        ("TSV, without header", 10, TASKS["cola"], "tsv", grammar, _rows("\t")),
        ("TSV, damaged lines left out", 6, damaged, "tsv", [asks, *two], _rows("\t")),
        ("CSV, pairs", 10, TASKS["mrpc"], "csv", pairs, _rows(",")),
        ("CSV, scores", 10, likeness, "csv", [["sentence1", "sentence2", "score"], *scored], _rows(",")),
        ("JSON lines, classes", 10, sentences, "jsonl", words, _json_lines),
        ("JSON lines, scores", 8, likeness, "jsonl", scores, _json_lines),
        ("JSON lines, spans", 8, TASKS["squad"], "jsonl", spans, _json_lines),
        ("SQuAD", 8, TASKS["squad"], "json", squad, as_json),
        ("SQuAD in gzip", 6, TASKS["squad"], "json.gz", squad, _packed("gz")),
        ("SQuAD in a zip", 5, TASKS["squad"], "json.zip", squad, _packed("zip")),
        ("Parquet", 2, sentences, "parquet", words, _parquet),
    ):
        yield Parser(name, share, f"x.{ending}", (sample,), render, partial(_table, task))
