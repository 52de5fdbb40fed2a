"""The same sweep on every engine, and with processes and machines that die: the same rows, byte by byte."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_sweep import GRID, write_sweep

from aimc_deploy.errors import WorkerLost
from aimc_deploy.workflows import evaluate, sweep
from aimc_deploy.workflows.sweep.job import Work

SOME = {"adapt.lora.r": [1], "seed": [0, 1], "evaluate.chips": [1, 2], "hardware.adc.bits": [5, 8]}
FILES = ("results.csv", "results.parquet", "pareto.svg")


class After:
    """Does something once, when so many points are done."""

    def __init__(self, points: int, action: Callable[[], Any]) -> None:
        self.points, self.action, self.done, self.acted = points, action, 0, False

    def start(self, what: str, total: int) -> None:
        self.total = total

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        if self.done >= self.points and not self.acted:
            self.acted = True
            assert self.done < self.total, "nothing is left to be disturbed"
            self.action()

    def say(self, message: str) -> None: ...


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, bytes]:
    """The table of the 24 points, from two processes."""
    file = sweep.read_sweep(write_sweep(folder, grid=GRID), executor={"workers": 2})
    result = sweep.run(file, folder / "local")
    assert (len(result.lines), result.problems, result.kept) == (24, [], 0)
    assert len({line["key"] for line in result.lines}) == 24
    values = {(line["mean_1y"], line["std_1y"], line["digital"]) for line in result.lines}
    assert len(values) > 12, "rows that differ, so that a wrong one shows"
    return {name: (folder / "local" / name).read_bytes() for name in FILES}


def files_after(folder: Path, out: Path, progress: Any = None, **executor: Any) -> dict[str, bytes]:
    """The table of the 24 points on another engine."""
    result = sweep.run(sweep.read_sweep(folder / "sweep.yaml", executor=executor), out, progress=progress)
    assert result.problems == []
    assert result.kept == 0
    return {name: (out / name).read_bytes() for name in FILES}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Two machines of one processor each: two raylets here."""
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else they starve on a busy machine
    import ray
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 80 * 1024**2}
    found = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    try:
        found.second = found.add_node(**small)
        found.wait_for_nodes()
        ray.init(address=found.address, log_to_driver=False)
        assert len(ray.nodes()) == 2
        yield found
    finally:
        ray.shutdown()
        found.shutdown()


def test_two_machines_of_a_ray_cluster(
    expected: dict[str, bytes], folder: Path, tmp_path: Path, cluster: Any
) -> None:
    assert files_after(folder, tmp_path / "ray", kind="ray") == expected


def test_a_machine_of_a_ray_cluster_that_dies(
    expected: dict[str, bytes], folder: Path, tmp_path: Path, cluster: Any
) -> None:
    import ray

    def kill() -> None:
        cluster.remove_node(cluster.second, allow_graceful=False)

    after = After(6, kill)
    assert files_after(folder, tmp_path / "ray", after, kind="ray") == expected
    assert after.acted
    until = time.monotonic() + 60  # Ray hears of it by its health checks: the sweep may end before
    while sum(node["Alive"] for node in ray.nodes()) > 1:
        assert time.monotonic() < until, "the machine did not die"
        time.sleep(0.2)


def test_worker_processes_that_are_killed(expected: dict[str, bytes], folder: Path, tmp_path: Path) -> None:
    def kill() -> None:
        children = multiprocessing.active_children()
        assert children
        for child in children:
            os.kill(child.pid or 0, signal.SIGKILL)

    (tmp_path / "some.yaml").write_text(json.dumps({"recipe": str(folder / "recipe.yaml"), "grid": SOME}))
    file = sweep.read_sweep(tmp_path / "some.yaml", executor={"workers": 2})
    after = After(2, kill)
    result = sweep.run(file, tmp_path / "out", progress=after)
    assert after.acted, "somebody was killed"
    assert (len(result.lines), result.problems) == (8, [])
    front = [name for name in result.lines[0] if name != "pareto"]  # which depends on the other points
    whole = {line["key"]: line for line in lines_of(folder / "local")}
    for line in result.lines:
        assert {name: line[name] for name in front} == {name: whole[line["key"]][name] for name in front}


