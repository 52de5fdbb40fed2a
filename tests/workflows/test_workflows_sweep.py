"""Points and what makes two the same; rows, tables and searches that need no training."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_sweep import write_sweep

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ConfigError, ExecutorError
from aimc_deploy.workflows import adapt, map, sweep
from aimc_deploy.workflows.cost import run as cost
from aimc_deploy.workflows.sweep import reckon
from aimc_deploy.workflows.sweep.points import Point
from aimc_deploy.workflows.sweep.row import Row, place
from aimc_deploy.workflows.sweep.table import Ended, table, to_csv

FABRIC = {"hardware": "analog-fabric"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sweep")
    write_sweep(path)
    return path


def write(path: Path, **content: Any) -> Path:
    path.write_text(json.dumps({"accuracy": False, "set": FABRIC, **content}))
    return path


def point(folder: Path, accuracy: bool = True, **settings: Any) -> Point:
    path = folder / "one.yaml"
    content = {"recipe": "recipe.yaml", "points": [settings or {"seed": 0}], "accuracy": accuracy}
    path.write_text(json.dumps(content))
    return sweep.read_sweep(path).grid()[0]


def compute(path: Path, out: Path, **settings: Any) -> sweep.SweepResult:
    return sweep.run(sweep.read_sweep(path, executor={"workers": 1}), out, **settings)


@pytest.mark.parametrize(
    ("settings", "same_key", "same_group"),
    [
        ({"device": "auto"}, True, True),
        ({"evaluate.gate.min_accuracy": 0.1}, True, True),
        ({"hardware.description": "x"}, True, True),
        ({"seed": 0}, True, True),
        ({"evaluate.chips": 3}, False, True),
        ({"evaluate.times": ["0s"]}, False, True),
        ({"seed": 1}, False, False),
        ({"adapt.lora.r": 3}, False, False),
        ({"hardware.adc.bits": 7}, False, False),
        ({"max_length": 12}, False, False),
        ({"task": "cola"}, False, False),
        ({"source.path": None}, False, False),
    ],
)
def test_what_makes_two_points_the_same(
    folder: Path, settings: dict[str, Any], same_key: bool, same_group: bool
) -> None:
    shutil.copytree(folder / "SST-2", folder / "CoLA", dirs_exist_ok=True)
    before, after = point(folder), point(folder, **settings)
    assert (before.key == after.key, before.group == after.group) == (same_key, same_group)
    assert before.key != before.group
    assert point(folder, accuracy=False).key != before.key


def test_bytes_count_and_paths_do_not(folder: Path, tmp_path: Path) -> None:
    before = point(folder)
    for name in ("tiny", "SST-2"):
        shutil.copytree(folder / name, tmp_path / name)
    moved = {"source.path": str(tmp_path / "tiny"), "data_dir": str(tmp_path / "SST-2")}
    assert point(folder, **moved).key == before.key
    with (tmp_path / "SST-2" / "dev.tsv").open("a") as file:
        file.write("good\t1\n")
    changed = point(folder, **moved)
    assert changed.key != before.key
    tokenizer = tmp_path / "tiny" / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + "\n")
    assert point(folder, **moved).key != changed.key


def test_only_the_configuration_of_a_model_counts_for_its_plan(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "tiny", tmp_path / "tiny")
    (tmp_path / "tiny" / "model.safetensors").unlink()
    moved = {"source.path": str(tmp_path / "tiny"), "data_dir": str(folder / "SST-2")}
    assert point(folder, accuracy=False, **moved).key == point(folder, accuracy=False).key
    assert point(folder, accuracy=False, **{"evaluate.chips": 9}).key == point(folder, accuracy=False).key
    one, two = (point(folder, accuracy=False, **{"adapt.lora.r": r}) for r in (1, 2))
    assert one.key != two.key
    assert one.group == two.group, "one tile map serves both"


def test_a_plan_is_reckoned_as_cost_reckons_it(tmp_path: Path) -> None:
    grid = {"hardware.tile.rows": [256, 512], "adapt.lora.r": [4, 8]}
    result = compute(write(tmp_path / "s.yaml", grid=grid), tmp_path / "out")
    points = sweep.read_sweep(tmp_path / "s.yaml").grid()
    assert len(result.lines) == 4
    for line, at in zip(result.lines, points, strict=True):
        config = at.config
        rank = config.adapt.lora.r
        found = cost(config.source, config.hardware, rank=rank, tokens=8, length=128, budget=0.05).cost
        assert line["tiles"] == found.tiles
        assert line["token_ns"] == found.token_with_adapters_ns
        assert line["sequence_ns"] == found.sequence_with_adapters_ns
        assert line["token_nj"] == (found.tile_nj or 0) + found.adapter_nj
        assert line["adapter_bytes"] == sum(layer.adapter_bytes for layer in found.layers)
        assert line["adapter_parameters"] == sum(rank * (part.rows + part.cols) for part in found.layers)
    assert not (tmp_path / "out" / "pareto.svg").exists(), "no accuracy, no picture"
    assert len(list((tmp_path / "out" / "points").iterdir())) == 2


@pytest.mark.parametrize(
    "lora",
    [
        {"r": 2},
        {"r": 2, "dora": True, "dropout": 0},
        {"r": 3, "layers": ["*query*", "*dense*"], "ranks": [{"layers": "*query*", "r": 1}]},
    ],
    ids=["lora", "dora", "ranks"],
)
def test_parameters_are_those_that_peft_trains(folder: Path, tmp_path: Path, lora: dict[str, Any]) -> None:
    at = point(folder, **{"adapt.lora": lora, "adapt.epochs": 0.2})
    config = at.config.model_copy(update={"bundle": str(tmp_path / "bundle")})
    map.run(config, tmp_path / "bundle")
    adapt.run(config)
    bundle = Bundle.open(tmp_path / "bundle")
    trained = bundle.read_tensors("adapters/sst2/adapter_model.safetensors")
    own = sum(value.numel() for name, value in trained.items() if "lora_" in name)
    found = reckon.costs(config, bundle.read_json("tile_map.json"))
    assert found["adapter_parameters"] == own


def test_a_point_that_fails_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", grid={"hardware.placement.tiles": [1, 5000], "seed": [0, 1]})
    result = compute(path, tmp_path / "out")
    assert [line["status"] for line in result.lines] == ["failed", "failed", "done", "done"]
    assert "tiles" in result.lines[0]["error"]
    assert [line["pareto"] for line in result.lines] == [False, False, True, True]
    assert [problem.split(" failed: ")[0] for problem in result.problems] == [
        "point 1 (hardware.placement.tiles=1, seed=0)",
        "point 2 (hardware.placement.tiles=1, seed=1)",
    ]
    again = compute(path, tmp_path / "out")
    assert (again.kept, len(again.problems)) == (2, 2)


def test_a_defect_of_one_point_does_not_stop_the_others(tmp_path: Path, monkeypatch: Any) -> None:
    honest = reckon.reckon

    def failing(config: Run, group: str, key: str) -> Row:
        if config.seed == 1:
            raise ZeroDivisionError("oh")
        return honest(config, group, key)

    monkeypatch.setattr(reckon, "reckon", failing)
    result = compute(write(tmp_path / "s.yaml", grid={"seed": [0, 1, 2]}), tmp_path / "out")
    assert [line["status"] for line in result.lines] == ["done", "failed", "done"]
    assert result.lines[1]["error"] == "internal error: ZeroDivisionError: oh; report it"


def test_a_damaged_row_is_computed_again(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", grid={"seed": [0, 1]})
    compute(path, tmp_path / "out")
    before = (tmp_path / "out" / "results.csv").read_bytes()
    at = sweep.read_sweep(path).grid()[0]
    row = place(tmp_path / "out", at.group, at.key)
    for damage in ("", "{}", '{"key": 3}'):
        row.write_text(damage)
        assert compute(path, tmp_path / "out").kept == 1
        assert (tmp_path / "out" / "results.csv").read_bytes() == before


def test_what_a_killed_writer_left_of_a_row_or_table_is_removed(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", grid={"seed": [0, 1]})
    out, temporary = tmp_path / "out", ".tmp-0123456789abcdef"
    compute(path, out)
    table = (out / "results.csv").read_bytes()
    row = next((out / "points").rglob("*.json"))
    row.rename(row.with_name(temporary))
    (out / "results.csv").rename(out / temporary)
    compute(path, out)
    assert (out / "results.csv").read_bytes() == table
    assert not list(out.rglob(temporary))


def test_shards_do_all_of_it_between_them_and_the_next_call_collects(tmp_path: Path) -> None:
    grid = {"hardware.tile.rows": [128, 256, 512], "seed": [0, 1]}
    path = write(tmp_path / "s.yaml", grid=grid)
    compute(path, tmp_path / "whole")
    for number in (2, 1):
        result = compute(path, tmp_path / "out", shard=(number, 2))
        assert (result.lines, result.files, result.problems) == ([], [], [])
    assert not (tmp_path / "out" / "results.csv").exists()
    assert len(list((tmp_path / "out").glob("points/*/*.json"))) == 6
    result = compute(path, tmp_path / "out")
    assert result.kept == 6
    for name in ("results.csv", "results.parquet"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    for wrong in ((0, 2), (3, 2)):
        with pytest.raises(ConfigError, match=f"--shard {wrong[0]}/2: the first share is 1/2"):
            compute(path, tmp_path / "out", shard=wrong)


def test_points_that_are_there_twice_are_computed_once(tmp_path: Path) -> None:
    path = write(tmp_path / "s.yaml", points=[{"seed": 1}, {"seed": 2}, {"seed": 1, "device": "cpu"}])
    result = compute(path, tmp_path / "out")
    assert [line["seed"] for line in result.lines] == [1, 2, 1]
    assert result.lines[0]["key"] == result.lines[2]["key"]
    assert len(list((tmp_path / "out").glob("points/*/*.json"))) == 2


def test_the_table_has_one_column_for_each_swept_key_and_parquet_says_the_same(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    points = [{"hardware.adc.bits": 8}, {"hardware.adc.bits": None}, {"adapt.lora": {"r": 2}}, {"seed": 3}]
    compute(write(tmp_path / "s.yaml", points=points), tmp_path / "out")
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    found = pyarrow.parquet.read_table(tmp_path / "out" / "results.parquet")
    names = [
        *("hardware.adc.bits", "adapt.lora", "task", "seed", "adapter", "metric", "digital", "tiles"),
        *("utilisation", "token_ns", "sequence_ns", "token_nj", "adapter_parameters", "adapter_bytes"),
        *("pareto", "status", "error", "key"),
    ]
    assert list(rows[0]) == found.column_names == names
    assert [row["hardware.adc.bits"] for row in rows] == ["8", "", "", ""]
    assert [row["adapt.lora"] for row in rows] == ["", "", '{"r": 2}', ""]
    assert found["hardware.adc.bits"].type == pyarrow.int64()
    assert found["pareto"].type == pyarrow.bool_()
    for name in ("tiles", "token_ns", "adapter_bytes"):
        assert [float(row[name]) for row in rows] == found[name].to_pylist()


def test_times_are_columns_in_their_order_whichever_points_have_them() -> None:
    def row(key: str, *times: str) -> Row:
        seconds = {"0s": 0.0, "1d": 86400.0, "10y": 3e8}
        spread = {"std": None, "ci_low": None, "ci_high": None}
        parts = tuple({"time": time, "t_s": seconds[time], "mean": 0.5, **spread} for time in times)
        costs = {"token_ns": None, "sequence_ns": None, "token_nj": None, "adapter_parameters": 1}
        return Row.model_validate(
            {"key": key, "times": parts, "tiles": 1, "utilisation": 1.0, "adapter_bytes": 1, **costs}
        )

    points = [Point(1, {"seed": 0}, Run(), "a", "a"), Point(2, {"seed": 1}, Run(), "b", "b")]
    lines = table(points, {"a": Ended(row("a", "0s", "10y")), "b": Ended(row("b", "1d"))})
    means = [name for name in lines[0] if name.startswith("mean_")]
    assert means == ["mean_0s", "mean_1d", "mean_10y"]
    assert [lines[1][name] for name in means] == [None, 0.5, None]
    assert to_csv(lines).count("\n") == 3


SEARCH = {
    "adapt.lora.r": {"low": 1, "high": 16, "log": True},
    "hardware.tile.rows": [128, 256, 512],
    "adapt.lora.alpha": {"low": 1.0, "high": 4.0, "step": 0.5},
}


def test_a_search_is_the_same_again_goes_on_and_finds_the_best(tmp_path: Path, monkeypatch: Any) -> None:
    path = write(
        tmp_path / "s.yaml", search=SEARCH, objectives=["tiles", "adapter_bytes"], batch=4, search_seed=3
    )
    first = compute(path, tmp_path / "out", trials=10)
    assert [line["trial"] for line in first.lines] == list(range(10))
    assert {line["status"] for line in first.lines} == {"done"}
    assert all(1 <= line["adapt.lora.r"] <= 16 for line in first.lines)
    assert {line["adapt.lora.alpha"] % 0.5 for line in first.lines} == {0}
    with monkeypatch.context() as patch:
        patch.setattr(reckon, "reckon", None)  # nothing may be computed
        again = compute(path, tmp_path / "out", trials=10)
        assert again.lines == first.lines
    more = compute(path, tmp_path / "out", trials=30)
    kept = [{name: line[name] for name in line if name != "pareto"} for line in more.lines[:10]]
    assert kept == [{name: line[name] for name in line if name != "pareto"} for line in first.lines]
    elsewhere = sweep.run(sweep.read_sweep(path, executor={"workers": 2}), tmp_path / "two", trials=30)
    assert elsewhere.lines == more.lines
    other = write(
        tmp_path / "o.yaml", search=SEARCH, objectives=["tiles", "adapter_bytes"], batch=4, search_seed=4
    )
    assert [line["key"] for line in compute(other, tmp_path / "out", trials=10).lines] != [
        line["key"] for line in first.lines
    ]
    assert any(line["adapt.lora.r"] == 1 and line["pareto"] for line in more.lines), "the smallest adapter"


def test_what_a_search_cannot_do_is_said(tmp_path: Path, monkeypatch: Any) -> None:
    path = write(tmp_path / "s.yaml", grid={"seed": [1]})
    with pytest.raises(ConfigError, match="no key 'search'"):
        compute(path, tmp_path / "out", trials=3)
    unknown = {"search": {"seed": [1, 2]}, "objectives": ["token_ns"], "set": {"hardware": "pcm"}}
    with pytest.raises(ConfigError, match=r"token_ns is not known of point 1 .*choose hardware"):
        compute(write(tmp_path / "u.yaml", **unknown), tmp_path / "out", trials=2)
    wrong = write(tmp_path / "w.yaml", search={"adapt.lora.r": [0]}, objectives=["tiles"])
    with pytest.raises(ConfigError, match=r"point 1 \(adapt.lora.r=0\): .*w.yaml:1: adapt.lora.r: "):
        compute(wrong, tmp_path / "out", trials=2)
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(ExecutorError, match=r"pip install 'aimc-deploy\[tune\]'"):
        compute(write(tmp_path / "v.yaml", search={"seed": [1]}, objectives=["tiles"]), tmp_path, trials=2)
