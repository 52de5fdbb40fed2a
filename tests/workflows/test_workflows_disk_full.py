"""A full disk, and a checkpoint that was cut off: a clear error, and nothing that was there is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from tiny_deployment import files_of
from transformers import Trainer

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import TEMPORARY
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import adapt, evaluate, map, report
from aimc_deploy.workflows.deployed import load

Configure = Callable[..., Run]

TRAINING = {"epochs": 1.0, "checkpoint_steps": 2}  # 6 steps


def fill_disk(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """From the file after the next ``allowed`` that the package writes, none fits."""
    real, written = os.open, 0

    def full(path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        nonlocal written
        if flags & os.O_CREAT and Path(os.fsdecode(path)).name.startswith(TEMPORARY):
            written += 1
            if written > allowed:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        return real(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", full)


def step(name: str, config: Run, bundle: Path) -> None:
    steps: dict[str, Callable[[], Any]] = {
        "map": lambda: map.run(config, bundle, overwrite=True),
        "adapt": lambda: adapt.run(config, existing="replace"),
        "full": lambda: adapt.run(
            config.model_copy(update={"adapt": config.adapt.model_copy(update={"method": "full"})})
        ),
        "evaluate": lambda: evaluate.run(config),
        "report": lambda: report.run(bundle),
    }
    steps[name]()


@pytest.mark.parametrize("allowed", [0, 1])
@pytest.mark.parametrize("name", ["map", "adapt", "full", "evaluate", "report"])
def test_a_full_disk_is_a_clear_error_and_the_bundle_is_as_before(
    adapted: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch, name: str, allowed: int
) -> None:
    config = configure(adapted, adapt={"epochs": 0.3}, evaluate={"chips": 1, "times": ("0s",)})
    before = files_of(adapted)
    with monkeypatch.context() as patch:
        fill_disk(patch, allowed)
        with pytest.raises(ArtifactError, match=r"No space left on device; free some space") as caught:
            step(name, config, adapted)
    assert caught.value.exit_code == 2
    assert files_of(adapted) == before, "nothing is changed, and nothing unfinished is left"
    assert Bundle.open(adapted).verify() == []
    assert load(adapted).set_adapter("sst2").adapter == "sst2"
    step(name, config, adapted)
    assert Bundle.open(adapted).verify() == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("basic_ios::clear: iostream error"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_checkpoint_that_does_not_fit_is_a_clear_error_and_training_can_go_on(
    tmp_path: Path, mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The three ways in which the libraries that write it say so."""
    before = files_of(mapped)
    with monkeypatch.context() as patch:
        cut_off(patch, 4, error)
        with pytest.raises(ArtifactError, match=r"the checkpoint of step 4 cannot be written .*--resume"):
            adapt.run(configure(mapped, adapt=TRAINING))
    assert files_of(mapped) == before
    adapt.run(configure(mapped, adapt=TRAINING), resume=True)
    assert Bundle.open(mapped).adapters() == ("sst2",)


def cut_off(monkeypatch: pytest.MonkeyPatch, at: int, error: BaseException) -> None:
    """Stop the writing of a checkpoint after its model and before its optimizer."""
    save = Trainer._save_optimizer_and_scheduler

    def stopped(self: Trainer, output_dir: str) -> None:
        if self.state.global_step == at:
            raise error
        save(self, output_dir)

    monkeypatch.setattr(Trainer, "_save_optimizer_and_scheduler", stopped)


@pytest.mark.parametrize("state", [None, b"", b'{"global_step": 4,'], ids=["missing", "empty", "cut off"])
def test_a_checkpoint_that_was_cut_off_is_not_continued_from(
    tmp_path: Path, mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch, state: bytes | None
) -> None:
    """Ctrl-C, or a power cut, while the second checkpoint was written: the first is continued from."""
    config = configure(mapped, adapt=TRAINING)
    with monkeypatch.context() as patch:
        cut_off(patch, 4, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            adapt.run(config)
    (work,) = mapped.with_name("bundle.work").iterdir()
    assert sorted(path.name for path in work.iterdir()) == ["checkpoint-2", "checkpoint-4"]
    if state is not None:
        (work / "checkpoint-4" / "trainer_state.json").write_bytes(state)
    adapt.run(config, resume=True)
    resumed = files_of(mapped / "adapters")
    adapt.run(config, existing="replace")
    assert files_of(mapped / "adapters") == resumed


def test_there_is_nothing_to_resume_where_the_only_checkpoint_was_cut_off(
    mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configure(mapped, adapt=TRAINING)
    with monkeypatch.context() as patch:
        cut_off(patch, 2, KeyboardInterrupt())
        with pytest.raises(KeyboardInterrupt):
            adapt.run(config)
    with pytest.raises(ArtifactError, match="nothing to resume"):
        adapt.run(config, resume=True)
    adapt.run(config, resume=None)
    assert torch.isfinite(
        torch.tensor(Bundle.open(mapped).read_json("adapters/sst2/adapter.json")["parameters"])
    )
