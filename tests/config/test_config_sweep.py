"""The file of a sweep: what it may say, and its mistakes with their lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aimc_deploy.config.load import sweep_schema
from aimc_deploy.config.sweep import MAX_POINTS
from aimc_deploy.errors import ConfigError
from aimc_deploy.workflows.sweep import read_sweep

CONFIGS = Path(__file__).parents[2] / "configs"


def complaint(tmp_path: Path, text: str, *settings: str) -> list[str]:
    """The lines of the error, with the path of the file as ``F``."""
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_sweep(path, settings).grid()
    return str(caught.value).replace(str(path), "F").splitlines()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "F: a sweep is a mapping of keys to values: recipe, set, grid, points"),
        ("set: {}", "F:1: the document: there are no points: give grid, points or search"),
        ("grid: {seed: []}", "F:1: grid.seed: Tuple should have at least 1 item after validation, not 0"),
        ("grid:\n  seed: 3", "F:2: grid.seed: Input should be a valid tuple (given: 3)"),
        ("grid: {seed: [1]}\nacuracy: no", "F:2: acuracy: unknown key; did you mean 'accuracy'? "),
        ("grid: {bundle: [a]}", "F:1: the document: bundle: cannot be set or swept: each point has"),
        ("set: {seed: 1}\ngrid: {seed: [1]}", "F:1: the document: seed: is set for all points and swept too"),
        ("grid: {seed: [1]}\nexecutor: {kind: ray, partition: x}", "F:2: executor.partition: unknown key; "),
        ("search: {seed: {low: 3, high: 1}}", "F:1: search.seed.range: low: 3 is not less than high, 1"),
        ("search: {seed: {low: 0, high: 1, log: true}}", "F:1: search.seed.range: log: needs low above 0"),
        ("search: {seed: [1]}\nobjectives: [speed]", "F:2: objectives.0: Input should be 'accuracy', "),
        ("search: {seed: [1]}\naccuracy: false", "F:1: the document: objectives: with accuracy: false there"),
        ("search: {seed: [1]}", "no grid and no points: search this with --search optuna --trials N"),
        ("grid: {'hardware..bits': [1]}", "F:1: grid.hardware..bits"),
        ("recipe: nowhere.yaml\ngrid: {seed: [1]}", "nowhere.yaml: cannot be read (No such file"),
    ],
)
def test_a_mistake_in_the_file(tmp_path: Path, text: str, message: str) -> None:
    assert message in "\n".join(complaint(tmp_path, text))


def test_too_many_points_are_refused(tmp_path: Path) -> None:
    keys = "abcdef"
    grid = "\n".join(f"  {key}: [{', '.join(map(str, range(10)))}]" for key in keys)
    (line,) = complaint(tmp_path, f"grid:\n{grid}")
    assert f"1,000,000 points are more than the {MAX_POINTS:,} allowed" in line


def test_all_mistakes_of_all_points_are_shown_at_once_with_point_and_line(tmp_path: Path) -> None:
    lines = complaint(
        tmp_path,
        "grid:\n  hardware.adc.bits:\n    - 8\n    - 99\n  adapt.lora.rank: [1]\npoints:\n  - {seed: -1}\n"
        "  - hardware: nobody\n  - task: sst2,cola\n",
    )
    bits = "Input should be less than or equal to"
    assert lines[0].startswith(
        "point 1 (hardware.adc.bits=8, adapt.lora.rank=1): F:5: adapt.lora.rank: unknown key; did you mean "
    )
    assert lines[1].startswith("point 2 (hardware.adc.bits=99, adapt.lora.rank=1): F:4: hardware.adc.bits: ")
    assert bits in lines[1]
    assert lines[2].startswith("point 3 (seed=-1): F:7: seed: Input should be greater than or equal to 0")
    assert lines[3].startswith(
        "point 4 (hardware=nobody): F:8: hardware: there is no hardware preset 'nobody'"
    )
    assert lines[4].startswith("point 5 (task=sst2,cola): task: a point has one task, not 'sst2,cola'")
    assert len(lines) == 5, "the same mistake of two points is told once"


def test_what_is_swept_cannot_be_set_for_all_on_the_command_line(tmp_path: Path) -> None:
    (line,) = complaint(tmp_path, "grid: {seed: [1, 2]}", "seed=3")
    assert line == "--set seed=3: F sweeps seed: take it out there, or leave it out here"


def test_files_that_are_not_there_are_told_before_anything_is_computed(tmp_path: Path) -> None:
    text = f"grid:\n  task: [sst2, reviews]\nset: {{data_dir: {tmp_path / 'no'}, source.path: {tmp_path}}}"
    lines = complaint(tmp_path, text)
    assert len(lines) == 1
    assert f"{tmp_path} has no config.json" in lines[0]
    lines = complaint(tmp_path, f"grid:\n  task: [sst2]\nset: {{data_dir: {tmp_path / 'no'}}}")
    assert lines[0].startswith(f"point 1 (task=sst2): --data-dir {tmp_path / 'no'} is not a folder")


def test_settings_are_laid_over_each_other_in_order(tmp_path: Path) -> None:
    """Preset < recipe < set < command line < point."""
    (tmp_path / "recipe.yaml").write_text(
        "hardware: {preset: pcm, adc: {bits: 4}}\nadapt: {epochs: 2}\nseed: 5"
    )
    (tmp_path / "sweep.yaml").write_text(
        "recipe: recipe.yaml\nset: {adapt.epochs: 3, adapt.lora: {alpha: 8}, hardware.dac.bits: 7}\n"
        "accuracy: false\ngrid: {adapt.lora.r: [1, 2]}\n"
        "points: [{hardware: pcm-x4, adapt.lora: {r: 3, dropout: 0}}]"
    )
    found = [point.config for point in read_sweep(tmp_path / "sweep.yaml", ["adapt.epochs=4"]).grid()]
    assert [config.adapt.lora.r for config in found] == [1, 2, 3]
    for config in found:
        assert (config.seed, config.adapt.epochs, config.adapt.lora.alpha) == (5, 4, 8)
        assert (config.hardware.adc.bits, config.hardware.dac.bits) == (4, 7)
    assert [config.hardware.name for config in found] == ["pcm", "pcm", "pcm-x4"]
    assert found[2].adapt.lora.dropout == 0


@pytest.mark.parametrize(
    ("given", "changes", "kind", "workers"),
    [
        ("{}", {"workers": 3}, "local", 3),
        ("{workers: 2}", {}, "local", 2),
        ("{kind: ray, workers: 2, address: here}", {"workers": 3}, "ray", 3),
        ("{kind: ray, workers: 2, address: here}", {"kind": "slurm"}, "slurm", None),
    ],
)
def test_the_executor_of_the_command_line_counts_more(
    tmp_path: Path, given: str, changes: dict[str, object], kind: str, workers: int | None
) -> None:
    (tmp_path / "sweep.yaml").write_text(f"grid: {{seed: [1]}}\nexecutor: {given}")
    found = read_sweep(tmp_path / "sweep.yaml", executor=changes).sweep.executor
    assert (found.kind, found.workers) == (kind, workers)


def test_the_shipped_schema_and_sweep_are_current() -> None:
    assert json.loads((CONFIGS / "sweep.schema.json").read_text()) == sweep_schema()
    first = (CONFIGS / "sweep.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=sweep.schema.json"
    points = read_sweep(CONFIGS / "sweep.yaml").grid()
    assert len({point.key for point in points}) == 8
    assert {point.config.task for point in points} == {"reviews"}
