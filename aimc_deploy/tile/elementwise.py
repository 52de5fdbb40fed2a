"""DAC and ADC in torch's own operations: any device, any floating-point type."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aimc_deploy.physics.converters import quantise_
from aimc_deploy.physics.random import Stream
from aimc_deploy.tile.periphery import SMALLEST_RANGE, Converted, Periphery


def convert(x: Float[Tensor, "batch rows"], periphery: Periphery, input_range: float | None) -> Converted:
    """Inputs through the DAC.

    Args:
        input_range: full scale in units of ``x``; None takes each row's own largest absolute value.
    """
    if input_range is None:
        smallest = max(SMALLEST_RANGE, torch.finfo(x.dtype).tiny)  # half precision rounds 1e-30 to zero
        full_scale = x.abs().amax(dim=-1).clamp_(min=smallest)
    else:
        full_scale = x.new_full(x.shape[:1], input_range)
    return Converted(quantise_(x / full_scale.unsqueeze(1), periphery.dac_bits, 1.0), full_scale, 1.0)


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
        True where it was, or None where it never was.
    """
    if noise is not None:
        noise.add_to_(y, periphery.output_noise, gain)
    elif gain != 1:
        y.mul_(gain)
    saturated = y.abs() > periphery.output_range if mark else None
    quantise_(y, periphery.adc_bits, periphery.output_range)
    y.mul_(full_scale.unsqueeze(1)).mul_(out_scale).add_(onto)
    return saturated if saturated is not None and bool(saturated.any()) else None
