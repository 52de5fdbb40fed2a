"""Ctrl-C and a full disk, as a person at a terminal meets them: exit codes, messages, and what is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tiny_deployment import files_of, recipe, write_checkpoint, write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.workflows import map

TRAINING = {"epochs": 100.0, "checkpoint_steps": 20}  # 600 steps: some seconds


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe beside a mapped bundle."""
    folder = tmp_path_factory.mktemp("e2e")
    checkpoint, data = write_checkpoint(folder / "checkpoint"), write_task(folder / "data")
    config = recipe(folder / "bundle", checkpoint, data, adapt=TRAINING)
    map.run(config, folder / "bundle")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return folder / "recipe.yaml"


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "aimc_deploy", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def wait_for(process: subprocess.Popen[str], folder: Path, pattern: str) -> None:
    """Until a file is there that only a running adapt writes."""
    end = time.monotonic() + 200
    while not any(folder.glob(pattern)):
        assert process.poll() is None, finish(process)
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.005)


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_resume_gives_the_bytes_of_an_uninterrupted_run(
    tmp_path: Path, recipe_file: Path
) -> None:
    for name in ("stopped", "through"):
        shutil.copytree(recipe_file.parent / "bundle", tmp_path / name)
    before = files_of(tmp_path / "stopped")
    command = ("adapt", "--config", str(recipe_file), "--bundle")
    other = start(*command, str(tmp_path / "through"))  # beside it, on the other processor
    process = start(*command, str(tmp_path / "stopped"))
    wait_for(process, tmp_path / "stopped.work", "*/checkpoint-20/trainer_state.json")
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 130, err
    assert out == ""
    assert "Traceback" not in err
    assert "--resume" in err
    assert "interrupted" in err
    assert files_of(tmp_path / "stopped") == before
    left = [int(path.name.partition("-")[2]) for path in tmp_path.glob("stopped.work/*/checkpoint-*")]
    assert 20 <= max(left) < 600, "it was stopped on the way"

    code, out, err = finish(start(*command, str(tmp_path / "stopped"), "--resume"))
    assert code == 0, err
    assert "600 steps" in out
    assert finish(other)[0] == 0
    assert files_of(tmp_path / "stopped" / "adapters") == files_of(tmp_path / "through" / "adapters")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "through"]
    assert Bundle.open(tmp_path / "stopped").verify() == []

    code, out, err = finish(start(*command, str(tmp_path / "stopped"), "--resume"))
    assert (code, out) == (2, "")
    assert "has an adapter 'sst2' already" in err
    assert "Traceback" not in err


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 320 KiB: a bundle fits, its checkpoints do not."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if done.returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_ends_with_2_and_leaves_the_bundle(small_disk: Path, recipe_file: Path) -> None:
    bundle = small_disk / "bundle"
    shutil.copytree(recipe_file.parent / "bundle", bundle)
    before = files_of(bundle)
    code, out, err = finish(start("adapt", "--config", str(recipe_file), "--bundle", str(bundle)))
    assert (code, out) == (2, "")
    assert "cannot be written" in err
    assert "free some space" in err
    assert "Traceback" not in err
    assert "internal error" not in err
    assert files_of(bundle) == before
    assert Bundle.open(bundle).verify() == []

    shutil.rmtree(small_disk / "bundle.work")
    (small_disk / "filler").write_bytes(bytes(150 * 1024))
    code, out, err = finish(start("map", str(recipe_file.parent / "checkpoint"), str(small_disk / "second")))
    assert (code, out) == (2, "")
    assert "No space left on device" in err
    assert "Traceback" not in err
    assert sorted(path.name for path in small_disk.iterdir()) == ["bundle", "filler"]
    assert files_of(bundle) == before
