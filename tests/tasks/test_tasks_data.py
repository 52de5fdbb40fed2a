"""Where data is looked for, what a split is, and the real files of GLUE."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import datasets
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimc_deploy.errors import DataError
from aimc_deploy.tasks.data import Split, TaskData, load_data, sample, where
from aimc_deploy.tasks.registry import TASKS, get_task

GLUE = Path(__file__).parents[2].parent / "shared" / "data" / "glue"
REVIEWS = resources.files("aimc_deploy") / "data" / "reviews"
SST2, MNLI, STSB = TASKS["sst2"], TASKS["mnli"], TASKS["stsb"]

needs_glue = pytest.mark.skipif(not GLUE.is_dir(), reason=f"needs the GLUE files in {GLUE}")


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("no route\nto the hub")

    monkeypatch.setattr(datasets, "load_dataset", refuse)


def put(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return folder


ROWS = "sentence\tlabel\ngood\t1\nbad\t0\n"


def whole(size: int) -> Split:
    return Split(([f"text {n}" for n in range(size)],), list(range(size)), "somewhere", "")


# The real files


@needs_glue
@pytest.mark.parametrize(
    ("name", "train", "dev"),
    [
        ("sst2", 67_349, 872),
        ("cola", 8_551, 1_043),
        ("mrpc", 3_668, 408),
        ("rte", 2_490, 277),
        ("stsb", 5_749, 1_500),
        ("wnli", 635, 71),
    ],
)
def test_the_files_of_glue(name: str, train: int, dev: int) -> None:
    task = TASKS[name]
    data = load_data(task, GLUE)
    assert (len(data.train), len(data.dev)) == (train, dev)
    for split in (data.train, data.dev):
        assert [len(column) for column in split.texts] == [len(split)] * len(task.text_columns)
        if task.kind == "score":
            assert all(isinstance(label, float) and 0 <= label <= 5 for label in split.labels)
        else:
            assert set(split.labels) == set(range(len(task.labels)))
        assert split.source.startswith(str(GLUE / task.folder))
    assert data.train.sha256 != data.dev.sha256
    folder = GLUE / task.folder
    assert where(task, GLUE) == where(task, GLUE.parent) == where(task, folder) == str(folder)


@needs_glue
def test_what_stands_in_the_files_of_glue() -> None:
    sst2 = load_data(SST2, GLUE).dev
    assert sum(sst2.labels) == 444
    assert sst2.texts[0][0] == "it 's a charming and often affecting journey . "
    mrpc = load_data(TASKS["mrpc"], GLUE).dev
    assert mrpc.texts[1][0].startswith('"The foodservice pie'), "a lone quote is text"
    assert sum(mrpc.labels) == 279
    assert sum(load_data(TASKS["cola"], GLUE).dev.labels) == 721
    rte = load_data(TASKS["rte"], GLUE).dev
    assert rte.labels[:2] == [1, 0], "the first is not_entailment"
    assert rte.labels.count(0) == 146
    stsb = load_data(STSB, GLUE)
    assert stsb.dev.labels[:3] == [5.0, 4.75, 5.0]
    assert (stsb.train.texts[0][0], stsb.train.labels[1]) == ("A plane is taking off.", 3.8)


def test_the_bundled_reviews() -> None:
    data = load_data(get_task("reviews"), None)
    train, dev = data.train.texts[0], data.dev.texts[0]
    assert len(train) + len(dev) >= 1200
    for split in (data.train, data.dev):
        assert abs(sum(split.labels) / len(split) - 0.5) < 0.02, "both classes are equally frequent"
    plain = [[" ".join(text.casefold().split()) for text in texts] for texts in (train, dev)]
    assert len(set(plain[0] + plain[1])) == len(plain[0]) + len(plain[1]), "every review is there once"
    assert data.train.source == "bundled reviews train"


# Where files are looked for


@pytest.mark.parametrize("below", ["", "SST-2", "glue/SST-2"])
@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl"])
@pytest.mark.parametrize("dev", ["dev", "validation"])
def test_folders_and_names(tmp_path: Path, below: str, ending: str, dev: str) -> None:
    rows = {
        ".tsv": ROWS,
        ".csv": ROWS.replace("\t", ","),
        ".jsonl": '{"sentence": "good", "label": 1}\n{"sentence": "bad", "label": "negative"}',
    }
    put(tmp_path / below, **{f"train{ending}": rows[ending], f"{dev}{ending}": rows[ending]})
    data = load_data(SST2, tmp_path)
    assert data.dev.source == str(tmp_path / below / f"{dev}{ending}")
    assert where(SST2, tmp_path) == str(tmp_path / below)
    # The content counts, not the format.
    digest = hashlib.sha256(b'["good", 1]\n["bad", 0]\n').hexdigest()
    assert data.train == Split((["good", "bad"],), [1, 0], str(tmp_path / below / f"train{ending}"), digest)
    assert data.dev.sha256 == digest


def test_the_folder_itself_comes_first(tmp_path: Path) -> None:
    put(tmp_path / "SST-2", train__tsv=ROWS, dev__tsv=ROWS)
    put(tmp_path, train__tsv=ROWS)  # half a pair is none
    assert where(SST2, tmp_path) == str(tmp_path / "SST-2")
    put(tmp_path, dev__tsv=ROWS)
    assert where(SST2, tmp_path) == str(tmp_path)


def test_names_that_only_some_tasks_have(tmp_path: Path) -> None:
    pair = "sentence1\tsentence2\tlabel\na\tb\t1\n"
    put(tmp_path / "MNLI", train__tsv=pair, dev_matched__tsv=pair)
    data = load_data(MNLI, tmp_path)
    assert data.dev.source.endswith("dev_matched.tsv")
    assert data.second is None
    put(tmp_path / "MNLI", train__tsv=pair, dev_matched__tsv=pair, dev_mismatched__tsv=pair)
    second = load_data(MNLI, tmp_path).second
    assert second is not None
    assert second.source.endswith("dev_mismatched.tsv")
    put(
        tmp_path / "STS-B",
        **{"sts-train.tsv": "g\tf\ty\ti\t2.5\ta\tb\n", "sts-dev.tsv": "g\tf\ty\ti\t0\ta\tb\n"},
    )
    assert load_data(STSB, tmp_path).train.labels == [2.5]
    put(tmp_path / "SST-2", **{"sts-train.tsv": ROWS, "sts-dev.tsv": ROWS})
    with pytest.raises(DataError, match="found neither"):
        load_data(SST2, tmp_path)


def test_missing_files_say_what_is_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_data(SST2, tmp_path)
    message = str(caught.value)
    assert "task 'sst2' is missing: found neither" in message
    assert all(str(tmp_path / below) in message for below in ("SST-2", "glue/SST-2"))
    assert "train.tsv and dev.tsv (also validation, .csv, .jsonl, .parquet)" in message
    assert where(SST2, tmp_path) == f"missing: {message}"

    put(tmp_path / "SST-2", train__csv=ROWS)
    with pytest.raises(DataError, match=r"found only .*train\.csv"):
        load_data(SST2, tmp_path)


def test_two_files_for_one_split_are_refused(tmp_path: Path) -> None:
    put(tmp_path, train__tsv=ROWS, dev__tsv=ROWS, validation__csv=ROWS)
    with pytest.raises(DataError, match=r"both dev\.tsv and validation\.csv"):
        load_data(SST2, tmp_path)
    assert where(SST2, tmp_path).startswith("missing: ")


def test_a_data_folder_that_is_none(tmp_path: Path) -> None:
    path = put(tmp_path, train__tsv=ROWS) / "train.tsv"
    for wrong in (path, tmp_path / "nowhere"):
        with pytest.raises(
            DataError, match=r"--data-dir .* is not a folder: name the one that holds train\.tsv"
        ):
            load_data(SST2, wrong)
        assert where(SST2, wrong).startswith("missing: --data-dir")


def test_a_mistake_in_a_file_is_reported_with_its_line(tmp_path: Path) -> None:
    put(tmp_path, train__tsv=ROWS, dev__tsv=ROWS + "so so\t3\n")
    with pytest.raises(DataError, match=r"dev\.tsv:4: label '3'"):
        load_data(SST2, tmp_path)
    assert where(SST2, tmp_path) == str(tmp_path), "the listing reads no file"


def test_one_class_is_allowed(tmp_path: Path) -> None:
    put(tmp_path, train__tsv=ROWS, dev__tsv="sentence\tlabel\ngood\t1\nfine\t1\n")
    assert load_data(SST2, tmp_path).dev.labels == [1, 1]


# The reviews and the hub


def test_the_reviews_are_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews = TASKS["reviews"]
    put(tmp_path, train__tsv=ROWS, dev__tsv=ROWS)
    assert where(reviews, None) == where(reviews, tmp_path) == "bundled"
    with pytest.raises(DataError, match=r"comes with its own data .* leave out --data-dir"):
        load_data(reviews, tmp_path)
    monkeypatch.setattr("aimc_deploy.tasks.data.resources.files", lambda _: tmp_path)
    with pytest.raises(DataError, match=r"train\.tsv is missing: this installation is incomplete"):
        load_data(reviews, None)
    put(tmp_path / "data" / "reviews", train__tsv=ROWS, dev__tsv=ROWS)
    data = load_data(reviews, None)
    assert (data.train.texts, data.train.labels) == ((["good", "bad"],), [1, 0])
    assert data.dev.source == "bundled reviews dev"


def hub(content: dict[str, dict[str, list[Any]]], asked: list[Any]) -> Any:
    def load_dataset(repository: str, configuration: str, *, split: str) -> datasets.Dataset:
        asked.append((repository, configuration, split))
        return datasets.Dataset.from_dict(content[split])

    return load_dataset


def test_the_hub_is_asked_without_a_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    train = {"premise": ["p"], "hypothesis": ["h"], "label": [2], "idx": [0]}
    dev = {"premise": ["q"], "hypothesis": ["i"], "label": [0], "idx": [0]}
    other = {"premise": ["r"], "hypothesis": ["j"], "label": [1], "idx": [0]}
    content = {"train": train, "validation_matched": dev, "validation_mismatched": other}
    monkeypatch.setattr(datasets, "load_dataset", hub(content, asked))
    data = load_data(MNLI, None)
    splits = ("train", "validation_matched", "validation_mismatched")
    assert asked == [("nyu-mll/glue", "mnli", split) for split in splits]
    assert data.second is not None
    assert (data.second.texts, data.second.labels) == ((["r"], ["j"]), [1])
    assert (data.train.texts, data.train.labels) == ((["p"], ["h"]), [2])
    assert (data.dev.texts, data.dev.labels) == ((["q"], ["i"]), [0])
    assert data.dev.source == "nyu-mll/glue mnli validation_matched"
    assert (
        where(MNLI, None) == "missing: taken from the hub (nyu-mll/glue mnli) when used, or from --data-dir"
    )


def test_damage_in_qqp_is_told_in_the_source(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 10_000
    columns = {"question1": ["a"] * size, "question2": ["", *["b"] * (size - 1)], "label": [0] * size}
    monkeypatch.setattr(datasets, "load_dataset", hub({"train": columns, "validation": columns}, []))
    data = load_data(TASKS["qqp"], None)
    assert len(data.train) == size - 1
    assert data.train.source == "nyu-mll/glue qqp train (1 damaged left out)"


def test_labels_that_the_hub_hides_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = {"sentence": ["good"], "label": [-1]}
    monkeypatch.setattr(datasets, "load_dataset", hub({"train": columns, "validation": columns}, []))
    with pytest.raises(DataError, match="nyu-mll/glue sst2 train, row 1: label -1 is none of 0"):
        load_data(SST2, None)


def test_no_hub_says_both_ways_to_the_data() -> None:
    with pytest.raises(DataError) as caught:
        load_data(SST2, None)
    message = str(caught.value)
    assert "the hub did not give nyu-mll/glue sst2 train (no route)" in message
    assert "connect to the network once, or give --data-dir FOLDER with train.tsv and dev.tsv" in message
    assert "FOLDER/SST-2" in message
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_a_data_folder_is_never_replaced_by_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(datasets, "load_dataset", hub({}, asked))
    with pytest.raises(DataError):
        load_data(SST2, tmp_path)
    assert not asked


def test_a_listing_is_quick() -> None:
    code = (
        "import sys; from aimc_deploy.tasks.registry import TASKS; from aimc_deploy.tasks.data import where; "
        "[where(task, None) for task in TASKS.values()]; "
        "print([name for name in ('torch', 'datasets', 'pyarrow', 'sklearn') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    assert subprocess.run(command, check=True, capture_output=True, text=True, cwd=root).stdout == "[]\n"


# Samples and digests


@given(size=st.integers(1, 60), data=st.data(), seed=st.integers(0, 2**31 - 1))
def test_a_sample_is_drawn_without_replacement(size: int, data: st.DataObject, seed: int) -> None:
    split = whole(size)
    n = data.draw(st.integers(1, size))
    drawn = sample(split, n, seed)
    assert len(drawn) == len(set(drawn.labels)) == n
    assert drawn.texts == ([f"text {label}" for label in drawn.labels],), "text and label stay together"
    assert drawn == sample(split, n, seed)
    more = sample(split, size, seed)
    assert more.labels[:n] == drawn.labels
    assert sorted(more.labels) == split.labels


def test_a_sample_depends_on_the_seed_alone() -> None:
    split = whole(1000)
    assert sample(split, 5, 0).labels == [199, 340, 850, 548, 755], "as runs of before"
    assert sample(split, 5, 0).source == "somewhere (5 of 1000, seed 0)"
    drawn = {tuple(sample(split, 5, seed).labels) for seed in range(50)}
    assert len(drawn) == 50
    # Every part of the data is drawn from: the mean of 200 of 0..999 has a standard error of 18.
    assert abs(sum(sample(split, 200, 3).labels) / 200 - 499.5) < 90


@pytest.mark.parametrize("n", [-1, 0, 11])
def test_a_sample_of_an_impossible_size(n: int) -> None:
    with pytest.raises(DataError, match=f"{n} samples asked for, but somewhere has 10: ask for 1 to 10"):
        sample(whole(10), n, 0)


def test_the_digest_is_of_the_content_in_its_order(tmp_path: Path) -> None:
    def digests(rows: str) -> TaskData:
        put(tmp_path, train__tsv=ROWS, dev__tsv=rows)
        return load_data(SST2, tmp_path)

    same = digests("label\tidx\tsentence\r\npositive\t7\tgood\r\n0\t8\tbad\r\n")
    assert same.dev.sha256 == same.train.sha256
    for other in (
        "sentence\tlabel\nbad\t0\ngood\t1\n",
        "sentence\tlabel\ngood\t0\nbad\t0\n",
        "sentence\tlabel\ngood \t1\nbad\t0\n",
        "sentence\tlabel\ngood\t1\n",
    ):
        assert digests(other).dev.sha256 != same.train.sha256
