"""Evaluate: what was finished before an interruption is not measured again, and changes no byte."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from shell import Shell, write_recipe
from tiny_deployment import Said, files_of

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import LayerErrors, Row
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Run
from aimc_deploy.workflows import evaluate, jobs
from aimc_deploy.workflows.jobs import Job

Configure = Callable[..., Run]

NOISY = load_preset("pcm-x4").model_copy(update={"output_noise": 0.5})
# Seven jobs: two without hardware, four chips, and the layers and parts of one of them.
SETTINGS = {"adapters": ("sst2",), "chips": 2, "times": ("0s", "1y"), "unadapted": True, "noise_budget": 1}


@pytest.fixture
def config(adapted: Path, configure: Configure) -> Run:
    return configure(adapted, evaluate=SETTINGS, hardware=NOISY)


@pytest.fixture
def uninterrupted(tmp_path: Path, adapted: Path, config: Run) -> dict[str, bytes]:
    """The results that every other way must end with."""
    other = Path(shutil.copytree(adapted, tmp_path / "uninterrupted"))
    evaluate.run(config.model_copy(update={"bundle": str(other)}))
    assert not Bundle.open(other).work.exists(), "nothing is left behind"
    return files_of(other / "results")


def interrupt(monkeypatch: pytest.MonkeyPatch, config: Run, at: int, progress: Any = None) -> list[Job]:
    """Evaluate until the job after ``at`` others has given its first row; the jobs that were begun."""
    real, begun = jobs._run_job, []

    def watched(job: Job) -> Iterator[Row | LayerErrors]:
        begun.append(job)
        for found in real(job):
            if len(begun) > at:
                raise KeyboardInterrupt
            yield found

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "_run_job", watched)
        try:
            evaluate.run(config, progress=progress)
        except KeyboardInterrupt:
            assert len(begun) == at + 1
    return begun


def kept(config: Run) -> list[Path]:
    return sorted(Bundle.open(Path(config.bundle)).work.glob("evaluate/sst2/*/*.json"))


def test_every_interruption_ends_with_the_same_bytes_and_measures_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, config: Run, uninterrupted: dict[str, bytes]
) -> None:
    lines = Said()
    assert len(interrupt(monkeypatch, config, 2, lines)) == 3
    assert lines.lines == ["stopped; finished chips are kept: the same command goes on from them"]
    assert len(kept(config)) == 2
    assert len(interrupt(monkeypatch, config, 3)) == 4
    assert len(kept(config)) == 5
    left = interrupt(monkeypatch, config, 1000)
    assert files_of(Path(config.bundle) / "results") == uninterrupted
    rows = json.loads(uninterrupted["sst2.json"])
    parts = {row["part"] for row in rows["noise_budget"]}
    assert len(left) == 2 * (1 + 2) + len(parts) - 5
    assert not Bundle.open(Path(config.bundle)).work.exists()


def test_two_workers_go_on_from_what_one_has_finished(
    monkeypatch: pytest.MonkeyPatch, adapted: Path, configure: Configure, uninterrupted: dict[str, bytes]
) -> None:
    interrupt(monkeypatch, configure(adapted, evaluate=SETTINGS, hardware=NOISY), 4)
    evaluate.run(configure(adapted, evaluate=SETTINGS, hardware=NOISY, workers=2))
    assert files_of(adapted / "results") == uninterrupted


def damage(files: list[Path]) -> None:
    """Five ways in which a file can be wrong."""
    assert len(files) == 5
    text = files[0].read_text()
    value = json.loads(text)
    measured = (value["rows"] or value["alone"])[0]["metrics"]
    measured["accuracy"] = 0.25
    files[0].write_text(json.dumps(value))
    files[1].write_bytes(files[1].read_bytes()[:-20])
    shutil.copyfile(files[3], files[2])  # whole, and of another job
    files[3].write_bytes(b"")
    files[4].unlink()
    files[4].symlink_to(files[2])


def test_a_damaged_or_foreign_file_is_computed_again(
    monkeypatch: pytest.MonkeyPatch, config: Run, uninterrupted: dict[str, bytes]
) -> None:
    interrupt(monkeypatch, config, 5)
    damage(files := kept(config))
    lines = Said()
    evaluate.run(config, progress=lines)
    assert files_of(Path(config.bundle) / "results") == uninterrupted
    assert sorted(lines.lines) == [
        f"note: {file} is damaged or foreign: its job is computed again" for file in files
    ]


def test_another_request_uses_nothing_of_it_and_removes_it(
    monkeypatch: pytest.MonkeyPatch, config: Run, uninterrupted: dict[str, bytes]
) -> None:
    interrupt(monkeypatch, config.model_copy(update={"seed": 1}), 3)
    before = kept(config)
    assert len(before) == 3
    interrupt(monkeypatch, config, 2)
    assert len(kept(config)) == 2
    assert not set(before) & set(kept(config))
    evaluate.run(config)
    assert files_of(Path(config.bundle) / "results") == uninterrupted


def test_what_was_left_after_the_last_write_is_removed(config: Run) -> None:
    """A kill between the results and the removal of what they were made from."""
    result = evaluate.run(config)
    request = result.results.settings["request_sha256"]
    folder = Bundle.open(Path(config.bundle)).work / "evaluate" / "sst2" / request[:16]
    folder.mkdir(parents=True)
    (folder / "left.json").write_text("{}")
    assert evaluate.run(config, keep=True).kept
    assert not folder.parents[2].exists()


def test_an_evaluation_goes_on_where_nothing_can_be_kept(
    config: Run, uninterrupted: dict[str, bytes]
) -> None:
    work = Bundle.open(Path(config.bundle)).work
    work.write_text("a file where the folder would be")
    lines = Said()
    evaluate.run(config, progress=lines)
    assert files_of(Path(config.bundle) / "results") == uninterrupted
    (line,) = lines.lines
    assert line.startswith("note: this evaluation cannot be continued if it is interrupted: ")
    assert work.read_text() == "a file where the folder would be"


def test_killed_again_and_again_it_ends_with_the_same_bytes(
    tmp_path: Path, adapted: Path, config: Run, uninterrupted: dict[str, bytes]
) -> None:
    shell = Shell(tmp_path)
    write_recipe(tmp_path / "recipe.yaml", config.model_copy(update={"bundle": "bundle"}))
    draw, before = random.Random(3), files_of(adapted)
    for least in (1, 4):
        process = shell.start("evaluate", "--config", "recipe.yaml")
        deadline = time.monotonic() + 120
        while len(kept(config)) < least and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(draw.uniform(0, 0.05))
        process.kill()
        told = process.communicate()
        assert process.returncode == -signal.SIGKILL, told
        assert len(kept(config)) >= least, "it never came so far"
        assert files_of(adapted) == before, "it had finished before it could be killed"
    lines = Said()
    evaluate.run(config, progress=lines)
    assert lines.lines == []
    assert files_of(adapted / "results") == uninterrupted
    assert Bundle.open(adapted).verify() == []
    assert not (tmp_path / "bundle.work").exists()
