"""The noise budget of an evaluation: each non-ideality alone, on the same chips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from aimc_deploy.artifact.noise_budget import TOGETHER, losses
from aimc_deploy.artifact.results import Results, from_json, to_json
from aimc_deploy.config.nonidealities import each_alone
from aimc_deploy.config.run import Run
from aimc_deploy.workflows import evaluate

Configure = Callable[..., Run]
ASKED = {"chips": 2, "times": ("0s", "1d", "10y"), "noise_budget": 2}


@pytest.fixture(scope="module")
def measured(adapted_once: Path, configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> Results:
    import shutil

    path = Path(shutil.copytree(adapted_once, tmp_path_factory.mktemp("budget") / "bundle"))
    return evaluate.run(
        configure(path, hardware="pcm-x12", evaluate={**ASKED, "adapters": ("sst2",)})
    ).results


def test_every_part_is_measured_on_each_chip_at_both_ends(measured: Results, configure: Configure) -> None:
    parts = each_alone(configure(Path("unused"), hardware="pcm-x12").hardware)
    found = {(row.part, row.chip, row.time) for row in measured.noise_budget}
    assert found == {(part, chip, time) for part in parts for chip in (0, 1) for time in ("0s", "10y")}
    assert len(measured.noise_budget) == len(found)
    assert {(row.chip, row.time) for row in measured.rows} == {
        (chip, time) for chip in (0, 1) for time in ("0s", "1d", "10y")
    }, "the rows proper are of the whole hardware alone"


def test_what_does_nothing_costs_nothing_and_what_does_costs(measured: Results) -> None:
    digital = measured.baselines[0].metrics["accuracy"]
    own = {(row.part, row.time, row.chip): row.metrics["accuracy"] for row in measured.noise_budget}
    assert own["drift", "0s", 0] == own["drift", "0s", 1] == digital, "nothing has drifted at 0 s"
    assert own["DAC", "0s", 0] == own["DAC", "10y", 1], "a converter does not age"
    assert own["programming noise", "0s", 0] != own["programming noise", "0s", 1], "another chip"
    lost = {(loss.part, loss.time): loss for loss in losses(measured)}
    assert lost["drift", "0s"].mean == 0
    worst = [row.metrics["accuracy"] for row in measured.rows if row.time == "10y"]
    assert lost[TOGETHER, "10y"].mean == pytest.approx(digital - fmean(worst))
    assert lost[TOGETHER, "10y"].chips == 2


def test_the_costliest_comes_first_and_all_together_last(measured: Results) -> None:
    order = list(dict.fromkeys(loss.part for loss in losses(measured)))
    at_last = {loss.part: loss.mean for loss in losses(measured) if loss.time == "10y"}
    assert order[-1] == TOGETHER
    assert [at_last[part] for part in order[:-1]] == sorted(
        (at_last[part] for part in order[:-1]), reverse=True
    )


def test_it_is_kept_in_the_file(measured: Results) -> None:
    assert from_json(to_json(measured)) == measured
    assert losses(from_json(to_json(measured))) == losses(measured)


def test_another_budget_is_another_request(adapted: Path, configure: Configure) -> None:
    few = {"chips": 1, "times": ("0s",)}
    plain = evaluate.run(configure(adapted, evaluate=few), keep=True)
    assert plain.results.noise_budget == ()
    assert losses(plain.results) == []
    assert evaluate.run(configure(adapted, evaluate=few), keep=True).kept
    more = evaluate.run(configure(adapted, evaluate={**few, "noise_budget": 3}), keep=True)
    assert not more.kept
    assert {row.chip for row in more.results.noise_budget} == {0}, "no more chips than are measured"
    assert more.results.rows == plain.results.rows
