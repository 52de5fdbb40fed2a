"""``aimc-deploy train-in-memory`` as it is called."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from command_line import call

from aimc_deploy.cli.study import Named
from aimc_deploy.config.executor import Executor
from aimc_deploy.workflows import executors
from aimc_deploy.workflows.executors import Lost
from aimc_deploy.workflows.study import studies
from aimc_deploy.workflows.study.studies import DIGITAL, STUDIES, Point, Study


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """The study gamma of the baseline and one point, without a choice of rates."""
    whole = studies.study("gamma", 1)
    points = (Point(DIGITAL, None, None, (1.0,), 1), whole.points[1])
    monkeypatch.setattr(studies, "study", lambda name, epochs: Study(name, whole.title, whole.axis, points))


def test_the_studies_that_are_offered_are_those_that_there_are() -> None:
    assert tuple(name.value for name in Named) == STUDIES


def test_a_dry_run_lists_the_points_and_writes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = call("train-in-memory", "--study", "gamma", "--seeds", "2", "--dry-run", "--out", out)
    assert told.code == 0
    assert told.out.splitlines()[:2] == [
        "0 of 6  digital SGD",
        "0 of 2  residual, alpha 0.2, beta 0.2, gamma 0",
    ]
    assert told.err.strip() == "dry run: 0 of 18 runs are done; nothing was computed"
    assert not out.exists()
    listed = call("train-in-memory", "--study", "noise", "--dry-run", "--out", out, "--format", "json").json()
    assert listed[1] == {"method": "residual", "read noise": 0.0, "runs": 9, "done": 0}


@pytest.mark.usefixtures("tiny")
def test_a_study_is_shown_as_a_table_and_told_as_json(tmp_path: Path) -> None:
    asked = ("train-in-memory", "--study", "gamma", "--seeds", "1", "--workers", "1", "--out", tmp_path)
    shown = call(*asked)
    assert shown.code == 0
    assert "share of the residual array, at high rates: percent of test digits, 1 seeds" in shown.out
    assert str(tmp_path / "accuracy.svg") in shown.out
    assert "runs: 2/2" in shown.err
    told = call(*asked, "--format", "json").json()
    assert (told["kept"], told["name"], told["seeds"]) == (2, "gamma", [0])
    assert [cell["method"] for cell in told["cells"]] == [DIGITAL, "residual, alpha 0.2, beta 0.2"]
    assert "rows" not in told["cells"][0]
    assert call(*asked, "--format", "quiet").out == ""


@pytest.mark.usefixtures("tiny")
def test_a_lost_worker_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(executor: Executor, function: Any, jobs: Sequence[Any], **named: Any) -> Iterator[Lost]:
        return (Lost(place, "killed") for place in range(len(jobs)))

    monkeypatch.setattr(executors, "run", killed)
    ended = call("train-in-memory", "--study", "gamma", "--out", tmp_path)
    assert ended.code == 2
    assert ended.message.startswith(
        "error: a run of the study was lost twice: killed; what is finished is kept"
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--study", "taus"], "'taus' is not one of 'tau', 'responses'"),
        (["--study", "tau", "--seeds", "0"], "greater than or equal to 1"),
        (["--study", "tau", "--seeds", "2000"], "less than or equal to 1000"),
        (["--study", "tau", "--seeds", "many"], "valid integer"),
        (["--study", "tau", "--epochs", "0.5"], "a study has whole epochs"),
        (["--study", "tau", "--task", "sst2"], "leave out --task"),
        (["--study", "tau", "--what", "head", "--name", "x"], "leave out --what, --name"),
        (["--study", "tau", "--workers", "0"], "greater than or equal to 1"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, options: list[str], message: str) -> None:
    ended = call("train-in-memory", *options, "--out", tmp_path)
    assert ended.code == 2
    assert message in ended.err
    assert "Traceback" not in ended.err
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = call(
        "train-in-memory", "--study", "gamma", "--epochs", "1", "--workers", "1", "--out", tmp_path / "file"
    )
    assert ended.code == 2
    assert "file" in ended.message
