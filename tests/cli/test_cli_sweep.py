"""``aimc-deploy sweep`` as it is called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import call
from shell import Shell

SWEEP = """
set: {hardware: analog-fabric}
accuracy: false
executor: {workers: 1}
grid:
  hardware.tile.rows: [256, 512]
  adapt.lora.r: [2, 8]
"""


def refused(*arguments: str | Path) -> str:
    """What is said of a command that ends with code 2."""
    ended = call(*arguments)
    assert ended.code == 2
    assert "Traceback" not in ended.err
    return ended.err


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    (tmp_path / "sweep.yaml").write_text(SWEEP)
    return tmp_path / "sweep.yaml"


def test_a_dry_run_lists_the_points_and_what_is_done(sweep: Path, tmp_path: Path) -> None:
    def listed() -> list[bool]:
        found = call("sweep", sweep, "--out", tmp_path / "out", "--dry-run", "--format", "json").json()
        assert found[1]["adapt.lora.r"] == 8
        return [point["done"] for point in found]

    assert listed() == [False] * 4
    assert not (tmp_path / "out").exists()
    call("sweep", sweep, "--out", tmp_path / "out", "--shard", "1/2", "--format", "quiet")
    assert listed() == [True, True, False, False]
    shown = call("sweep", sweep, "--out", tmp_path / "out", "--dry-run")
    assert shown.out.splitlines()[2] == "to do  point 3 (hardware.tile.rows=512, adapt.lora.r=2)"
    assert "2 of 4 points are done" in shown.err


def test_the_table_is_shown_and_told_as_json(sweep: Path, tmp_path: Path) -> None:
    found = call("sweep", sweep, "--out", tmp_path / "out", "--format", "json").json()
    assert [line["adapt.lora.r"] for line in found["points"]] == [2, 8, 2, 8]
    assert (found["kept"], found["problems"]) == (0, [])
    assert [Path(file).name for file in found["files"]] == ["results.csv", "results.parquet"]
    shown = call("sweep", sweep, "--out", tmp_path / "out").out
    assert "* is on the Pareto front" in shown
    assert str(tmp_path / "out" / "results.csv") in shown.replace("\n", "")


def test_a_finished_sweep_is_shown_again_without_torch(sweep: Path, tmp_path: Path) -> None:
    call("sweep", sweep, "--out", tmp_path / "out", "--format", "quiet")
    code = (
        "import sys; from aimc_deploy.cli.app import app; "
        f"app(['sweep', {str(sweep)!r}, '--out', {str(tmp_path / 'out')!r}, '--format', 'json'], "
        "standalone_mode=False); "
        "heavy = {'torch', 'transformers', 'peft', 'matplotlib', 'ray'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout)["kept"] == 4
    assert ended.stderr.splitlines()[-1] == "[]"


def test_points_that_fail_end_with_code_2_after_the_table(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(
        "accuracy: false\nexecutor: {workers: 1}\ngrid: {hardware.placement.tiles: [1, 5000]}"
    )
    ended = call("sweep", tmp_path / "s.yaml", "--out", tmp_path / "out", "--format", "json")
    assert ended.code == 2
    assert [line["status"] for line in ended.json()["points"]] == ["failed", "done"]
    assert "points that failed or were lost: 1; the others are kept" in ended.message
    assert "point 1 (hardware.placement.tiles=1) failed: " in ended.err
    assert (tmp_path / "out" / "results.csv").is_file()


def test_mistakes_are_shown_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("grid:\n  seed: [0, -1]\n")
    message = refused("sweep", tmp_path / "s.yaml", "--out", tmp_path / "out")
    assert f"point 2 (seed=-1): {tmp_path / 's.yaml'}:2: seed: " in message
    assert "cannot be read" in refused("sweep", tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shard", "3"], "write 3/8"),
        (["--shard", "0/2"], "the first share is 1/2"),
        (["--search", "optuna"], "go together"),
        (["--trials", "3"], "go together"),
        (["--search", "optuna", "--trials", "3", "--shard", "1/2"], "nobody knows"),
        (["--search", "optuna", "--trials", "3"], "no key 'search'"),
        (["--set", "adapt.lora.r=3"], "sweeps adapt.lora.r"),
        (["--executor", "moon"], "moon"),
        (["--workers", "0"], "executor.workers"),
    ],
)
def test_options_that_do_not_fit(sweep: Path, tmp_path: Path, options: list[str], message: str) -> None:
    assert message in refused("sweep", sweep, "--out", tmp_path / "out", *options)


def test_two_hundred_points_from_a_shell(tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(
        "set: {hardware: analog-fabric}\naccuracy: false\nexecutor: {workers: 2}\ngrid:\n"
        "  hardware.tile.rows: [256, 512]\n  adapt.lora.r: [1, 2, 4, 8, 16]\n"
        "  max_length: [64, 128, 256, 384]\n  hardware.adc.bits: [4, 5, 6, 7, 8]\n"
    )
    shell = Shell(tmp_path)
    output, errors = shell.run("sweep", "many.yaml")
    assert "aimc-sweep/results.csv" in output
    assert "points: 200/200" in errors
    assert len((tmp_path / "aimc-sweep" / "results.csv").read_text().splitlines()) == 201
    assert "points:" not in shell.run("sweep", "many.yaml")[1], "all were done"
