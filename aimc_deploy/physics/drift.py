"""Drift: how conductances fall with time."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor


def drift_conductance(
    g_programmed: Float[Tensor, "cols rows"], nu: Float[Tensor, "cols rows"], t_s: float, t_0_s: float
) -> Float[Tensor, "cols rows"]:
    """Conductance in uS after structural relaxation, ``g(t) = g_prog * (t / t_0) ** -nu``.

    Args:
        g_programmed: conductance right after programming, uS.
        nu: drift exponent of each device.
        t_s: seconds since the drift law's origin, ``t_inference + t_0``; at least ``t_0_s``.
        t_0_s: seconds at which the law starts.

    Source: Joshi et al., Nature Communications 11, 2473 (2020); valid from ``t_0`` on.
    """
    return (nu * -math.log(t_s / t_0_s)).exp_().mul_(g_programmed)
