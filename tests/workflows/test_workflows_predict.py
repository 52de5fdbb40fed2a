"""What a chip says of texts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aimc_deploy.artifact.results import Row
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, DataError
from aimc_deploy.tasks.data import load_data
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import evaluate, predict

Configure = Callable[..., Run]


def accuracy(found: list[predict.Prediction], labels: list[int]) -> float:
    words = get_task("sst2").labels
    return float(np.mean([part.answer == words[label] for part, label in zip(found, labels, strict=True)]))


def test_it_says_what_the_evaluation_measured(adapted: Path, configure: Configure, data: Path) -> None:
    config = configure(adapted)
    dev = load_data(get_task("sst2"), data).dev
    measured: dict[tuple[int, str], Row] = {
        (row.chip, row.time): row for row in evaluate.run(config).results.rows
    }
    for chip, time in ((0, "0s"), (1, "1y")):
        found = predict.run(config, dev.texts[0], chip=chip, at=time)
        assert [part.texts for part in found] == [(text,) for text in dev.texts[0]]
        assert accuracy(found, dev.labels) == pytest.approx(measured[chip, time].metrics["accuracy"])
        assert all(0.5 <= (part.probability or 0) <= 1 for part in found)
    digital = predict.run(config, dev.texts[0], chip=None)
    assert [part.probability for part in digital] != [part.probability for part in found]


def test_a_file_needs_no_labels(adapted: Path, configure: Configure, tmp_path: Path) -> None:
    config, texts = configure(adapted), ["good film", "a very dull plot"]
    for name, content in (
        ("plain.csv", "sentence\ngood film\na very dull plot\n"),
        ("labelled.tsv", "label\tsentence\n1\tgood film\n0\ta very dull plot\n"),
        ("lines.jsonl", '{"text": "good film"}\n{"text": "a very dull plot"}\n'),
    ):
        (tmp_path / name).write_text(content)
        found = predict.run(config, (), file=tmp_path / name, chip=2)
        assert found == predict.run(config, texts, chip=2), name


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([], "task 'sst2' needs a text: 0 given. Quote each text; many go into --file"),
        (["good", "  "], "text 2 is empty"),
    ],
)
def test_missing_texts_are_told(adapted: Path, configure: Configure, texts: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        predict.run(configure(adapted), texts)


def test_pairs_come_in_twos(adapted: Path, configure: Configure) -> None:
    with pytest.raises(DataError, match="needs sentence1 and sentence2, in this order, for each: 3 given"):
        predict._columns(get_task("rte"), ["a", "b", "c"])
    assert predict._columns(get_task("rte"), ["a", "b", "c", "d"]) == (["a", "c"], ["b", "d"])


def test_an_adapter_for_another_task_or_none_is_refused(adapted: Path, configure: Configure) -> None:
    config = configure(adapted)
    with pytest.raises(ArtifactError, match="adapter 'sst2' is for task 'sst2': use --task sst2"):
        predict.run(config.model_copy(update={"task": "cola"}), ["a"], adapter="sst2")
    with pytest.raises(ArtifactError, match="has no adapter for 'cola'"):
        predict.run(config.model_copy(update={"task": "cola"}), ["a"])


def test_a_file_without_texts_is_refused(adapted: Path, configure: Configure, tmp_path: Path) -> None:
    path = tmp_path / "empty.csv"
    path.write_text("sentence\n")
    with pytest.raises(DataError, match=r"there are no texts in it|needs a header and at least one"):
        predict.run(configure(adapted), (), file=path)
