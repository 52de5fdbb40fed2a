"""Ctrl-C while a command trains, and what comes after it."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from shell import Shell
from tiny_deployment import files_of

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.workflows import adapt, map


def interrupt_when(process: subprocess.Popen[str], ready: Callable[[], bool]) -> tuple[str, str]:
    """Send what Ctrl-C sends as soon as ``ready``; standard output and standard error."""
    deadline = time.monotonic() + 120
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_ctrl_c_in_training_then_resume_gives_the_uninterrupted_adapter(
    tmp_path: Path, shell: Shell, configured: Run, one_thread: None
) -> None:
    bundle = tmp_path / "bundle"
    map.run(configured, bundle)
    before = files_of(bundle)
    shutil.copytree(bundle, tmp_path / "uninterrupted")
    work = tmp_path / "bundle.work"
    process = shell.start("adapt", "--config", "recipe.yaml")
    output, errors = interrupt_when(process, lambda: any(work.glob("*/checkpoint-[1-9]*/trainer_state.json")))
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "interrupted" in errors
    assert "continue with the same command and --resume" in errors
    assert output == ""
    assert files_of(bundle) == before
    steps = [int(path.name.rpartition("-")[2]) for path in work.glob("*/checkpoint-*")]
    assert steps
    assert max(steps) < 240, "it had finished before it could be interrupted"

    output, _ = shell.run("adapt", "--config", "recipe.yaml", "--resume")
    assert "240 steps; base unchanged" in output
    adapt.run(configured.model_copy(update={"bundle": str(tmp_path / "uninterrupted")}))
    assert files_of(bundle / "adapters") == files_of(tmp_path / "uninterrupted" / "adapters")
    assert Bundle.open(bundle).verify() == []
    assert not work.exists()
