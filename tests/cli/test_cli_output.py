"""What a command prints and where, what it writes, and the code it ends with."""

from __future__ import annotations

import errno
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import call, call_process
from tiny_deployment import files_of

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.load import load_preset
from aimc_deploy.errors import (
    AimcError,
    ArtifactError,
    ConfigError,
    DataError,
    GateFailed,
    HardwareError,
    ModelError,
    TrainingError,
)

# Every command after the other, as words for a shell; {...} is filled in. All must end with 0.
STEPS = [
    "map {checkpoint} {out}/b --hardware pcm-x4",
    "adapt -b {out}/b -t sst2 --data-dir {data} --name new --epochs 1 --set max_length=16",
    "evaluate -b {out}/b -t sst2 --data-dir {data} --chips 2 --times 0s,1y --workers 1",
    "report -b {out}/b",
    "inspect -b {out}/b",
    "verify -b {out}/b",
    "map {checkpoint} {out}/other --dry-run",
    "adapt -b {out}/b -t sst2 --data-dir {data} --dry-run",
    "run {recipe} --dry-run",
    "run {recipe}",
    "run {recipe}",
    "tasks --data-dir {data}",
    "env",
    "config show",
    "config validate {recipe}",
    "config presets",
]
RECIPE = """
bundle: {out}/c
source: {{path: {checkpoint}}}
task: sst2
data_dir: {data}
max_length: 16
adapt: {{epochs: 1}}
evaluate: {{chips: 2, times: [0s, 1y]}}
executor: {{workers: 1}}
"""
# In one process, so that torch is imported once, with nothing between us and what it prints.
ALL = """
import sys
from aimc_deploy.cli.app import app
for step in sys.argv[1:]:
    try:
        app([*step.split("\\n"), "--format", "quiet"])
    except SystemExit as end:
        assert not end.code, (step, end.code)
"""


def steps_for(out: Path, checkpoint: Path, data: Path) -> list[list[str]]:
    places = {"out": out, "checkpoint": checkpoint, "data": data, "recipe": out / "recipe.yaml"}
    (out / "recipe.yaml").write_text(RECIPE.format(**places))
    return [shlex.split(step.format(**places)) for step in STEPS]


def test_quiet_prints_nothing_at_all(tmp_path: Path, checkpoint_once: Path, data: Path) -> None:
    steps = steps_for(tmp_path, checkpoint_once, data)
    ended = call_process(ALL, *map("\n".join, steps))
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert (tmp_path / "b" / "report" / "index.html").is_file()
    assert not (tmp_path / "other").exists()


def test_json_is_one_document_and_nothing_else(tmp_path: Path, checkpoint_once: Path, data: Path) -> None:
    ended = [call(*step, "--format", "json") for step in steps_for(tmp_path, checkpoint_once, data)]
    assert [part.code for part in ended] == [0] * len(STEPS)
    found = [part.json() for part in ended]
    mapped, adapted, evaluated, report, inspected, verified, dry = found[:7]
    out = str(tmp_path / "b")
    assert {part["bundle"] for part in (mapped, adapted, inspected, verified)} == {out}
    assert mapped["plan"]["tiles"] == inspected["analog"]["tiles"] > 0
    assert adapted["base_before"] == adapted["base_after"] == inspected["base_sha256"]
    assert (adapted["adapter"], adapted["samples"], adapted["steps"]) == ("new", 32, 1)
    assert {"digital", "unadapted", "adapted"} <= set(adapted)
    assert len(evaluated["rows"]) == 4
    assert {(row["chip"], row["time"]) for row in evaluated["rows"]} == {
        (chip, time) for chip in (0, 1) for time in ("0s", "1y")
    }
    assert {part["time"] for part in evaluated["summary"]} == {"0s", "1y"}
    assert evaluated["gate_failures"] == []
    assert all(Path(file).is_file() for file in [*evaluated["files"], report["report"]])
    assert verified["problems"] == []
    assert dry["bundle"] is None
    assert dry["plan"] == mapped["plan"]
    first, second = found[9:11]
    names = ["map", "adapt sst2", "evaluate sst2", "report"]
    assert first["steps"] == [{"step": name, "skipped": False} for name in names]
    assert second["steps"] == [{"step": name, "skipped": name != "report"} for name in names]