def lines_of(out: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(out / "results.parquet").to_pylist()


def test_submitit(expected: dict[str, bytes], folder: Path, tmp_path: Path) -> None:
    few = {**SOME, "seed": [1], "hardware.adc.bits": [5]}
    (tmp_path / "few.yaml").write_text(json.dumps({"recipe": str(folder / "recipe.yaml"), "grid": few}))
    asked = {"kind": "slurm", "cluster": "local", "folder": str(tmp_path / "slurm")}
    result = sweep.run(sweep.read_sweep(tmp_path / "few.yaml", executor=asked), tmp_path / "out")
    assert (len(result.lines), result.problems) == (2, [])
    assert list((tmp_path / "slurm").glob("*_log.out")), "it was submitit that computed them"
    whole = {line["key"]: line for line in lines_of(folder / "local")}
    for line in result.lines:
        assert {**line, "pareto": None} == {**whole[line["key"]], "pareto": None}


def test_an_interrupted_sweep_goes_on(expected: dict[str, bytes], folder: Path, tmp_path: Path) -> None:
    """What was done is kept, and neither the order nor one process instead of two shows in the end."""

    def stop() -> None:
        raise KeyboardInterrupt

    file = sweep.read_sweep(folder / "sweep.yaml", executor={"workers": 2})
    with pytest.raises(KeyboardInterrupt):
        sweep.run(file, tmp_path, progress=After(12, stop))
    assert multiprocessing.active_children() == []
    done = [point for point, is_done in sweep.listed(file, tmp_path) if is_done]
    assert 12 <= len(done) < 24
    again = sweep.run(sweep.read_sweep(folder / "sweep.yaml", executor={"workers": 1}), tmp_path)
    assert again.kept == len(done)
    assert {name: (tmp_path / name).read_bytes() for name in FILES} == expected


def test_points_that_differ_in_their_evaluation_share_an_adapter(
    expected: dict[str, bytes], folder: Path
) -> None:
    bundles = sorted((folder / "local" / "points").glob("*/bundle"))
    assert len(bundles) == 12
    for bundle in bundles:
        assert len(list((bundle / "adapters").iterdir())) == 1
        assert len(list((bundle / "results").glob("*.json"))) == 2
        assert not (bundle / "report").exists(), "nobody reads a report of each"


def test_the_chips_of_an_evaluation_run_on_ray_and_by_submitit_too(
    expected: dict[str, bytes], folder: Path, tmp_path: Path, cluster: Any
) -> None:
    point = sweep.listed(sweep.read_sweep(folder / "sweep.yaml"), folder / "local")[0][0]
    bundle = folder / "local" / "points" / point.group / "bundle"
    found = []
    for kind in (
        {"kind": "local", "workers": 1},
        {"kind": "ray"},
        {"kind": "slurm", "cluster": "local", "folder": str(tmp_path / "slurm")},
    ):
        content = {**point.config.model_dump(), "bundle": str(bundle), "executor": kind}
        found.append(evaluate.run(type(point.config).model_validate(content), out="again").results)
    assert found[0].rows
    assert found[0] == found[1] == found[2]


def test_a_chip_that_is_lost_is_named(folder: Path, expected: dict[str, bytes], monkeypatch: Any) -> None:
    from aimc_deploy.workflows import executors

    def all_lost(executor: Any, function: Any, jobs: list[Any], **settings: Any) -> Iterator[Any]:
        yield executors.Lost(1, "its process was ended by SIGKILL")

    point = sweep.listed(sweep.read_sweep(folder / "sweep.yaml"), folder / "local")[0][0]
    content = {**point.config.model_dump(), "executor": {"kind": "local", "workers": 2}}
    content["bundle"] = str(folder / "local" / "points" / point.group / "bundle")
    monkeypatch.setattr(executors, "run", all_lost)
    with pytest.raises(WorkerLost, match=r"chip 0 with adapter 'sst2' was lost twice: .*SIGKILL; .*fewer"):
        evaluate.run(type(point.config).model_validate(content), out="lost")


def test_a_point_that_is_lost_is_a_row(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """And the next call tries it again."""
    from aimc_deploy.workflows import executors

    path = tmp_path / "lost.yaml"
    path.write_text(json.dumps({"accuracy": False, "grid": {"hardware.tile.rows": [256, 512]}}))
    file = sweep.read_sweep(path, executor={"workers": 1})
    honest = executors.run

    def one_lost(executor: Any, function: Any, jobs: list[Work], **settings: Any) -> Iterator[Any]:
        yield executors.Lost(1, "its process was ended by SIGKILL")
        yield from honest(executor, function, jobs[:1])

    with monkeypatch.context() as patch:
        patch.setattr(executors, "run", one_lost)
        result = sweep.run(file, tmp_path / "out")
    assert [line["status"] for line in result.lines] == ["done", "lost"]
    assert result.lines[1]["tiles"] is None
    assert result.problems == ["point 2 (hardware.tile.rows=512) lost: its process was ended by SIGKILL"]
    again = sweep.run(file, tmp_path / "out")
    assert [line["status"] for line in again.lines] == ["done", "done"]
    assert (again.kept, again.problems) == (1, [])
