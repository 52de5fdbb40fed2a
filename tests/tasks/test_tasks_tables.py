"""Reading tables: the formats, the columns and labels they may use, and the line of each mistake."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimc_deploy.errors import DataError
from aimc_deploy.tasks.registry import TASKS, Task
from aimc_deploy.tasks.rows import READERS, column_rows
from aimc_deploy.tasks.tables import Table, read_table, to_table

SST2, MRPC, COLA, STSB, RTE, QQP = (TASKS[name] for name in ("sst2", "mrpc", "cola", "stsb", "rte", "qqp"))


def table(folder: Path, content: str | bytes, task: Task = SST2, name: str = "train.tsv") -> Table:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_table(path, task)


def refusal(folder: Path, content: str | bytes, task: Task = SST2, name: str = "train.tsv") -> str:
    """The message, with the folder taken out of it."""
    with pytest.raises(DataError) as caught:
        table(folder, content, task, name)
    return str(caught.value).replace(f"{folder}{os.sep}", "")


# Layouts and formats


def test_tsv_is_split_at_tabs_and_line_feeds_only(tmp_path: Path) -> None:
    rows = [' "half a quote', "a 'b' c ", "line\u2028separator\x85 and \x0c", "x,y", "\u00e9\u4e2d\U0001f600"]
    read = table(tmp_path, "sentence\tlabel\n" + "".join(f"{text}\t1\n" for text in rows))
    assert read.texts == (rows,), "texts must come through as they are"
    assert read.labels == [1] * len(rows)
    assert read.left_out == 0


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
@pytest.mark.parametrize("separator", ["\n", "\r\n"])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_byte_order_mark_and_line_ends_do_not_matter(
    tmp_path: Path, end: str, separator: str, bom: bytes
) -> None:
    read = table(tmp_path, bom + (separator.join(["sentence\tlabel", "good\t1", "bad\t0"]) + end).encode())
    assert read.texts == (["good", "bad"],)
    assert read.labels == [1, 0]


@pytest.mark.parametrize(
    ("task", "header", "row", "texts", "label"),
    [
        (
            "mrpc",
            "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String",
            "1\t7\t8\tfirst\tsecond",
            ["first", "second"],
            1,
        ),
        ("rte", "index\tsentence1\tsentence2\tlabel", "0\ta\tb\tnot_entailment", ["a", "b"], 1),
        ("wnli", "index\tsentence1\tsentence2\tlabel", "0\ta\tb\t1", ["a", "b"], 1),
        ("qnli", "index\tquestion\tsentence\tlabel", "0\tq\ts\tentailment", ["q", "s"], 0),
        ("qqp", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate", "0\t1\t2\tq\tr\t1", ["q", "r"], 1),
        (
            "mnli",
            "index\tpairID\tsentence1_parse\tsentence2_parse\tsentence1\tsentence2\tlabel1\tgold_label",
            "0\t1\t(p)\t(h)\tp\th\tneutral\tcontradiction",
            ["p", "h"],
            2,
        ),
        ("mnli", "premise\thypothesis\tlabel\tidx", "p\th\t1\t0", ["p", "h"], 1),
        ("stsb", "index\tgenre\tsentence1\tsentence2\tscore", "0\tnews\ta\tb\t3.80", ["a", "b"], 3.8),
        ("cola", "sentence\tlabel\tidx", "s\tacceptable\t0", ["s"], 1),
        ("cola", "a\tlabel\tmark\tsentence", "x\t0\t\tlast", ["last"], 0),
        ("sst2", " Sentence \tLABEL", "s\tPositive", ["s"], 1),
        ("sst2", "label\ttext", "0\ts", ["s"], 0),
    ],
)
def test_columns_and_labels_by_their_known_names(
    tmp_path: Path, task: str, header: str, row: str, texts: list[str], label: float
) -> None:
    read = table(tmp_path, f"{header}\n{row}\n", TASKS[task])
    assert [column[0] for column in read.texts] == texts
    assert read.labels == [label]
    assert type(read.labels[0]) is type(label)


def test_official_files_without_a_header(tmp_path: Path) -> None:
    read = table(tmp_path, "gj04\t1\t\tFirst one.\nw_80\t0\t*\tSecond one.\n", COLA)
    assert read.texts == (["First one.", "Second one."],)
    assert read.labels == [1, 0]
    row = "main-news\theadlines\t2016\t0281\t{}\tone\ttwo"
    read = table(tmp_path, f"{row.format(5)}\n{row.format('0.2')}\thttp://a\thttp://b\n", STSB)
    assert read.texts == (["one", "one"], ["two", "two"])
    assert read.labels == [5.0, 0.2]


def write(rows: list[tuple[str, int]], ending: str) -> bytes:
    """A table of sentences and labels in one of the formats."""
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    if ending == ".parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"sentence": texts, "label": labels, "idx": labels}), sink)
        return sink.getvalue()
    if ending == ".jsonl":
        return "\n".join(json.dumps({"sentence": text, "label": label}) for text, label in rows).encode()
    stream = io.StringIO(newline="")
    if ending == ".csv":
        csv.writer(stream).writerows([("sentence", "label"), *rows])
    else:
        stream.write("sentence\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    return stream.getvalue().encode()


anything = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30).filter(str.strip)
one_line = anything.filter(lambda text: not re.search(r"[\t\n\r]", text))


@given(
    data=st.data(),
    ending=st.sampled_from(list(READERS)),
    labels=st.lists(st.integers(0, 1), min_size=1, max_size=6),
)
def test_every_format_gives_back_what_was_written(
    data: st.DataObject, ending: str, labels: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    texts = one_line if ending == ".tsv" else anything
    if ending == ".csv":  # csv of Python 3.10 does not read this one
        texts = texts.filter(lambda text: "\0" not in text)
    rows = [(data.draw(texts), label) for label in labels]
    read = table(tmp_path_factory.getbasetemp(), write(rows, ending), SST2, f"any{ending}")
    assert list(zip(*read.texts, read.labels, strict=True)) == rows


@given(content=st.binary(max_size=80), ending=st.sampled_from(list(READERS)), start=st.booleans())
def test_arbitrary_bytes_are_read_or_refused(
    content: bytes, ending: str, start: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    prefix = {".tsv": b"sentence\tlabel\n", ".csv": b"sentence,label\n", ".jsonl": b"{", ".parquet": b"PAR1"}
    path = tmp_path_factory.getbasetemp() / f"bytes{ending}"
    path.write_bytes(prefix[ending] + content if start else content)
    try:
        read = read_table(path, SST2)
    except DataError as error:
        refused = str(error)
        assert str(path) in refused
        return
    assert len(read.texts[0]) == len(read.labels) > 0


# Mistakes


@pytest.mark.parametrize(
    ("content", "task", "parts"),
    [
        (
            "sentence\tlabel\ngood\t1\nbad\n",
            "sst2",
            ["train.tsv:3: 1 fields instead of 2", "sentence, label"],
        ),
        ("sentence\tlabel\na\tb\t1\n", "sst2", ["train.tsv:2: 3 fields instead of 2", "none inside a text"]),
        ("sentence\tlabel\n\ngood\t1\n", "sst2", ["train.tsv:2: 1 fields instead of 2"]),
        (
            "sentence\tlabel\ngood\t1\nbad\t2\n",
            "sst2",
            ["train.tsv:3: label '2'", "0 (negative), 1 (positive)"],
        ),
        (
            "sentence\tlabel\ngood\tpositif\n",
            "sst2",
            ["train.tsv:2: label 'positif'", "the number or the word"],
        ),
        ("sentence\tlabel\ngood\t-1\n", "sst2", ["train.tsv:2: label '-1'"]),
        ("sentence\tlabel\ngood\t1.0\n", "sst2", ["train.tsv:2: label '1.0'"]),
        ("sentence\tlabel\ngood\t\n", "sst2", ["train.tsv:2: label ''"]),
        ("sentence\tlabel\n \t1\n", "sst2", ["train.tsv:2: 'sentence' is empty"]),
        (
            "phrase\tlabel\ngood\t1\n",
            "sst2",
            ["train.tsv:1: no column 'sentence' (nor text) for task 'sst2'", "'phrase', 'label'", "rename"],
        ),
        (
            "sentence\tidx\ngood\t1\n",
            "sst2",
            ["train.tsv:1: no column 'label'", "Quality", "'sentence', 'idx'"],
        ),
        ("good\t1\n", "sst2", ["train.tsv:1: no column 'sentence'", "'good', '1'"]),
        ("sentence\tlabel\tLabel \ngood\t1\t0\n", "sst2", ["train.tsv:1: two columns are called 'label'"]),
        ("\t".join(f"c{n}" for n in range(40)), "sst2", ["'c11' and 28 more"]),
        ("sentence\tlabel\n", "sst2", ["train.tsv: there are no samples"]),
        ("sentence\n", "sst2", ["train.tsv:1: no column 'label'"]),
        ("", "sst2", ["train.tsv: is empty"]),
        ("\n\n", "sst2", ["train.tsv: is empty"]),
        (b"\xef\xbb\xbf", "sst2", ["train.tsv: is empty"]),
        (b"sentence\tlabel\ngood\t1\ncaf\xe9\t1\n", "sst2", ["train.tsv:3: byte 0xe9 is not UTF-8"]),
        (b"\xef\xbb\xbfsentence\tlabel\n\xff\t1\n", "sst2", ["train.tsv:2: byte 0xff is not UTF-8"]),
        ("good\t1\n".encode("utf-16"), "sst2", ["train.tsv:1: byte 0xff is not UTF-8"]),
        ("sentence1\tsentence2\tlabel\na\t\t1\n", "mrpc", ["train.tsv:2: 'sentence2' is empty"]),
        ("sentence1\tlabel\na\t1\n", "mrpc", ["train.tsv:1: no column 'sentence2' (nor #2 String"]),
        ("sentence1\tsentence2\tlabel\na\tb\tneutral\n", "rte", ["label 'neutral'", "1 (not_entailment)"]),
        (
            "gj04\t1\t\tFine.\ngj04\t1\tFine.\n",
            "cola",
            ["train.tsv:2: 3 fields instead of 4", "source, label"],
        ),
        ("gj04\tx\t\tFine.\n", "cola", ["train.tsv:1: label 'x'"]),
        ("gj04\t1\tFine.\n", "cola", ["train.tsv:1: no column 'sentence'"]),
        (
            "g\tf\ty\t1\t5\ta\tb\ng\tf\ty\t1\t5\ta\tb\tc\n",
            "stsb",
            ["train.tsv:2: 8 fields instead of 7 or 9"],
        ),
        ("sentence1\tsentence2\tscore\na\tb\tnan\n", "stsb", ["train.tsv:2: score 'nan' is not a finite"]),
        ("sentence1\tsentence2\tscore\na\tb\t1\na\tb\tinf\n", "stsb", ["train.tsv:3: score 'inf'"]),
        ("sentence1\tsentence2\tscore\na\tb\thigh\n", "stsb", ["train.tsv:2: score 'high'", "such as 3.8"]),
    ],
)
def test_mistakes_in_a_tsv(tmp_path: Path, content: str | bytes, task: str, parts: list[str]) -> None:
    message = refusal(tmp_path, content, TASKS[task])
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ('sentence,label\n"good,1\nbad,0\n', ["train.csv:2: the row that starts here", "close every quote"]),
        ('sentence,label\nok,1\n"two\nlines",1\n"x"y,0\n', ["train.csv:5: the row that starts here"]),
        ('sentence,label\nok,1\n"two\nlines",1\nx,7\n', ["train.csv:5: label '7'"]),
        ('sentence,label\n"two\nlines",7\n', ["train.csv:2: label '7'"]),
        ("sentence,label\na,b,1\n", ["train.csv:2: 3 fields instead of 2", "one comma"]),
        ("sentence,label\nok,1\n\nok,1\n", ["train.csv:3: 0 fields instead of 2"]),
        ("sentence;label\na;1\n", ["train.csv:1: no column 'sentence'", "'sentence;label'"]),
        ("sentence,label,label\na,1,1\n", ["train.csv:1: two columns are called 'label'"]),
        (f'sentence,label\nok,1\n"{"x" * 200_000}",1\n', ["train.csv:3: ", "field limit"]),
        ("sentence,label\n", ["train.csv: there are no samples"]),
        ("", ["train.csv: is empty"]),
        (b"sentence,label\nok,1\n\xff,1\n", ["train.csv:3: byte 0xff is not UTF-8"]),
    ],
)
def test_mistakes_in_a_csv(tmp_path: Path, content: str | bytes, parts: list[str]) -> None:
    message = refusal(tmp_path, content, SST2, "train.csv")
    for part in parts:
        assert part in message


GOOD = '{"sentence": "good", "label": 1}\n'


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ('{"sentence": "bad", "label": 0', "is not JSON"),
        ("", "is not JSON"),
        ('["bad", 0]', "is ['bad', 0]; a line holds one JSON object"),
        ('{"sentence": "bad"}', "no 'label', which earlier lines have; there are 'sentence'"),
        ("{}", "no 'sentence', which earlier lines have; there are none"),
        ('{"sentence": 3, "label": 0}', "'sentence' is 3, not a text"),
        ('{"sentence": null, "label": 0}', "'sentence' is None, not a text"),
        ('{"sentence": "", "label": 0}', "'sentence' is empty"),
        ('{"sentence": "\\ud83d", "label": 0}', "half of a surrogate pair"),
        ('{"sentence": "bad", "label": null}', "label None is none of 0 (negative)"),
        ('{"sentence": "bad", "label": true}', "label True is none of"),
        ('{"sentence": "bad", "label": 0.0}', "label 0.0 is none of"),
        ('{"sentence": "bad", "label": NaN}', "label nan is none of"),
        ('{"sentence": "bad", "label": 0, "label": 1}', "is not JSON (a name is there twice)"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_mistakes_in_json_lines(tmp_path: Path, line: str, part: str) -> None:
    message = refusal(tmp_path, GOOD * 2 + line + "\n" + GOOD, SST2, "train.jsonl")
    assert message.startswith("train.jsonl:3: ")
    assert part in message
    assert len(message) < 400


def test_a_missing_column_in_json_lines_lists_what_is_there(tmp_path: Path) -> None:
    message = refusal(tmp_path, '{"review": "good", "label": 1}\n', SST2, "train.jsonl")
    assert message.startswith("train.jsonl:1: no column 'sentence' (nor text)")
    assert "'review', 'label'" in message


@pytest.mark.parametrize("score", ["NaN", "Infinity", "true", "null", "[]", "1e999", '"x"'])
def test_scores_that_are_no_numbers(tmp_path: Path, score: str) -> None:
    line = f'{{"sentence1": "a", "sentence2": "b", "label": {score}}}'
    assert "train.jsonl:1: score " in refusal(tmp_path, line, STSB, "train.jsonl")


@pytest.mark.parametrize("score", ["1.1e15", "-1e38", "1e308"])
def test_scores_whose_errors_no_32_bit_number_holds(tmp_path: Path, score: str) -> None:
    line = f'{{"sentence1": "a", "sentence2": "b", "label": {score}}}'
    assert "is beyond 1e+15: give it in other units" in refusal(tmp_path, line, STSB, "train.jsonl")


def parquet(path: Path, **columns: Any) -> Path:
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_mistakes_in_parquet(tmp_path: Path) -> None:
    assert "cannot be read as Parquet" in refusal(tmp_path, b"PAR1 and no more", SST2, "a.parquet")
    assert "cannot be read as Parquet" in refusal(tmp_path, b"", SST2, "a.parquet")
    path = tmp_path / "b.parquet"
    for columns, part in (
        ({"sentence": ["good", ""], "label": [1, 0]}, "b.parquet, row 2: 'sentence' is empty"),
        ({"sentence": ["good", "bad"], "label": [1, None]}, "b.parquet, row 2: label None"),
        ({"text1": ["good"], "label": [1]}, "b.parquet, row 1: no column 'sentence'"),
        ({"sentence": [], "label": []}, "b.parquet: there are no samples"),
    ):
        with pytest.raises(DataError, match=re.escape(part)):
            read_table(parquet(path, **columns), SST2)


@pytest.mark.parametrize("ending", list(READERS))
def test_what_is_no_readable_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"train{ending}"
    with pytest.raises(DataError, match=r"cannot be read \(No such file"):
        read_table(path, SST2)
    path.mkdir()
    with pytest.raises(DataError, match="is a folder or a device"):
        read_table(path, SST2)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(DataError, match="is a folder or a device"):
        read_table(path, SST2)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "train.tsv"
    path.write_text("sentence\tlabel\ngood\t1\n")
    path.chmod(0)
    with pytest.raises(DataError, match=r"Permission denied.*check that you may read it"):
        read_table(path, SST2)


# The official QQP file is damaged in a few places: a question with a line break, or an empty one.


def test_few_damaged_lines_of_qqp_are_left_out_and_counted(tmp_path: Path) -> None:
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
    good = "".join(f"{n}\t1\t2\tHow? {n}\tWhy?\t{n % 2}\n" for n in range(15_000))
    damaged = '7\t1\t2\t"Who was he?\n"\tWas he real?\t0\n'
    read = table(tmp_path, header + damaged + good, QQP)
    assert read.left_out == 2
    assert len(read.labels) == 15_000
    assert read.texts[0][:2] == ["How? 0", "How? 1"]
    assert "train.tsv:2: 4 fields instead of 6" in refusal(tmp_path, header + damaged * 2 + good, QQP)
    assert "train.tsv:2: 4 fields instead of 6" in refusal(tmp_path, header + damaged, QQP)


def test_other_tasks_accept_no_damage() -> None:
    assert {name for name, task in TASKS.items() if task.broken_share} == {"qqp"}
    columns = {"sentence": ["good"] * 20_000 + [""], "label": [1] * 20_001}
    with pytest.raises(DataError, match="row 20001: 'sentence' is empty"):
        to_table(column_rows(columns, "hub"), SST2, "hub")
