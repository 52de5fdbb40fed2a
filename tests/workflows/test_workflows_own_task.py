"""A task that a user describes, from the adapter to the results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_deployment import sentences

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.workflows import adapt, evaluate

Configure = Callable[..., Run]


@pytest.fixture(scope="module")
def moods(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("moods")
    for name, count, seed in (("train", 96, 1), ("dev", 40, 2)):
        rows = [f"{text},{('sad', 'glad')[label]}" for text, label in sentences(count, seed)]
        (folder / f"{name}.csv").write_text("\n".join(["words,mood", *rows]) + "\n")
    path = folder / "moods.yaml"
    path.write_text(
        "name: moods\ntext: [words]\nlabel: mood\nlabels: [sad, glad]\nmetric: f1\n"
        "train: train.csv\ndev: dev.csv\n"
    )
    return path


def test_it_is_adapted_to_and_measured_under_its_name(
    mapped: Path, configure: Configure, moods: Path
) -> None:
    config = configure(mapped).model_copy(update={"task": str(moods), "data_dir": None})
    result = adapt.run(config)
    assert result.name == "moods"
    assert (result.record.task, result.record.metric) == ("moods", "f1")
    measured = evaluate.run(config)
    assert measured.results.metric == "f1"
    assert {name for row in measured.results.rows for name in row.metrics} == {"f1", "accuracy", "matthews"}
    assert "results/moods.json" in Bundle.open(mapped).manifest.files
    assert evaluate.run(config, keep=True).kept
    elsewhere = moods.with_name("moved.yaml")
    elsewhere.write_text(moods.read_text())
    moved = config.model_copy(update={"task": str(elsewhere)})
    assert evaluate.run(moved, keep=True).kept, "the same task, wherever it is described"
    assert adapt.run(moved, existing="keep").kept
