"""Times, and a figure beside its targets."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Figure:
    """One line of the table; ``value`` is a ratio to the plain model, or seconds of CPU."""

    what: str
    threads: int
    value: float
    unit: str
    must: float
    goal: float
    detail: str = ""

    @property
    def verdict(self) -> str:
        """Which of the two targets it reaches."""
        return "goal" if self.value <= self.goal else "must" if self.value <= self.must else "missed"


def alternate(first: Callable[[], Any], second: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Median seconds of each, run in turn after one run of each to warm up."""
    first(), second()
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for call, times in zip((first, second), taken, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return statistics.median(taken[0]), statistics.median(taken[1])


def compare(
    what: str, plain: Callable[[], Any], analog: Callable[[], Any], repeats: int, *, must: float, goal: float
) -> Figure:
    """The ratio of two calls, run in turn."""
    base, taken = alternate(plain, analog, repeats)
    detail = f"{taken:.3f} s against {base:.3f} s"
    return Figure(what, torch.get_num_threads(), taken / base, "x", must, goal, detail)


def processor_time(call: Callable[[int], Any], repeats: int) -> float:
    """Median seconds of CPU of ``call(0)``, ``call(1)``, ..."""
    taken = []
    for index in range(repeats):
        start = time.process_time()
        call(index)
        taken.append(time.process_time() - start)
    return statistics.median(taken)
