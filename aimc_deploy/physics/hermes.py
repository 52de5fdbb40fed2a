"""IBM's 64-core HERMES chip: phase-change memory with one or two devices per polarity.

Sources: Le Gallo et al., Nature Electronics 6, 680 (2023); Khaddam-Aljameh et al., IEEE JSSC 57, 1027
(2022); fitted constants as in IBM aihwkit 1.2.0 ``HermesNoiseModel``. Two devices of a pair are treated
as holding the same conductance, which drifts more than the chip's own mapping does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import HermesDevice
from aimc_deploy.physics.drift import PowerLaw
from aimc_deploy.physics.polynomial import polynomial

SMALLEST_REL = 1e-7  # keeps the logarithm finite


@dataclass(frozen=True)
class Branch:
    """``clip(a ln r + b, low, high)`` below ``split`` and a polynomial in r from there on."""

    split: float
    log: tuple[float, float]
    bounds: tuple[float, float]
    polynomial: tuple[float, ...]

    def __call__(self, rel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        rel = rel.clamp(min=SMALLEST_REL)
        slope, offset = self.log
        low = (rel.log() * slope + offset).clamp_(*self.bounds)
        return torch.where(rel < self.split, low, polynomial(self.polynomial, rel))


DRIFT_MEAN = Branch(0.0945, (-0.0387, -0.0182), (0.0720, 0.13), (0.0736, -0.0126, -0.0436))
DRIFT_STD = {
    1: Branch(0.3039, (-0.0120, -0.0023), (0.0124, 0.04), (0.0104, 0.0116, -0.0165)),
    2: Branch(0.3055, (-0.0117, -0.0057), (0.0091, 0.04), (0.0073, 0.0093, -0.0118)),
}
READ = {
    1: Branch(0.1591, (-0.0078, 0.0038), (0.0179, 0.04), (0.0088, 0.0768, -0.1352, 0.0664)),
    2: Branch(0.16, (-0.0117, -0.0069), (0.015, 0.04), (0.0123, 0.0211, -0.0280, 0.0069)),
}
PROGRAMMING = {  # uS
    1: (0.15781817, 2.32443916, -2.16310839, 0.68841818),
    2: (0.16603222, 4.71806468, -8.48101252, 4.68961419),
}


class HermesModel(PowerLaw):
    """HERMES phase-change memory; see the module for sources."""

    def __init__(self, device: HermesDevice) -> None:
        self.device = device
        self.g_max = device.g_max
        self.t_0_s = device.t_0_s

    def sigma_programming(self, rel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Cubic in r, in uS."""
        return polynomial(PROGRAMMING[self.device.num_devices], rel) * self.device.programming_noise_scale

    def drift_exponent(self, rel: Float[Tensor, "..."], normal: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """``|mean(r) + std(r) N|``."""
        nu = DRIFT_MEAN(rel) + DRIFT_STD[self.device.num_devices](rel) * normal
        return nu.abs_().mul_(self.device.drift_scale)

    def sigma_read(self, rel: Float[Tensor, "..."], t_s: float) -> Float[Tensor, "..."]:
        """Relative 1/f noise integrated from the end of programming to ``t_s``."""
        t_read = self.device.t_read_s
        growth = math.sqrt(math.log((t_s + t_read) / (2 * t_read)))
        return READ[self.device.num_devices](rel) * (growth * self.device.read_noise_scale)
