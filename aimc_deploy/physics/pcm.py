"""Mushroom phase-change memory measured on a million devices.

Sources: Joshi et al., Nature Communications 11, 2473 (2020), programming noise and drift; Nandakumar et
al., ICECS 2019, 1/f read noise; constants as in IBM aihwkit 1.2.0 ``PCMLikeNoiseModel``. The polynomial of
the programming noise was fitted for conductances up to 25 uS and is scaled linearly with ``g_max``.
"""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import PCMDevice
from aimc_deploy.physics.drift import PowerLaw

PROGRAMMING_G_MAX = 25.0  # uS, at which the polynomial was measured
PROGRAMMING = (0.26348, 1.9650, -1.1731)  # uS
SMALLEST_REL = 1e-7  # keeps the logarithm finite


class PCMModel(PowerLaw):
    """Joshi / Nandakumar phase-change memory; see the module for sources."""

    def __init__(self, device: PCMDevice) -> None:
        self.device = device
        self.g_max = device.g_max
        self.t_0_s = device.t_0_s

    def sigma_programming(self, rel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """``(0.26348 + 1.9650 r - 1.1731 r^2) * g_max / 25`` in uS."""
        c0, c1, c2 = PROGRAMMING
        scale = self.device.programming_noise_scale * self.g_max / PROGRAMMING_G_MAX
        return ((c2 * rel + c1) * rel + c0) * scale

    def drift_exponent(self, rel: Float[Tensor, "..."], normal: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """``|mean(r) + std(r) N|`` with mean and std falling with ``-ln r`` between fixed bounds."""
        log = rel.clamp(min=SMALLEST_REL).log_()
        mean = (log * -0.0155 + 0.0244).clamp_(0.049, 0.1)
        std = log.mul_(-0.0125).sub_(0.0059).clamp_(0.008, 0.045)
        return mean.addcmul_(std, normal).abs_().mul_(self.device.drift_scale)

    def sigma_read(self, rel: Float[Tensor, "..."], t_s: float) -> Float[Tensor, "..."]:
        """``min(0.0088 / r^0.65, 0.2) * sqrt(ln((t + t_read) / (2 t_read)))``, relative."""
        t_read = self.device.t_read_s
        growth = math.sqrt(math.log((t_s + t_read) / (2 * t_read)))
        share = rel.pow(0.65).clamp_(min=1e-3).reciprocal_().mul_(0.0088).clamp_(max=0.2)
        return share.mul_(growth * self.device.read_noise_scale)
