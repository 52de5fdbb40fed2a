"""A device whose spreads do not depend on what it holds: for chips of which no more is known yet."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import StateIndependentDevice
from aimc_deploy.physics.drift import PowerLaw


class StateIndependentModel(PowerLaw):
    """Normal programming noise, power-law drift and relative read noise, the same for every conductance."""

    def __init__(self, device: StateIndependentDevice) -> None:
        self.device = device
        self.g_max = device.g_max
        self.t_0_s = device.t_0_s

    def sigma_programming(self, rel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """A share of ``g_max``, in uS."""
        return torch.full_like(rel, self.device.programming_noise * self.g_max)

    def drift_exponent(self, rel: Float[Tensor, "..."], normal: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """``|mean + spread N|``."""
        return (normal * self.device.drift_spread).add_(self.device.drift_exponent).abs_()

    def sigma_read(self, rel: Float[Tensor, "..."], t_s: float) -> Float[Tensor, "..."]:
        """A share of the conductance, at any time."""
        return torch.full_like(rel, self.device.read_noise)
