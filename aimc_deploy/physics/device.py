"""What every device model answers, and the model for each kind in the configuration."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config import hardware
from aimc_deploy.physics.hermes import HermesModel
from aimc_deploy.physics.ideal import IdealModel
from aimc_deploy.physics.pcm import PCMModel
from aimc_deploy.physics.state_independent import StateIndependentModel


class DeviceModel(Protocol):
    """Statistics of one published device; every ``rel`` is a conductance over ``g_max``."""

    @property
    def g_max(self) -> float:
        """Largest conductance in uS."""
        ...

    @property
    def t_0_s(self) -> float:
        """Time after programming at which the drift law starts, in s."""
        ...

    def sigma_programming(self, rel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Standard deviation of the programming error in uS for a relative target."""
        ...

    def drift_exponent(self, rel: Float[Tensor, "..."], normal: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Drift exponent of a relative target, given one standard normal value a device."""
        ...

    def sigma_read(self, rel: Float[Tensor, "..."], t_s: float) -> Float[Tensor, "..."]:
        """Relative 1/f read noise at ``t_s`` s after ``t = 0`` of the drift law, for a programmed ``rel``."""
        ...


def device_model(device: hardware.Device) -> DeviceModel:
    """The physics of a configured device."""
    if isinstance(device, hardware.PCMDevice):
        return PCMModel(device)
    if isinstance(device, hardware.HermesDevice):
        return HermesModel(device)
    if isinstance(device, hardware.StateIndependentDevice):
        return StateIndependentModel(device)
    return IdealModel(device)
