"""DAC and ADC: uniform, symmetric, saturating quantisers."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def positive_levels(bits: int) -> int:
    """Number of steps from zero to full scale, ``(2^b - 2) / 2``: the code is symmetric about zero."""
    return 2 ** (bits - 1) - 1


def quantise_(value: Float[Tensor, "..."], bits: int | None, full_scale: float) -> Float[Tensor, "..."]:
    """Round ``value`` in place to the converter's levels and saturate it at ``+-full_scale``.

    ``bits = None`` is an ideal converter, which still saturates. Rounding is to the nearest level, ties to
    the even one.
    """
    if bits is None:
        return value.clamp_(-full_scale, full_scale)
    levels = positive_levels(bits)
    return value.mul_(levels / full_scale).round_().clamp_(-levels, levels).mul_(full_scale / levels)
