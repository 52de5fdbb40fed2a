"""``torchrun`` and ``accelerate launch``: one run of several processes, which speak with one voice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from command_line import ENVIRONMENT, call
from shell import write_recipe
from tiny_deployment import files_of, recipe

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import ConfigError
from aimc_deploy.workflows import processes

TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2")
# Without GPUs it starts several processes only if told that there are GPUs; the device is ours to choose.
ACCELERATE = (
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)


def launch(launcher: tuple[str, ...], *arguments: str | Path, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "-m", "aimc_deploy", *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, **ENVIRONMENT, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ours(errors: str) -> list[str]:
    """What the command itself has said, without what a launcher adds when a process fails."""
    return [line for line in errors.splitlines() if line.startswith(("error:", "stopped;", "next:"))]


@pytest.fixture
def started(tmp_path: Path, checkpoint_once: Path, data: Path, bundle_once: Path) -> Path:
    """A folder with a bundle and a recipe of so many steps that one can end a process among them."""
    shutil.copytree(bundle_once, tmp_path / "bundle")
    adapt = {"epochs": 60.0, "checkpoint_steps": 4, "name": "new"}
    write_recipe(tmp_path / "r.yaml", recipe(tmp_path / "bundle", checkpoint_once, data, adapt=adapt))
    return tmp_path


@pytest.mark.slow
def test_a_killed_process_ends_the_run_and_the_launchers_give_the_same_adapter(started: Path) -> None:
    before = files_of(started / "bundle")
    shutil.copytree(started / "bundle", started / "other")
    run = launch(TORCHRUN, "adapt", "-c", "r.yaml", "--format", "json", cwd=started)
    deadline = time.monotonic() + 120
    while not any((started / "bundle.work").glob("*/checkpoint-[1-9]*/trainer_state.json")):
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process_of(run.pid, rank=1), signal.SIGKILL)
    output, errors = run.communicate(timeout=60)
    assert run.returncode != 0
    assert output == ""
    assert len(ours(errors)) <= 1, errors  # where the launcher ends the first process, it says nothing
    assert files_of(started / "bundle") == before

    run = launch(TORCHRUN, "adapt", "-c", "r.yaml", "--resume", "--format", "json", cwd=started)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    assert (errors.strip(), json.loads(output)["steps"]) == ("", 120)
    run = launch(ACCELERATE, "adapt", "-c", "r.yaml", "-b", "other", cwd=started)
    output, errors = run.communicate(timeout=120)
    assert run.returncode == 0, errors
    assert output.count("adapter 'new'") == output.count("accuracy on dev") == 1
    assert errors.count("training new: 120/120") == 1
    assert ours(errors) == [line for line in errors.splitlines() if line.startswith("next: ")]
    assert files_of(started / "bundle" / "adapters") == files_of(started / "other" / "adapters")
    assert Bundle.open(started / "bundle").verify() == []
    assert not (started / "bundle.work").exists()


def process_of(launcher: int, rank: int) -> int:
    """The process number of a worker, by its environment."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            variables = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        if parent == launcher and f"RANK={rank}".encode() in variables:
            return int(folder.name)
    raise AssertionError("no such process")


@pytest.mark.slow
def test_an_error_of_all_is_told_once(tmp_path: Path) -> None:
    run = launch(TORCHRUN, "evaluate", cwd=tmp_path)
    output, errors = run.communicate(timeout=120)
    assert run.returncode != 0
    assert output == ""
    assert [line[:52] for line in ours(errors)] == ["error: 2 processes cannot share `aimc-deploy evaluat"]


def test_a_batch_that_cannot_be_divided_is_refused(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    ended = call("adapt", "-b", bundle, "-t", "sst2", "--data-dir", data, "--set", "adapt.batch_size=16")
    assert ended.code == 2
    assert ended.message == (
        "error: adapt.batch_size: 16 samples a step cannot be divided among 3 processes: choose a multiple "
        "of 3 (--set adapt.batch_size=18), or start others"
    )


def in_background(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of the second of two processes, where nothing ends it."""
    from aimc_deploy.cli import app

    for name, value in {"RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(app.time, "sleep", lambda s: None)
    monkeypatch.setattr(app.signal, "signal", lambda number, handler: None)
    monkeypatch.setattr(sys, "argv", ["aimc-deploy", *arguments])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_the_other_processes_speak_of_what_is_theirs_alone(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for arguments, said in ((("-b", str(tmp_path)), "error: "), (("--no-such",), "No such option")):
        assert in_background(monkeypatch, "adapt", *arguments) == 2
        captured = capfd.readouterr()
        assert captured.out == ""
        assert said in captured.err
    assert in_background(monkeypatch, "adapt", "--dry-run") == 0
    assert capfd.readouterr() == ("", "")

    from aimc_deploy.workflows import adapt

    monkeypatch.setattr(adapt, "run", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert in_background(monkeypatch, "adapt") == 130
    assert capfd.readouterr() == ("", "")


def test_a_second_interrupt_is_passed_over() -> None:
    from aimc_deploy.cli import app

    before = signal.signal(signal.SIGINT, app._interrupt_once)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("command", ["map", "evaluate", "run r.yaml", "config presets", "env"])
def test_other_commands_are_for_one_process(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = call(*command.split())
    assert (ended.code, ended.out) == (2, "")
    assert ended.message.startswith(
        f"error: 2 processes cannot share `aimc-deploy {command.split()[0]}`: only `adapt` can be started by "
    )


def test_the_environment_of_a_launcher_must_make_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    assert processes.this_process() == processes.Processes()
    for count in ("2", "x", "-1"):
        monkeypatch.setenv("WORLD_SIZE", count)
        ended = call("adapt", "--dry-run")
        assert ended.code == 2
        assert f"RANK=3 and WORLD_SIZE={count}: start several processes with torchrun" in ended.message


@pytest.mark.parametrize(
    ("device", "gpus", "said"),
    [
        ("cuda:1", 4, "device 'cuda:1' cannot be shared by 2 processes: choose auto, cpu or cuda"),
        ("cuda", 1, "1 GPUs are here, too few for process 1"),
        ("cpu", 0, "cannot find each other"),
    ],
)
def test_processes_that_cannot_work_together_are_told_why(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, said: str
) -> None:
    import torch

    for name, value in {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    with pytest.raises(ConfigError, match=said):
        processes.join(device)


def test_every_sample_is_in_one_part() -> None:
    for count in (1, 2, 3, 5):
        for samples in range(12):
            parts: list[Any] = [processes.Processes(rank, count).part(samples) for rank in range(count)]
            taken = [place for part in parts for place in range(samples)[part]]
            assert taken == list(range(samples))
            sizes = [part.stop - part.start for part in parts]
            assert max(sizes) - min(sizes) <= 1
