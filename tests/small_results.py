"""Results of an evaluation that nobody had to run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aimc_deploy.artifact.results import Baseline, Results, Row
from aimc_deploy.config.times import seconds


def row(adapter: str, chip: int, time: str, **metrics: float) -> Row:
    return Row(adapter=adapter, chip=chip, time=time, t_s=seconds(time), metrics=metrics)


def results(rows: Sequence[Row], digital: dict[str, float] | None = None, **changes: Any) -> Results:
    digital = {"sst2": 0.95} if digital is None else digital
    fields = {
        "task": "sst2",
        "metric": "accuracy",
        "samples": 872,
        "seed": 0,
        "hardware_digest": "b" * 64,
        "settings": {"chips": 3, "compensation": None},
        "baselines": tuple(Baseline(adapter=name, metrics={"accuracy": of}) for name, of in digital.items()),
        "rows": tuple(rows),
    }
    return Results(**{**fields, **changes})


NOISE = (0.0, 0.004, -0.003, 0.002, -0.001)


def chips(*values: float, adapter: str = "sst2", time: str = "1d") -> list[Row]:
    return [row(adapter, chip, time, accuracy=value) for chip, value in enumerate(values)]


def around(mean: float, spread: float = 1.0, adapter: str = "sst2", time: str = "1d") -> list[Row]:
    """Five chips about this mean."""
    return chips(*(mean + spread * noise for noise in NOISE), adapter=adapter, time=time)
