"""Multiply: DAC, array, output noise, ADC, for a batch of input vectors; every row stands alone.

In units where the largest weight and the largest input are 1:
``y = ADC(W DAC(x / input_range) + output_noise N)``, returned in the units of ``x``. What is done to every
value stands in :mod:`aimc_deploy.tile.fused` for the CPU and :mod:`aimc_deploy.tile.elementwise` for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aimc_deploy.physics.random import Stream
from aimc_deploy.tile import elementwise, fused
from aimc_deploy.tile.periphery import Converted, Periphery


def mvm(
    x: Float[Tensor, "*batch rows"],
    weight: Float[Tensor, "cols rows"],
    periphery: Periphery,
    *,
    input_range: float | None = None,
    read_variance: Float[Tensor, "cols rows"] | None = None,
    out_scale: Float[Tensor, " cols"] | None = None,
    onto: Float[Tensor, "*any cols"] | None = None,
    noise: Stream | None = None,
) -> Float[Tensor, "*batch cols"]:
    """Product of one set of tiles that reads the same inputs.

    Args:
        x: inputs; any batch shape.
        weight: normalised weights, largest about 1.
        input_range: full scale of the DAC in units of ``x``; None takes each row's own largest value.
        read_variance: variance of the weights from product to product, drawn for each row.
        out_scale: digital factor of each column after the ADC.
        onto: what the result is added to digitally: a bias, or the outputs of other tiles.
        noise: where the noise comes from; None follows torch's own generator, which a trainer restores.

    Gradients pass straight through the converters inside their range and stop outside it; the range
    itself, the scale and the noise are taken as constant.
    """
    cols, rows = weight.shape
    out_scale = weight.new_ones(cols) if out_scale is None else out_scale
    onto = weight.new_zeros(cols) if onto is None else onto
    asked = _Asked(periphery, input_range, read_variance, out_scale, noise or Stream(x.device, None))
    flat, base = x.reshape(-1, rows), onto.reshape(-1, cols)
    if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad or onto.requires_grad):
        y = _StraightThrough.apply(flat, weight, base, asked)
    else:
        y = _product(flat.detach(), weight.detach(), base.detach(), asked, mark=False)[0]
    return y.view(*x.shape[:-1], cols)


def multiply(
    x: Float[Tensor, "batch rows"], weight: Float[Tensor, "cols rows"], periphery: Periphery
) -> tuple[Float[Tensor, "batch cols"], Bool[Tensor, "batch cols"] | None]:
    """The product alone, for gradients of one's own: each row's own range, noise from torch's own generator.

    Args:
        x: inputs.
        weight: in the units that range and noise of ``periphery`` are in.

    Returns:
        Outputs, and where the ADC was out of its range; None for nowhere.
    """
    asked = _Asked(periphery, None, None, weight.new_ones(len(weight)), Stream(x.device, None))
    y, _, saturated = _product(
        x.detach(), weight.detach(), weight.new_zeros(1, len(weight)), asked, mark=True
    )
    return y, saturated


@dataclass(frozen=True)
class _Asked:
    """All that a product takes and no gradient is asked of."""

    periphery: Periphery
    input_range: float | None
    read_variance: Tensor | None
    out_scale: Tensor
    noise: Stream


def _product(
    x: Tensor, weight: Tensor, onto: Tensor, asked: _Asked, *, mark: bool
) -> tuple[Tensor, Converted, Bool[Tensor, "batch cols"] | None]:
    """Outputs, inputs after the DAC, and where the ADC was out of range if that is to be marked."""
    on_cpu = x.device.type == "cpu" and x.dtype == weight.dtype == onto.dtype == torch.float32
    converters = fused if on_cpu else elementwise
    converted = converters.convert(x, asked.periphery, asked.input_range)
    y, gain = converted.values @ weight.T, converted.unit
    noise = asked.noise if asked.periphery.output_noise > 0 else None
    if asked.read_variance is not None:
        variance = (converted.values * gain).square() @ asked.read_variance.T
        sigma = variance.add_(asked.periphery.output_noise**2).sqrt_()
        y.mul_(gain).addcmul_(sigma, asked.noise.normal_like(y))
        gain, noise = 1.0, None
    scales = converted.full_scale, asked.out_scale
    saturated = converters.read(y, gain, asked.periphery, noise, *scales, onto, mark=mark)
    return y, converted, saturated


class _StraightThrough(torch.autograd.Function):
    """The same product with straight-through gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, onto: Tensor, asked: _Asked) -> Tensor:
        y, converted, saturated = _product(x, weight, onto, asked, mark=True)
        # Saturation is rare: a mask is kept only where something did saturate.
        outside = None if asked.input_range is None else x.abs() > asked.input_range
        ctx.saturated = saturated
        ctx.outside = outside if outside is not None and bool(outside.any()) else None
        ctx.out_scale = asked.out_scale
        ctx.bias = onto.shape[0] == 1
        ctx.converted = converted if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(weight)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (weight,) = ctx.saved_tensors
        grad_x = grad_weight = grad_onto = None
        if ctx.needs_input_grad[2]:
            grad_onto = grad.sum(dim=0, keepdim=True) if ctx.bias else grad
        if ctx.saturated is not None:
            grad = grad.masked_fill(ctx.saturated, 0)
        if ctx.needs_input_grad[0]:
            grad_x = grad @ (weight * ctx.out_scale.unsqueeze(1))
            if ctx.outside is not None:
                grad_x = grad_x.masked_fill_(ctx.outside, 0)
        if ctx.needs_input_grad[1]:
            converted: Converted = ctx.converted
            scaled = grad * (converted.full_scale * converted.unit).unsqueeze(1)
            grad_weight = (scaled.T @ converted.values).mul_(ctx.out_scale.unsqueeze(1))
        return grad_x, grad_weight, grad_onto, None
