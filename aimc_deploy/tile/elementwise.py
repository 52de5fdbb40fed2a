"""DAC and ADC in torch's own operations: any device, any floating-point type.

On a GPU what is done to each value is compiled into one pass where torch can compile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aimc_deploy.physics.converters import quantise_
from aimc_deploy.physics.random import Stream
from aimc_deploy.tile.periphery import SMALLEST_RANGE, Converted, Periphery


def convert(x: Float[Tensor, "batch rows"], periphery: Periphery, input_range: float | None) -> Converted:
    """Inputs through the DAC.

    It saturates at what is beyond its range, but an infinity, which no circuit gives it, becomes NaN: whoever
    looks for what is not finite behind the layer would not see it otherwise.

    Args:
        input_range: full scale in units of ``x``; None takes each row's own largest absolute value.
    """
    values, full_scale = _fused(_convert, x.device.type)(x, periphery.dac_bits, input_range)
    return Converted(values, full_scale, 1.0)


def read(
    y: Float[Tensor, "batch cols"],
    gain: float,
    periphery: Periphery,
    noise: Stream | None,
    full_scale: Float[Tensor, " batch"],
    out_scale: Float[Tensor, " cols"],
    onto: Float[Tensor, "any cols"],
    *,
    mark: bool,
) -> Bool[Tensor, "batch cols"] | None:
    """Turn column currents into outputs, in place: output noise, ADC, digital scale, what they are added to.

    ``y = onto + full_scale * out_scale * ADC(gain * y + output_noise * N)``

    Args:
        gain: brings ``y`` into units of (largest weight x largest input).
        noise: where ``N`` comes from; None adds none.
        onto: one row for all (a bias), or one for each.
        mark: tell where the ADC was out of its range.

    Returns:
        True where it was; None if that was not asked for, or if it is known that it never was.
    """
    if noise is not None:
        noise.add_to_(y, periphery.output_noise, gain)
    elif gain != 1:
        y.mul_(gain)
    saturated = y.abs() > periphery.output_range if mark else None
    finish = _fused(_finish_, y.device.type)
    finish(y, periphery.adc_bits, periphery.output_range, full_scale, out_scale, onto)
    return saturated


def _convert(x: Tensor, bits: int | None, input_range: float | None) -> tuple[Tensor, Tensor]:
    if input_range is None:
        smallest = max(SMALLEST_RANGE, torch.finfo(x.dtype).tiny)  # half precision rounds 1e-30 to zero
        full_scale = x.abs().amax(dim=-1).clamp_(min=smallest)
    else:
        full_scale = x.new_full(x.shape[:1], input_range)
    return quantise_(x / full_scale.unsqueeze(1), bits, 1.0).add_(x - x), full_scale


def _finish_(
    y: Tensor, bits: int | None, output_range: float, full_scale: Tensor, out_scale: Tensor, onto: Tensor
) -> None:
    quantise_(y, bits, output_range).mul_(full_scale.unsqueeze(1)).mul_(out_scale).add_(onto)


@lru_cache
def _fused(function: Callable[..., Any], device: str) -> Callable[..., Any]:
    """One compiled pass on a GPU that torch has a compiler for; elsewhere the operations one by one."""
    return torch.compile(function, dynamic=True) if device == "cuda" and find_spec("triton") else function
