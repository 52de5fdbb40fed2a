"""Where the time of a forward pass goes."""

from __future__ import annotations

from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from aimc_deploy.nn.convert import drift, program
from aimc_deploy.physics.compiled import RowLoop
from benchmark.models import SEED, batch, build


def show(threads: int) -> None:
    """Print the operations of a pass on a chip, and of the plain one, by the time they take themselves."""
    plain, analog = build()
    torch.set_num_threads(threads)
    program(analog, SEED, 0)
    drift(analog, 0.0)
    call = RowLoop.__call__

    def recorded(loop: RowLoop, *given: Any) -> int:
        with record_function(loop.serial.__name__.strip("_")):
            return call(loop, *given)

    RowLoop.__call__ = recorded  # type: ignore[method-assign]
    for model in (analog, plain):
        with torch.inference_mode():
            model(**batch())
            with profile(activities=[ProfilerActivity.CPU]) as seen:
                model(**batch())
        print(seen.key_averages().table(sort_by="self_cpu_time_total", row_limit=12))