def test_people_are_told_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint_once: Path, data: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = steps_for(tmp_path, checkpoint_once, data)[:6]
    ended = [call(*step) for step in steps]
    assert [part.code for part in ended] == [0] * 6
    b = f" --bundle {tmp_path / 'b'}"
    assert [part.err.splitlines()[-1] if part.err else "" for part in ended] == [
        f"next: aimc-deploy adapt --task reviews{b}",
        f"next: aimc-deploy evaluate --task sst2{b} --data-dir {data}",
        f"next: aimc-deploy report{b}",
        "",
        f"next: aimc-deploy report{b}",
        f"next: aimc-deploy inspect{b}",
    ]
    assert "accuracy on dev (chip 0, 0 s): without hardware 0." in ended[1].out
    assert "base unchanged" in ended[1].out
    table = ended[2].out
    assert [word for word in ("│ new", "0s", "1y", "2 chips", "32 samples") if word not in table] == []
    for ending in ("json", "csv", "svg"):
        assert f"{tmp_path / 'b' / 'results' / 'sst2'}.{ending}\n" in table
    assert "evaluating sst2: 5/5 " in ended[2].err
    assert ended[3].out == f"report: {tmp_path / 'b' / 'report' / 'index.html'}\n"
    # The default bundle needs no name, another one is quoted for the shell.
    assert call("map", checkpoint_once).err.endswith("next: aimc-deploy adapt --task reviews\n")
    assert call("verify").err == "next: aimc-deploy inspect\n"
    (tmp_path / "b").rename(tmp_path / "my bundle")
    assert call("verify", "-b", "my bundle").err == "next: aimc-deploy inspect --bundle 'my bundle'\n"


@pytest.mark.parametrize("form", ["human", "json", "quiet"])
def test_a_dry_run_writes_nothing(
    tmp_path: Path, bundle: Path, checkpoint_once: Path, data: Path, form: str
) -> None:
    (tmp_path / "r.yaml").write_text(f"bundle: {tmp_path / 'new'}\n")
    before = files_of(tmp_path)
    task = ("--task", "sst2", "--data-dir", data)
    for command in (
        ("map", checkpoint_once, tmp_path / "new"),
        ("map", checkpoint_once, bundle),
        ("adapt", "--bundle", bundle, *task),
        ("adapt", "--bundle", bundle, *task, "--overwrite"),
        ("run", tmp_path / "r.yaml", *task[2:]),
    ):
        ended = call(*command, "--dry-run", "--format", form)
        assert ended.code == 0
        assert ("dry run: nothing was " in ended.err) == (form != "quiet")
        assert bool(ended.out) == (form != "quiet")
    assert files_of(tmp_path) == before


def test_the_plan_says_why_a_layer_is_digital(tmp_path: Path, checkpoint_once: Path) -> None:
    pattern = "*.[q]uery"
    setting = f"mapping.digital=['{pattern}']"
    ended = call("map", checkpoint_once, tmp_path / "b", "--dry-run", "--set", f"hardware.{setting}")
    assert ended.code == 0
    assert f"kept digital: matches '{pattern}'" in ended.out  # the brackets are no mark-up
    assert "analog layers" in ended.out
    assert "task head, trained per task" in ended.out


def test_a_gate_that_fails_ends_with_3_and_keeps_the_results(bundle: Path, data: Path) -> None:
    evaluate = ("evaluate", "--bundle", bundle, "--task", "sst2", "--data-dir", data)
    small = ("--chips", "2", "--times", "0s", "--workers", "1")
    failed = call(*evaluate, *small, "--min-accuracy", "1", "--format", "json")
    assert failed.code == 3
    assert failed.message.startswith("error: sst2 at 0s: the lower 95 % bound of accuracy is ")
    assert failed.json()["gate_failures"] == [failed.message.removeprefix("error: ")]
    assert "results/sst2.json" in Bundle.open(bundle).manifest.files
    passed = call(*evaluate, *small, "--min-accuracy", "0", "--max-drop", "1", "--at", "0s")
    assert passed.code == 0


