"""Multiply: DAC, array, output noise, ADC, for a batch of input vectors; every row stands alone.

In units where the largest weight and the largest input are 1:
``y = ADC(W DAC(x / input_range) + output_noise N)``, returned in the units of ``x``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.physics.converters import quantise_

SMALLEST_RANGE = 1e-30  # a row of zeros has no range; anything finite gives it zero output


@dataclass(frozen=True)
class Periphery:
    """Converters and output noise of a tile.

    Attributes:
        dac_bits, adc_bits: resolution, or None for an ideal converter.
        output_range: full scale of the ADC, in units of (largest weight x largest input).
        output_noise: standard deviation before the ADC, in the same units.
    """

    dac_bits: int | None
    adc_bits: int | None
    output_range: float
    output_noise: float

    @classmethod
    def of(cls, hardware: Hardware) -> Periphery:
        """The periphery of a hardware description."""
        return cls(hardware.dac.bits, hardware.adc.bits, hardware.adc.output_range, hardware.output_noise)


def mvm(
    x: Float[Tensor, "*batch rows"],
    weight: Float[Tensor, "cols rows"],
    periphery: Periphery,
    *,
    input_range: float | None = None,
    read_variance: Float[Tensor, "cols rows"] | None = None,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*batch cols"]:
    """Product of one set of tiles that reads the same inputs, without the digital scale and bias.

    Args:
        x: inputs; any batch shape.
        weight: normalised weights, largest about 1.
        input_range: full scale of the DAC in units of ``x``; None takes each row's own largest value.
        read_variance: variance of the weights from product to product, drawn for each row.
        generator: of the noise; None takes torch's own, which the trainer saves and restores.

    Gradients pass straight through the converters inside their range and stop outside it; the range
    itself and the noise are taken as constant.
    """
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
        return _StraightThrough.apply(x, weight, periphery, input_range, read_variance, generator)
    y, full_scale = _analog(
        *_convert_input(x, periphery, input_range), weight, periphery, read_variance, generator
    )
    return quantise_(y, periphery.adc_bits, periphery.output_range).mul_(full_scale)


def _convert_input(
    x: Tensor, periphery: Periphery, input_range: float | None
) -> tuple[Tensor, Tensor | float]:
    """Inputs after the DAC in units of their full scale, and the full scale."""
    if input_range is None:
        smallest = max(SMALLEST_RANGE, torch.finfo(x.dtype).tiny)  # half precision rounds 1e-30 to zero
        full_scale: Tensor | float = x.detach().abs().amax(dim=-1, keepdim=True).clamp_(min=smallest)
        converted = x.detach() / full_scale
    else:
        full_scale = input_range
        converted = x.detach() * (1 / full_scale)
    return quantise_(converted, periphery.dac_bits, 1.0), full_scale


def _analog(
    converted: Tensor,
    full_scale: Tensor | float,
    weight: Tensor,
    periphery: Periphery,
    read_variance: Tensor | None,
    generator: torch.Generator | None,
) -> tuple[Tensor, Tensor | float]:
    """Column currents before the ADC, with the full scale of the inputs passed on."""
    y = torch.nn.functional.linear(converted, weight)
    sigma: Tensor | float = periphery.output_noise
    if read_variance is not None:
        sigma = torch.nn.functional.linear(converted.square(), read_variance).add_(sigma**2).sqrt_()
    if isinstance(sigma, Tensor):
        y.addcmul_(sigma, torch.empty_like(y).normal_(generator=generator))
    elif sigma > 0:
        y.add_(torch.empty_like(y).normal_(0, sigma, generator=generator))
    return y, full_scale


class _StraightThrough(torch.autograd.Function):
    """The same product with straight-through gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        periphery: Periphery,
        input_range: float | None,
        read_variance: Tensor | None,
        generator: torch.Generator | None,
    ) -> Tensor:
        converted, full_scale = _convert_input(x, periphery, input_range)
        y, _ = _analog(converted, full_scale, weight.detach(), periphery, read_variance, generator)
        # Saturation is rare: a mask is kept only where something did saturate.
        ctx.adc_mask = _inside(y, periphery.output_range)
        ctx.dac_mask = None if input_range is None else _inside(x.detach(), input_range)
        ctx.full_scale = full_scale
        needs_weight = ctx.needs_input_grad[1]
        ctx.save_for_backward(weight, converted if needs_weight else None)
        return quantise_(y, periphery.adc_bits, periphery.output_range).mul_(full_scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        weight, converted = ctx.saved_tensors
        if ctx.adc_mask is not None:
            grad = grad * ctx.adc_mask
        grad_x = grad_weight = None
        if ctx.needs_input_grad[0]:
            grad_x = grad @ weight
            if ctx.dac_mask is not None:
                grad_x = grad_x * ctx.dac_mask
        if ctx.needs_input_grad[1]:
            scaled = (grad * ctx.full_scale).flatten(0, -2)
            grad_weight = scaled.T @ converted.flatten(0, -2)
        return grad_x, grad_weight, None, None, None, None


def _inside(value: Tensor, full_scale: float) -> Tensor | None:
    mask = value.abs() <= full_scale
    return None if bool(mask.all()) else mask
