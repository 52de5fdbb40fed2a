"""MNLI's two dev sets: texts of the genres learned from, and of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_deployment import sentences

from aimc_deploy.config.run import Run
from aimc_deploy.workflows import adapt, evaluate

Configure = Callable[..., Run]


@pytest.fixture(scope="module")
def mnli(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("MNLI")
    for name, count, seed in (("train", 48, 1), ("dev_matched", 30, 2), ("dev_mismatched", 20, 3)):
        rows = [
            f"{text}\tthe film was good\t{('entailment', 'contradiction')[label]}"
            for text, label in sentences(count, seed)
        ]
        (folder / f"{name}.tsv").write_text("\n".join(["premise\thypothesis\tlabel", *rows]) + "\n")
    return folder


def test_both_are_measured_on_every_chip(mapped: Path, configure: Configure, mnli: Path) -> None:
    config = configure(mapped).model_copy(update={"task": "mnli", "data_dir": str(mnli)})
    adapt.run(config)
    results = evaluate.run(config).results
    assert (results.metric, results.samples) == ("accuracy", 30)
    for row in results.rows:
        assert set(row.metrics) == {"accuracy", "accuracy_mm"}
        assert row.metrics["accuracy_mm"] * 20 == pytest.approx(round(row.metrics["accuracy_mm"] * 20))
    assert set(results.baselines[0].metrics) == {"accuracy", "accuracy_mm"}


def test_another_second_set_is_another_request(mapped: Path, configure: Configure, mnli: Path) -> None:
    config = configure(mapped).model_copy(update={"task": "mnli", "data_dir": str(mnli)})
    adapt.run(config)
    evaluate.run(config)
    assert evaluate.run(config, keep=True).kept
    path = mnli / "dev_mismatched.tsv"
    whole = path.read_text()
    path.write_text("\n".join(whole.splitlines()[:-3]) + "\n")
    assert not evaluate.run(config, keep=True).kept
    path.write_text(whole)
