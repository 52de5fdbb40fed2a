"""The seam for parallel work: the same on every engine, whoever dies."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jobs_that_die import Work, square, where

from aimc_deploy.config.executor import Executor, Local, Ray, Slurm
from aimc_deploy.errors import DataError, ExecutorError
from aimc_deploy.workflows.executors import BREAKS, Done, Lost, run


@pytest.fixture(autouse=True, scope="module")
def _functions_are_found() -> Iterator[None]:
    """Processes that begin anew find this folder's modules as an installed package would be found."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("RAY_worker_niceness", "0")  # else they starve on a busy machine
        # How long submitit waits for the file of a job that is dead: for slow file systems.
        patch.setattr("submitit.core.core.Job._results_timeout_s", 0.5)
        yield


def test_without_a_cluster_ray_makes_one_and_ends_it(tmp_path: Path) -> None:
    """The first test here, before the others begin a cluster that they share."""
    import ray

    assert outcomes(Ray(workers=1), [Work(3, tmp_path)]) == {0: 9}
    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def cluster(_functions_are_found: None) -> Iterator[None]:
    """A Ray cluster that this process is in already."""
    import ray

    ray.init(address="local", num_cpus=2, object_store_memory=80 * 1024**2, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture(params=["one", "local", "ray", "slurm"])
def executor(request: pytest.FixtureRequest, tmp_path: Path) -> Executor:
    if request.param == "ray":
        request.getfixturevalue("cluster")
    engines: dict[str, Executor] = {
        "one": Local(workers=1),
        "local": Local(workers=2),
        "ray": Ray(),
        "slurm": Slurm(cluster="local", workers=2, folder=str(tmp_path / "slurm")),
    }
    return engines[request.param]


def outcomes(executor: Executor, jobs: list[Work], **settings: Any) -> dict[int, Any]:
    """By place; no place may come twice."""
    found = {}
    for ended in run(executor, square, jobs, **settings):
        assert ended.place not in found
        found[ended.place] = ended.value if isinstance(ended, Done) else ended
    return found


def test_jobs_give_the_same_wherever_they_run(executor: Executor, tmp_path: Path) -> None:
    jobs = [Work(number, tmp_path) for number in range(5)]
    assert outcomes(executor, jobs) == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    assert len(list(tmp_path.glob("?-0"))) == 5
    assert len(list(tmp_path.glob("?-1"))) == 0, "each was done once"


def test_an_error_of_the_function_is_raised_here_and_not_tried_again(
    executor: Executor, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"^1 is no number$"):
        outcomes(executor, [Work(number, tmp_path, fails=number == 1) for number in range(2)])
    assert len(list(tmp_path.glob("1-*"))) == 1
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("executor", ["local", "ray", "slurm"], indirect=True)
def test_a_process_that_dies_costs_its_own_job_alone(executor: Executor, tmp_path: Path) -> None:
    jobs = [Work(0, tmp_path), Work(1, tmp_path, deaths=1), Work(2, tmp_path, deaths=9), Work(3, tmp_path)]
    found = outcomes(executor, jobs)
    lost = found.pop(2)
    assert found == {0: 0, 1: 1, 3: 9}
    assert isinstance(lost, Lost)
    assert "process" in lost.reason or "job" in lost.reason
    # Once again, and again where the engine gave up all its processes and could not tell whose fault it was.
    for job in (1, 2):
        assert 2 <= len(list(tmp_path.glob(f"{job}-*"))) <= 2 + BREAKS


def test_how_often_is_tried_again_can_be_chosen(tmp_path: Path) -> None:
    jobs = [Work(1, tmp_path, deaths=2), Work(2, tmp_path, deaths=1)]
    assert outcomes(Local(workers=2), jobs, retries=2) == {0: 1, 1: 4}
    jobs = [Work(3, tmp_path, deaths=1), Work(4, tmp_path)]
    found = outcomes(Local(workers=2), jobs, retries=0)
    assert isinstance(found[0], Lost)
    assert found[1] == 16


def test_a_killed_process_is_named(tmp_path: Path) -> None:
    jobs = [Work(0, tmp_path, deaths=9), Work(1, tmp_path)]
    lost = outcomes(Local(workers=2), jobs)[0]
    assert lost.reason == "its process was ended by SIGKILL (out of memory?)"


def test_other_processes_work_in_the_same_folder(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    ended = [part.value for part in run(executor, where, [Work(0, tmp_path), Work(1, tmp_path)])]
    assert {folder for _, folder in ended} == {str(tmp_path / "here")}
    here = {process for process, _ in ended} == {os.getpid()}
    assert here == (executor == Local(workers=1))


def test_nothing_to_do_starts_nothing() -> None:
    assert list(run(Ray(), square, [])) == []


@pytest.mark.parametrize(("kind", "package"), [(Ray(), "ray"), (Slurm(), "submitit")])
def test_an_engine_that_is_not_installed_names_its_extra(
    kind: Executor, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ExecutorError, match=rf"pip install 'aimc-deploy\[{kind.kind}\]'"):
        list(run(kind, square, [Work(0, tmp_path)]))


def test_an_engine_that_cannot_be_reached_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"no Slurm here .*executor\.cluster=local"):
        list(run(Slurm(folder=str(tmp_path / "slurm")), square, [Work(0, tmp_path)]))
