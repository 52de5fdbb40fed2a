"""Tasks that a user describes: the data they name, without the guesses made for GLUE."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimc_deploy.errors import ConfigError, DataError
from aimc_deploy.tasks.data import load_data
from aimc_deploy.tasks.registry import get_task

TASK = """\
name: stars
text: [review]
label: stars
labels: ['1', '2', '3']
train: data/a.csv
dev: data/b.jsonl
"""


@pytest.fixture
def stars(tmp_path: Path) -> str:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("review,stars\nfine,3\npoor,1\n")
    (tmp_path / "data" / "b.jsonl").write_text('{"review": "so so", "stars": 2}\n')
    (tmp_path / "stars.yaml").write_text(TASK)
    return str(tmp_path / "stars.yaml")


def test_files_lie_beside_the_description(stars: str) -> None:
    task = get_task(stars)
    assert (task.name, task.outputs, task.metric) == ("stars", 3, "accuracy")
    data = load_data(task, None)
    assert data.train.texts == (["fine", "poor"],)
    assert data.train.labels == [2, 0], "the words are numbers, and only they count"
    assert data.dev.labels == [1]


def test_only_the_columns_that_are_named_count(stars: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "a.csv").write_text("sentence,label\nfine,3\n")
    with pytest.raises(DataError, match=r"a.csv:1: no column 'review' .* the columns there are"):
        load_data(get_task(stars), None)


@pytest.mark.parametrize(
    ("label", "message"), [("0", r"label '0' is none of 0 \(1\)"), ("4", "label '4' is none of")]
)
def test_a_label_that_is_none_is_refused(stars: str, tmp_path: Path, label: str, message: str) -> None:
    (tmp_path / "data" / "a.csv").write_text(f"review,stars\nfine,{label}\n")
    with pytest.raises(DataError, match=message):
        load_data(get_task(stars), None)


def test_another_folder_makes_no_sense(stars: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the file that describes task 'stars' names its data"):
        load_data(get_task(stars), tmp_path)


def test_missing_and_strange_files_are_told(stars: str, tmp_path: Path) -> None:
    (tmp_path / "data" / "a.csv").unlink()
    with pytest.raises(DataError, match=r"a.csv: cannot be read"):
        load_data(get_task(stars), None)
    Path(stars).write_text(TASK.replace("a.csv", "a.xls"))
    with pytest.raises(DataError, match=r"a.xls: of this ending no file is read: use .tsv, .csv, .jsonl"):
        load_data(get_task(stars), None)


def test_a_name_that_is_taken_is_refused(stars: str) -> None:
    Path(stars).write_text(TASK.replace("name: stars", "name: sst2"))
    with pytest.raises(ConfigError, match="name: there is a task 'sst2' already: choose another name"):
        get_task(stars)


def test_its_identity_is_what_it_asks_and_not_where_it_lies(stars: str, tmp_path: Path) -> None:
    first = get_task(stars).identity()
    other = tmp_path / "elsewhere.yaml"
    other.write_text(TASK.replace("data/", "") + "description: stars of films\n")
    assert get_task(str(other)).identity() == first
    other.write_text(TASK.replace("'3'", "'4'"))
    assert get_task(str(other)).identity() != first
