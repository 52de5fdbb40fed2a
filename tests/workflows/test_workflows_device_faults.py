"""The campaign of device faults measures what the commands measure, keeps it, and tells it."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import fmean
from types import ModuleType
from typing import Any

import pytest

from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import adapt, evaluate

Configure = Callable[..., Run]
SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a script by its name."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


def accuracies(config: Run, chip: int, **settings: Any) -> list[float]:
    """What ``aimc-deploy evaluate`` finds without hardware, and on a chip, one a time."""
    asked = {"chip": chip, "times": ("0s", "1y"), "unadapted": False, **settings}
    own = config.model_copy(update={"evaluate": config.evaluate.model_copy(update=asked)})
    results = evaluate.run(own, out="measured").results
    rows = [*results.baselines, *sorted(results.rows, key=lambda row: row.t_s)]
    return [row.metrics["accuracy"] for row in rows]


def test_a_cell_is_what_the_commands_measure_whatever_was_measured_before(
    script: Callable[[str], ModuleType],
    adapted: Path,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, job = script("faults_plan"), script("faults_job")
    monkeypatch.setattr(job, "SAMPLES", 32)
    monkeypatch.setattr(job, "EPOCHS", 4.0)
    config = configure(adapted, adapt={"learning_rate": 2.0e-2})

    def cell(treatment: str) -> Any:
        return plan.Cell(kind="stuck_at_g_max", unit="cell", rate=0.05, treatment=treatment, chip=1)

    found = {
        treatment: job.measure(job.Job(config.model_dump_json(), "sst2", None, cell(treatment)))
        for treatment in ("re-adaptation", "nothing", "placement")
    }
    digital = job.measure(job.Job(config.model_dump_json(), "sst2", None, None))
    measured = {treatment: [row.accuracy for row in rows] for treatment, rows in found.items()}
    assert [row.time for row in found["nothing"]] == ["0s", "1y"]
    faulty = {name: cell(name).hardware(config.hardware) for name in found}
    for treatment in ("nothing", "placement"):
        own = config.model_copy(update={"hardware": faulty[treatment]})
        assert [digital, *measured[treatment]] == accuracies(own, 1, adapters=("sst2",))

    trained = {
        "chip": 1,
        "age": "0s",
        "epochs": 4.0,
        "train_samples": 32,
        "start_from": "sst2",
        "name": "own",
    }
    own = config.model_copy(
        update={"hardware": faulty["nothing"], "adapt": config.adapt.model_copy(update=trained)}
    )
    adapt.run(own)
    assert measured["re-adaptation"] == accuracies(own, 1, adapters=("own",))[1:]
    assert measured["nothing"] != measured["re-adaptation"] != measured["placement"]

    few = job.measure(job.Job(config.model_dump_json(), "sst2", 7, cell("nothing")))
    assert all((7 * row.accuracy) == pytest.approx(round(7 * row.accuracy)) for row in few)
    assert len(job.opened(config.model_dump_json(), "sst2", 7).dev) == 7


def test_the_plan_has_every_rate_kind_and_unit_once_and_single_devices_first(
    script: Callable[[str], ModuleType],
) -> None:
    plan = script("faults_plan")
    cells = plan.cells()
    assert len(set(cells)) == len(cells)
    nothing = {(cell.kind, cell.unit, cell.rate, cell.chip) for cell in cells if cell.treatment == "nothing"}
    assert len(nothing) == 10 + 6 * 3 * 4 * 10
    placed = [cell for cell in cells if cell.treatment == "placement"]
    assert {cell.hardware(plan.Hardware()).faults.known for cell in placed} == {True}
    assert {cell.unit for cell in placed} == {"cell", "row", "column"}
    adapted = [cell for cell in cells if cell.treatment == "re-adaptation"]
    assert {(cell.rate, cell.unit) for cell in adapted if cell.unit == "cell"} == {
        (rate, "cell") for rate in (0.005, 0.01, 0.02, 0.05)
    }
    assert not any(cell.hardware(plan.Hardware()).faults.known for cell in adapted)
    units = [cell.unit for cell in cells]
    assert units.index("row") > max(at for at, unit in enumerate(units) if unit == "cell")


@pytest.fixture
def made(script: Callable[[str], ModuleType]) -> Any:
    """Results without rows."""
    return script("faults_plan").Results(
        model="mini",
        task="sst2",
        metric="accuracy",
        samples=100,
        dev=400,
        seed=0,
        request="0" * 64,
        digital=0.95,
        tiles=4,
        utilisation=0.5,
        strategy="naive",
        versions={"torch": "1", "transformers": "2", "cuda": "none"},
    )


def row(script: Callable[[str], ModuleType], kind: str | None, rate: float, **more: Any) -> Any:
    unit = None if kind is None else "cell"
    own = {"unit": unit, "treatment": "nothing", "chip": 0, "time": "0s", **more}
    return script("faults_plan").Row(kind=kind, rate=rate, **own)


def test_what_is_measured_is_kept_whatever_ends_it(
    tmp_path: Path, script: Callable[[str], ModuleType], made: Any
) -> None:
    plan, faults, path = script("faults_plan"), script("faults"), tmp_path / "faults-mini.json"
    later, first = (
        row(script, "stuck_at_zero", rate, accuracy=0.5, time=time)
        for rate, time in ((0.001, "1y"), (0.05, "0s"))
    )

    def stopped() -> Iterator[list[Any]]:
        yield [later]
        yield [first]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        faults._gather(path, made, stopped(), 3)
    found = plan.read(path)
    assert found.rows == (first, later), "in the order of the plan"
    assert found.cells() == {first.cell, later.cell}
    assert found.model_copy(update={"rows": (), "seconds": 0.0}) == made
    faults._gather(path, found, iter([]), 0)
    assert plan.read(path).rows == found.rows


def test_results_of_other_settings_are_not_mixed(
    script: Callable[[str], ModuleType], made: Any, adapted: Path, configure: Configure, tmp_path: Path
) -> None:
    plan, faults, path = script("faults_plan"), script("faults"), tmp_path / "faults-mini.json"
    config = configure(adapted)
    every, few = faults._request(config, "sst2", None), faults._request(config, "sst2", 100)
    assert faults._begun(path, every) is None
    plan.write(path, made.model_copy(update={"request": few}))
    with pytest.raises(ArtifactError, match="another bundle, adapter, samples or settings"):
        faults._begun(path, every)
    own = made.model_copy(update={"request": every})
    plan.write(path, own)
    assert faults._begun(path, every) == own


def test_the_page_tells_means_and_what_is_harmless(
    tmp_path: Path, script: Callable[[str], ModuleType], made: Any
) -> None:
    plan, page = script("faults_plan"), script("faults_page")
    told = {0.0005: (0.90, 0.90), 0.001: (0.88, 0.90), 0.005: (0.5, 0.7), 0.01: (0.9, 0.9)}
    rows = [row(script, None, 0.0, chip=chip, accuracy=0.9) for chip in range(2)]
    for rate, values in told.items():
        rows += [
            row(script, "stuck_at_random", rate, chip=chip, accuracy=value)
            for chip, value in enumerate(values)
        ]
    plan.write(tmp_path / "faults-mini.json", made.model_copy(update={"rows": tuple(rows)}))
    (section,) = page.sections(tmp_path)
    (table,) = section.tables
    assert [(line.kind, line.treatment) for line in table.lines] == [("random", "nothing")]
    assert table.lines[0].texts == ("90.0 ± 0.0", "89.0 ± 1.4", "60.0 ± 14.1", "90.0 ± 0.0", "", "")
    harmless = {(line.kind, line.treatment): line.texts for line in section.harmless}
    assert section.columns == ("cell",)
    assert harmless["random", "nothing"] == ("0.1 %",)
    assert harmless["random", "placement"] == ("",)
    ((path, picture),) = page.pictures(tmp_path)
    assert path == tmp_path / "faults-mini.svg"
    assert picture.count(b"<svg") == 1
    assert b"cell, g_max, 0 s" in picture
    assert b"row, g_max" not in picture, "nothing was measured"
    plan.write(path.with_suffix(".json"), made.model_copy(update={"rows": tuple(rows[:2])}))
    ((_, picture),) = page.pictures(tmp_path)
    assert b"cell, g_max, 0 s" in picture, "what there is without faults alone"


def test_what_the_page_concludes_is_what_was_measured(script: Callable[[str], ModuleType]) -> None:
    plan, page = script("faults_plan"), script("faults_page")
    folder = Path(__file__).parents[2] / "docs" / "reliability"
    results = [plan.read(folder / f"faults-{name}.json") for name in ("mini", "minilm")]
    mini, minilm = ({key: 100 * mark.mean for key, mark in page.marks(of).items()} for of in results)
    for of in results:  # on sound chips, the same three of both
        rows = [row for row in of.rows if row.kind is None and row.time == "0s" and row.chip < 3]
        nothing, adapted = (
            fmean(row.accuracy for row in rows if row.treatment == treatment)
            for treatment in ("nothing", "re-adaptation")
        )
        assert nothing - adapted < 0.013

    def cost(found: dict[Any, float], *key: Any) -> float:
        unit, kind, _, _, time = key
        return found[unit, kind, 0.0, "nothing", time] - found[key]

    for found in (mini, minilm):
        assert cost(found, "cell", "stuck_at_zero", 0.05, "nothing", "0s") < 1.05
        placed = [cost(found, *key) for key in found if key[3:] == ("placement", "0s")]
        assert max(placed) < 1.25
        assert cost(found, "cell", "stuck_at_zero", 0.05, "placement", "1y") < 1.25
        for rate in (0.005, 0.01, 0.02, 0.05):
            column, cell = (
                cost(found, unit, "stuck_at_g_max", rate, "nothing", "0s") for unit in ("column", "cell")
            )
            assert column > cell
    for unit in ("cell", "column"):
        costs = [
            {rate: cost(found, unit, "stuck_at_g_max", rate, "nothing", "0s") for rate in plan.RATES}
            for found in (mini, minilm)
        ]
        most = [max(rate for rate, points in own.items() if points <= 1) for own in costs]
        assert most[0] == pytest.approx(10 * most[1])
    at_5 = {kind: cost(minilm, "row", kind, 0.05, "nothing", "0s") for kind in plan.KINDS}
    assert max(at_5["stuck_at_zero"], at_5["stuck_at_g_max"]) < 2.3 < 7 < at_5["stuck_at_random"]
    few = {time: cost(minilm, "cell", "stuck_at_g_max", 0.005, "nothing", time) for time in ("0s", "1y")}
    assert {time: round(points) for time, points in few.items()} == {"0s": 4, "1y": 26}
    assert round(minilm["cell", "stuck_at_g_max", 0.01, "placement", "1y"]) == 69
    won = {
        key: 1 - cost(minilm, *key) / lost
        for key in minilm
        if key[2] and key[3] == "re-adaptation" and (lost := cost(minilm, *key[:3], "nothing", key[4])) > 10
    }
    new, old = ([share for key, share in won.items() if key[4] == time] for time in ("0s", "1y"))
    assert 0.45 < min(new) < max(new) < 0.85
    assert max(old) < 0.5


def test_a_signal_to_end_is_no_loss(
    tmp_path: Path, script: Callable[[str], ModuleType], made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, faults, path = script("faults_plan"), script("faults"), tmp_path / "faults-mini.json"
    found = row(script, "stuck_at_zero", 0.05, accuracy=0.5)

    def ended() -> Iterator[list[Any]]:
        yield [found]
        os.kill(os.getpid(), signal.SIGTERM)
        yield [found]

    monkeypatch.setattr(faults, "measure", lambda arguments: faults._gather(path, made, ended(), 2))
    monkeypatch.setattr(sys, "argv", ["faults.py", "mini"])
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit, match="143"):
            faults.main()
    finally:
        signal.signal(signal.SIGTERM, before)
    assert plan.read(path).rows == (found,)
