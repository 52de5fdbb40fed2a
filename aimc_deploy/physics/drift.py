"""Drift: how conductances fall with time, by one power law for most devices."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.physics.random import Stream


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


class PowerLaw(ABC):
    """Ageing of a device whose conductance falls with a power of time, by an exponent of its own."""

    t_0_s: float

    @abstractmethod
    def drift_exponent(self, rel: Float[Tensor, "..."], normal: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Exponent of a relative target, given one standard normal value a device."""

    def ageing(
        self, rel: Float[Tensor, "..."], written: Float[Tensor, "..."], noise: Stream
    ) -> Float[Tensor, "..."]:
        """Drift exponents; they do not depend on how well the device was ``written``."""
        return self.drift_exponent(rel, noise.normal_like(rel))

    def age(
        self, g_programmed: Float[Tensor, "..."], ageing: Float[Tensor, "..."], t_inference_s: float
    ) -> Float[Tensor, "..."]:
        """Conductances in uS at any time."""
        return drift_conductance(g_programmed, ageing, t_inference_s + self.t_0_s, self.t_0_s)

    def check_age(self, t_inference_s: float) -> None:
        """The law holds at every time from programming on."""
        if t_inference_s < 0:
            raise ValueError(f"nothing drifts before it is programmed: {t_inference_s:g} s")

    def draw_age_s(self, share: float, youngest_s: float, oldest_s: float) -> float:
        """Uniform in the logarithm of the time since drift started, for a uniform ``share``."""
        first, last = (end_s / self.t_0_s + 1 for end_s in (youngest_s, oldest_s))
        return self.t_0_s * (first ** (1 - share) * last**share - 1)
