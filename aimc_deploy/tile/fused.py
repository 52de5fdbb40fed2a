"""DAC and ADC in one pass each over the values, by compiled kernels: float32 on the CPU.

The same functions as in :mod:`aimc_deploy.tile.elementwise`.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aimc_deploy.physics.converters import positive_levels
from aimc_deploy.physics.kernels import convert_inputs, convert_outputs
from aimc_deploy.physics.random import Stream
from aimc_deploy.tile.periphery import SMALLEST_RANGE, Converted, Periphery


def _levels(bits: int | None) -> int:
    """What the kernels take: 0 is an ideal converter."""
    return 0 if bits is None else positive_levels(bits)


def convert(x: Float[Tensor, "batch rows"], periphery: Periphery, input_range: float | None) -> Converted:
    """Inputs through the DAC, as whole codes; see :func:`aimc_deploy.tile.elementwise.convert`."""
    batch, rows = x.shape
    levels = _levels(periphery.dac_bits)
    codes = torch.empty(batch, rows)
    full_scale = torch.full((batch,), SMALLEST_RANGE if input_range is None else input_range)
    if codes.numel():
        x = x if x.stride(1) == 1 else x.contiguous()
        stride = x.stride(0) if batch > 1 else rows
        # Rows that are cut from a wider tensor are read where they lie.
        flat = x.as_strided(((batch - 1) * stride + rows,), (1,)).numpy()
        arguments = (flat, stride, full_scale.numpy(), input_range is None, levels, codes.numpy())
        convert_inputs(batch, rows, *arguments)
    return Converted(codes, full_scale, 1 / max(levels, 1))


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
    """Turn column currents into outputs, in place; see :func:`aimc_deploy.tile.elementwise.read`."""
    saturated = torch.empty(y.shape, dtype=torch.bool) if mark else None
    count = convert_outputs(
        *y.shape,
        y.numpy(),
        gain,
        periphery.output_noise,
        None if noise is None else noise.next_key(),
        _levels(periphery.adc_bits),
        periphery.output_range,
        full_scale.numpy(),
        out_scale.contiguous().numpy(),
        onto.contiguous().numpy(),
        None if saturated is None else saturated.numpy(),
    )
    return saturated if count else None
