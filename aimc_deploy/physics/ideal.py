"""A device that holds what was written."""

from __future__ import annotations

import torch
from torch import Tensor

from aimc_deploy.config.hardware import IdealDevice
from aimc_deploy.physics.drift import PowerLaw


class IdealModel(PowerLaw):
    """No programming noise, no drift, no read noise."""

    def __init__(self, device: IdealDevice) -> None:
        self.g_max = device.g_max
        self.t_0_s = device.t_0_s

    def sigma_programming(self, rel: Tensor) -> Tensor:
        return torch.zeros_like(rel)

    def drift_exponent(self, rel: Tensor, normal: Tensor) -> Tensor:
        return torch.zeros_like(rel)

    def sigma_read(self, rel: Tensor, t_s: float) -> Tensor:
        return torch.zeros_like(rel)