ERRORS = [AimcError, ConfigError, ModelError, DataError, ArtifactError, HardwareError, TrainingError]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        *[(kind("[red]a[/] \\[b"), 2, "error: [red]a[/] \\[b") for kind in ERRORS],
        (GateFailed("too low"), 3, "error: too low"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
        (OSError(errno.ENOSPC, "No space left on device", "b/x"), 2, "error: b/x: No space left on device"),
        (OSError("odd"), 2, "error: odd"),
        (
            ValueError("x [y]"),
            1,
            "error: internal error: ValueError: x [y]; run again with --debug and report it",
        ),
        (
            AssertionError(),
            1,
            "error: internal error: AssertionError: ; run again with --debug and report it",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("form", ["human", "json", "quiet"])
def test_each_error_has_its_exit_code_and_one_message(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str, form: str
) -> None:
    from aimc_deploy.workflows import inspect

    def fail(path: Path) -> None:
        raise error

    monkeypatch.setattr(inspect, "run", fail)
    ended = call("inspect", "--format", form)
    assert (ended.code, ended.out, ended.err) == (code, "", f"{said}\n")
    debug = call("inspect", "--format", form, "--debug")
    assert (debug.code, debug.out) == (code, "")
    assert debug.err.endswith(ended.err)
    for word in ("Traceback (most recent call last):", "raise error", f"{type(error).__name__}"):
        assert (word in debug.err.removesuffix(ended.err)) == (code != 130)


def test_a_disk_that_is_full_leaves_no_half_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint_once: Path
) -> None:
    from aimc_deploy.workflows import map

    write: Callable[..., None] = map.write_base

    def full(folder: Path, *content: Any) -> None:
        write(folder, *content)
        raise OSError(errno.ENOSPC, "No space left on device", str(folder / "tiles.safetensors"))

    monkeypatch.setattr(map, "write_base", full)
    ended = call("map", checkpoint_once, tmp_path / "out" / "b")
    assert (ended.code, ended.out) == (2, "")
    assert f"{tmp_path / 'out' / 'b'} cannot be written: No space left on device; free some" in ended.message
    assert files_of(tmp_path) == {}


def test_output_that_cannot_be_written_is_an_error() -> None:
    with Path("/dev/full").open("w") as full:
        for command in (["config", "presets"], ["config", "schema"], ["config", "show", "--format", "json"]):
            ended = call_process("from aimc_deploy.cli.app import main; main()", *command, stdout=full)
            assert (ended.code, ended.message) == (2, "error: No space left on device")


def test_an_interrupted_training_says_how_to_continue(
    bundle: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aimc_deploy.workflows import adapt

    def stopped(*arguments: Any, **settings: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(adapt, "training", stopped)
    ended = call("adapt", "--bundle", bundle, "--task", "sst2", "--data-dir", data, "--name", "new")
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.endswith(
        "stopped; the last checkpoint is kept: continue with the same command and --resume\n"
        "error: interrupted\n"
    )


def test_results_for_other_hardware_are_marked(bundle: Path, data: Path) -> None:
    ended = call(
        *("evaluate", "--bundle", bundle, "--task", "sst2", "--data-dir", data, "--hardware", "pcm"),
        *("--chips", "1", "--times", "0s", "--workers", "1", "--results", "elsewhere", "--adapter", "sst2"),
    )
    assert ended.code == 0
    assert "note: adapter 'sst2' was trained for other hardware than this evaluation simulates\n" in ended.err
    assert load_preset("pcm").digest() in (bundle / "results" / "elsewhere.json").read_text()


def test_a_folder_may_have_any_name(tmp_path: Path, checkpoint_once: Path) -> None:
    for name in ("😀", "a: b #c", "[red]", "null", "é\u0301"):
        assert call("map", checkpoint_once, tmp_path / name, "--format", "quiet").code == 0
        assert Bundle.open(tmp_path / name).verify() == []
        assert call("verify", "-b", tmp_path / name).out.startswith(f"{tmp_path / name}: ")
