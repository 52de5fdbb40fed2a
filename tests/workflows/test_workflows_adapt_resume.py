"""Adapt, interrupted: what is continued from a checkpoint is what would have been, byte by byte."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_deployment import files_of

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import adapt, checkpoints

Configure = Callable[..., Run]

TRAINING = {"epochs": 2.0, "checkpoint_steps": 3}  # 12 steps, checkpoints at 3, 6, 9 and 12


class Stopping:
    """Presses Ctrl-C when so many steps of training are done; counts them otherwise."""

    def __init__(self, after: int | None = None) -> None:
        self.after = after
        self.stages: list[tuple[str, int | None]] = []
        self.steps: dict[str, int] = {}
        self.first: dict[str, int] = {}

    def start(self, what: str, total: int | None) -> None:
        self.stages.append((what, total))

    def advance(self, steps: int = 1, note: str = "") -> None:
        what = self.stages[-1][0]
        self.first.setdefault(what, steps)
        self.steps[what] = self.steps.get(what, 0) + steps
        if what.startswith("training") and self.steps[what] == self.after:
            raise KeyboardInterrupt

    def say(self, message: str) -> None:
        raise AssertionError(message)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, mapped_once: Path, configure: Configure) -> Path:
    path = tmp_path_factory.mktemp("uninterrupted") / "bundle"
    shutil.copytree(mapped_once, path)
    adapt.run(configure(path, adapt=TRAINING))
    return path


def interrupt(config: Run, after: int, **settings: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        adapt.run(config, progress=Stopping(after), **settings)


@pytest.mark.parametrize(("after", "checkpoint"), [(4, 3), (6, 3), (8, 6), (12, 9)])
def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(
    mapped: Path, configure: Configure, uninterrupted: Path, after: int, checkpoint: int
) -> None:
    """In the first epoch, at its end, at the start of the second and in the midst of it."""
    config = configure(mapped, adapt=TRAINING)
    before = files_of(mapped)
    interrupt(config, after)
    assert files_of(mapped) == before, "an interrupted run leaves the bundle alone"
    progress = Stopping()
    adapt.run(config, resume=True, progress=progress)
    assert progress.stages[:2] == [("preparing sst2", None), ("training sst2", 12)]
    assert progress.first["training sst2"] == checkpoint, "it continued from the last checkpoint"
    assert progress.steps["training sst2"] == 12
    assert files_of(mapped / "adapters") == files_of(uninterrupted / "adapters")


def test_a_run_interrupted_twice_is_continued_twice(
    mapped: Path, configure: Configure, uninterrupted: Path
) -> None:
    config = configure(mapped, adapt=TRAINING)
    interrupt(config, 5)
    interrupt(config, 10, resume=True)
    adapt.run(config, resume=True)
    assert files_of(mapped / "adapters") == files_of(uninterrupted / "adapters")


@pytest.mark.parametrize("kept", ["trainer_state.json", "rng_state.pth"])
def test_a_checkpoint_that_was_being_removed_is_in_nobodys_way(
    mapped: Path, configure: Configure, uninterrupted: Path, kept: str
) -> None:
    """The Trainer removes the oldest file by file, in any order, once there is a new one."""
    config = configure(mapped, adapt=TRAINING)
    interrupt(config, 10)
    older, newer = sorted(mapped.with_name(f"{mapped.name}.work").glob("*/checkpoint-*"))
    for file in older.iterdir():
        if file.name != kept:
            file.unlink()
    progress = Stopping()
    adapt.run(config, resume=True, progress=progress)
    assert progress.first["training sst2"] == int(newer.name.rpartition("-")[2])
    assert files_of(mapped / "adapters") == files_of(uninterrupted / "adapters")


def test_without_resume_an_interrupted_run_starts_over(
    mapped: Path, configure: Configure, uninterrupted: Path
) -> None:
    config = configure(mapped, adapt=TRAINING)
    interrupt(config, 5)
    progress = Stopping()
    adapt.run(config, progress=progress)
    assert progress.first["training sst2"] == 0
    assert files_of(mapped / "adapters") == files_of(uninterrupted / "adapters")


def test_resume_none_continues_if_there_is_a_checkpoint(
    mapped: Path, configure: Configure, uninterrupted: Path
) -> None:
    config = configure(mapped, adapt=TRAINING)
    interrupt(config, 5)
    progress = Stopping()
    adapt.run(config, resume=None, progress=progress)
    assert progress.first["training sst2"] == 3
    assert files_of(mapped / "adapters") == files_of(uninterrupted / "adapters")
    adapt.run(config, resume=None, existing="replace")  # and starts from nothing if there is none
    assert files_of(mapped / "adapters") == files_of(uninterrupted / "adapters")


def test_there_is_nothing_to_resume_for_other_settings(mapped: Path, configure: Configure) -> None:
    with pytest.raises(ArtifactError, match=r"nothing to resume for these settings .* without --resume"):
        adapt.run(configure(mapped, adapt=TRAINING), resume=True)
    interrupt(configure(mapped, adapt=TRAINING), 5)
    for other in (
        configure(mapped, adapt=TRAINING, seed=1),
        configure(mapped, adapt={**TRAINING, "learning_rate": 1.0e-3}),
        configure(mapped, adapt=TRAINING, hardware="pcm"),
        configure(mapped, adapt={**TRAINING, "train_samples": 90}),
    ):
        with pytest.raises(ArtifactError, match="nothing to resume"):
            adapt.run(other, resume=True)
    assert Bundle.open(mapped).adapters() == ()


def test_a_finished_run_leaves_no_checkpoints(tmp_path: Path, mapped: Path, configure: Configure) -> None:
    interrupt(configure(mapped, adapt={**TRAINING, "name": "other"}), 5)
    adapt.run(configure(mapped, adapt=TRAINING))
    kept = [path.name.rpartition("-")[0] for path in mapped.with_name("bundle.work").iterdir()]
    assert kept == ["other"], "what another run can continue from stays"
    adapt.run(configure(mapped, adapt={**TRAINING, "name": "other"}), resume=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


def test_checkpoints_that_a_kill_left_of_a_finished_run_are_removed(
    tmp_path: Path, mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(mapped, adapt=TRAINING)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "remove", lambda work: None)  # it was killed before
        adapt.run(config)
    assert any(mapped.with_name("bundle.work").iterdir())
    assert adapt.run(config, existing="keep").kept
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_adapter_is_replaced_only_when_the_new_one_is_trained(mapped: Path, configure: Configure) -> None:
    adapt.run(configure(mapped, adapt={"epochs": 0.3}))
    before = files_of(mapped)
    interrupt(configure(mapped, adapt=TRAINING), 5, existing="replace")
    assert files_of(mapped) == before
