"""docs/in_memory.md is what the results of the studies give, and these are of the studies as they are."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pages import ROOT

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.workflows.study.job import Row
from aimc_deploy.workflows.study.results import Cell, Results, cell, drawn, gathered, read, write
from aimc_deploy.workflows.study.studies import DIGITAL, STUDIES, Point, Study, study

RESULTS = ROOT / "docs" / "in_memory"
MEASURED = sorted(RESULTS.glob("*.json"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("in_memory_page")


def made(name: str, **accuracies: tuple[float, ...]) -> Results:
    """Results with one cell for each method, at 1; the baseline does not depend on it."""
    points = [
        Point(
            DIGITAL if method == "digital" else method, None if method == "digital" else 1.0, None, (0.1,), 1
        )
        for method in accuracies
    ]
    cells: list[Cell] = []
    for point, values in zip(points, accuracies.values(), strict=True):
        rows = [
            Row(key="", seed=seed, lr=0.1, accuracy=value, loss=0.1, stopped=None, first_layer=None)
            for seed, value in enumerate(values)
        ]
        cells.append(cell(point, 0.1, [], rows))
    return gathered(Study(name, "title", "axis", tuple(points)), range(2), 1000, cells, [])


def test_the_page_is_what_the_results_say(script: ModuleType) -> None:
    assert (ROOT / "docs" / "in_memory.md").read_text() == script.page(RESULTS), (
        "run scripts/in_memory.py page"
    )


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_results_are_of_the_study_as_it_is_with_five_seeds_and_its_plot(path: Path) -> None:
    found, asked = read(path), study(path.stem)
    assert len(found.seeds) >= 5
    assert len(found.cells) == len(asked.points)
    for own, point in zip(found.cells, asked.points, strict=True):
        assert (own.method, own.x, own.epochs) == (point.method, point.x, point.epochs)
        # A later version may add settings.
        stored = None if own.settings is None else InMemory.model_validate(own.settings).essentials({"rms"})
        assert stored == (point.settings and point.settings.essentials({"rms"}))
        assert [row.seed for row in own.rows] == list(found.seeds)
        assert {row.lr for row in own.rows} == {own.lr}
        tried = tuple(part.lr for part in own.candidates) or (own.lr,)
        assert tried == point.rates
        if own.candidates:
            best = max(own.candidates, key=lambda part: (part.accuracy, -part.lr))
            assert own.lr == best.lr
    assert path.with_suffix(".svg").read_bytes() == drawn(found)


def test_every_claim_is_of_a_cell_that_its_study_has(script: ModuleType) -> None:
    """Figures are made up; what is looked for must be there."""
    for claim in script.CLAIMS:
        asked = study(claim.study)
        row = Row(key="", seed=0, lr=0.1, accuracy=50.0, loss=0.1, stopped=None, first_layer=None)
        cells = [cell(point, 0.1, [], [row, row]) for point in asked.points]
        figures, _ = claim.look(gathered(asked, range(2), 1000, cells, []))
        assert "50.0 ± 0.0" in figures


def test_verdicts_follow_from_the_figures(script: ModuleType) -> None:
    found = made("tau", digital=(97.0, 97.4), high=(97.0, 96.4), low=(60.0, 61.0), wide=(50.0, 99.0))
    high, low, wide = (("high", 1.0), ("low", 1.0), ("wide", 1.0))
    assert script.better(high, low)(found) == ("96.7 ± 0.4 against 60.5 ± 0.7", "yes")
    assert script.better(low, high)(found)[1] == "**no**"
    assert script.better(wide, low)(found)[1] == "not clear"
    assert script.no_worse(wide, low)(found)[1] == "yes"
    assert script.no_worse(low, high)(found)[1] == "**no**"
    assert script.near("high", 1.0)(found)[1] == "yes"
    assert script.near("high", 1.0, points=0.4)(found)[1] == "**no**"
    assert script.below("low", 1.0, 62.0)(found)[1] == "yes"
    assert script.below("low", 1.0, 61.0)(found)[1] == "**no**", "it might be chance"
    with pytest.raises(ValueError, match="the study tau has no high at 2"):
        script.better(("high", 2.0), low)(found)


def test_what_is_not_measured_is_told_and_other_results_are_refused(
    script: ModuleType, tmp_path: Path
) -> None:
    assert script.page(tmp_path).count("Not measured yet.") == len(STUDIES) + 1, "and the encoder"
    write(tmp_path, made("tau", digital=(1.0, 2.0)))
    (tmp_path / "results.json").rename(tmp_path / "noise.json")
    with pytest.raises(ValueError, match="noise are results of other studies"):
        script.page(tmp_path)


def encoder(script: ModuleType, **means: float) -> Any:
    """Results of the pretrained encoder: 80 % in every cell but those of some methods."""
    sst2 = script.in_memory_sst2
    cells = []
    for what, method, states in sst2.places():
        mean = means.get(method.split(",")[0].replace(" ", "_").replace("-", "_"), 80.0)
        rates = sst2.RATES[what][method]
        cells.append(
            sst2.Cell(
                what=what,
                method=method,
                states=states,
                lr=rates[1],
                candidates=dict.fromkeys(rates, 70.0),
                accuracy=(mean - 1, mean, mean + 1),
            )
        )
    return sst2.Measured(
        samples=2000,
        steps=63,
        held_out=1000,
        seeds=(0, 1, 2),
        choosing_seeds=(1000, 1001, 1002),
        versions={"torch": "2.0", "cuda": "not available"},
        cells=tuple(cells),
    )


def test_the_pretrained_encoder_is_told_with_its_best_method_and_analog_sgds_loss(
    script: ModuleType, tmp_path: Path
) -> None:
    script.in_memory_sst2.write(
        tmp_path / "sst2" / "results.json", encoder(script, digital=82.0, residual=81.5, Analog_SGD=55.0)
    )
    text = script.page(tmp_path)
    assert "| Analog SGD | 55.0 ± 1.0 | 55.0 ± 1.0 |" in text
    assert (
        "Best of those in memory at 200 states: residual, -0.5 points from digital; Analog SGD -27.0." in text
    )
    assert "torch 2.0 on a processor" in text


def test_the_encoders_runs_are_all_there_with_rates_from_those_tried(script: ModuleType) -> None:
    sst2 = script.in_memory_sst2
    found = sst2.read(RESULTS / "sst2" / "results.json")
    assert [(cell.what, cell.method, cell.states) for cell in found.cells] == sst2.places()
    for own in found.cells:
        assert sorted(own.candidates) == sorted(sst2.RATES[own.what][own.method])
        assert own.candidates[own.lr] == max(own.candidates.values())
        assert len(own.accuracy) == len(found.seeds) == 3
