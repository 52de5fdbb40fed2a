"""Loops over rows: every row once, on as many threads as torch has, where that is safe."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numba
import pytest
import torch

from aimc_deploy.physics import compiled
from aimc_deploy.physics.compiled import WORTH_A_THREAD, RowLoop


@pytest.fixture
def threads() -> Iterator[None]:
    """Four threads for torch, as before afterwards."""
    usual = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(usual)


@pytest.fixture
def seen() -> list[tuple[int, int]]:
    """The parts that were asked for."""
    return []


@pytest.fixture
def loop(seen: list[tuple[int, int]]) -> RowLoop:
    def serial(first: int, last: int) -> int:
        seen.append((first, last))
        return last - first

    def threaded(parts: int, rows: int, arguments: tuple) -> int:
        return sum(serial(rows * part // parts, rows * (part + 1) // parts) for part in range(parts))

    return RowLoop(serial, threaded)


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 1000])
def test_every_row_is_in_one_part(
    threads: None, loop: RowLoop, seen: list[tuple[int, int]], rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_threads", lambda process: 3)
    monkeypatch.setattr(numba, "set_num_threads", lambda count: None)
    assert loop(rows, WORTH_A_THREAD) == rows
    assert [row for first, last in seen for row in range(first, last)] == list(range(rows))
    assert len(seen) == min(rows, 3)


def test_small_work_stays_on_one_thread(threads: None, loop: RowLoop, seen: list[tuple[int, int]]) -> None:
    assert loop(100, 2 * WORTH_A_THREAD // 100 - 1) == 100
    assert seen == [(0, 100)]


def test_numba_has_the_threads_it_had(threads: None, loop: RowLoop) -> None:
    usual = numba.get_num_threads()
    loop(1000, WORTH_A_THREAD)
    assert numba.get_num_threads() == usual


def test_a_forked_child_has_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "_first_process", os.getpid() + 1)
    assert compiled._threads.__wrapped__(os.getpid()) == 1


def test_a_layer_that_two_threads_may_not_share_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba, "threading_layer", lambda: "workqueue")
    assert compiled._threads.__wrapped__(os.getpid()) == 1


def test_code_that_cannot_be_kept_is_compiled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function")
        return lambda function: function

    monkeypatch.setattr(compiled, "njit", refuse)
    assert compiled.compiled(len) is len


SHARED = """
import threading, torch
from aimc_deploy.physics.random import stream
torch.set_num_threads(2)
def draw(number):
    for _ in range(20):
        stream("cpu", number).normal_like(torch.empty(300, 400))
workers = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
[worker.start() for worker in workers]
[worker.join() for worker in workers]
print("done")
"""


def test_python_threads_may_draw_at_once() -> None:
    """numba's layer without a library would end the process."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", SHARED], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (0, "done\n"), ran.stderr
