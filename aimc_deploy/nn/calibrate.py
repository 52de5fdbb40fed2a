"""Static input ranges: what the DACs are set to, from a few batches of real inputs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import StaticRange
from aimc_deploy.errors import TrainingError
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import analog_layers
from aimc_deploy.tile.periphery import LARGEST_RANGE, SMALLEST_RANGE


def observe(values: Tensor, current: float | None, settings: StaticRange) -> float:
    """The range after one more batch of inputs to a tile, in the units of the inputs.

    ``max`` keeps the largest absolute value seen; ``quantile`` averages the batches' quantiles of the
    absolute values; ``moving_std`` averages ``num_std`` standard deviations. Averages are exponential
    with ``momentum``.

    Raises:
        TrainingError: a value is not finite: no range would hold it.
    """
    size = values.detach().abs().flatten()
    if not bool(size.isfinite().all()):
        raise TrainingError("it is given values that are not finite")
    if settings.method == "max":
        return max(float(size.max()), current or 0.0)
    if settings.method == "quantile":
        rank = max(1, round(settings.quantile * size.numel()))
        seen = float(size.kthvalue(rank).values)
    else:
        seen = settings.num_std * float(values.detach().std())
    return seen if current is None else current + settings.momentum * (seen - current)


@torch.no_grad()
def calibrate(model: nn.Module, batches: Iterable[Mapping[str, Any]], settings: StaticRange) -> None:
    """Set the input ranges of every analog layer from the inputs it sees in ``model(**batch)``.

    Padding is part of what a layer sees, as it is on the chip. A layer that sees only zeros, or
    nothing that is larger than the smallest range, gets 1.

    Raises:
        TrainingError: a layer is given something that is not finite.
    """
    layers = analog_layers(model)
    seen: dict[str, list[float | None]] = {
        name: [None] * len(layer.grid.layout.row_slices) for name, layer in layers.items()
    }

    def watch(layer: AnalogLinear, args: tuple[Tensor, ...]) -> None:
        ranges = seen[layer.name]
        for index, rows in enumerate(layer.grid.layout.row_slices):
            try:
                ranges[index] = observe(args[0][..., rows], ranges[index], settings)
            except TrainingError as error:
                raise TrainingError(
                    f"layer '{layer.name}' cannot be given an input range: {error}; its weights, or those "
                    "of the layers before it, are too large or damaged"
                ) from None

    hooks = [layer.register_forward_pre_hook(watch) for layer in layers.values()]
    try:
        for batch in batches:
            model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    for name, layer in layers.items():
        layer.input_ranges = [
            min(value, LARGEST_RANGE) if value is not None and value >= SMALLEST_RANGE else 1.0
            for value in seen[name]
        ]
