"""What every device model answers, and the model for each kind in the configuration."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config import hardware
from aimc_deploy.physics.hermes import HermesModel
from aimc_deploy.physics.ideal import IdealModel
from aimc_deploy.physics.pcm import PCMModel
from aimc_deploy.physics.random import Stream
from aimc_deploy.physics.reram import ReRAMModel
from aimc_deploy.physics.state_independent import StateIndependentModel


class DeviceModel(Protocol):
    """Statistics of one published device; every ``rel`` is a conductance over ``g_max``."""

    @property
    def g_max(self) -> float:
        """Largest conductance in uS."""
        ...

    @property
    def t_0_s(self) -> float:
        """Time after programming at which its statistics start, in s."""
        ...

    def sigma_programming(self, rel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Standard deviation of the programming error in uS for a relative target."""
        ...

    def ageing(
        self, rel: Float[Tensor, "..."], written: Float[Tensor, "..."], noise: Stream
    ) -> Float[Tensor, "*kinds ..."]:
        """What decides how each device ages, drawn when it is programmed.

        Args:
            rel: relative target.
            written: how many standard deviations it was missed by.
            noise: for what else is drawn.
        """
        ...

    def age(
        self, g_programmed: Float[Tensor, "..."], ageing: Float[Tensor, "*kinds ..."], t_inference_s: float
    ) -> Float[Tensor, "..."]:
        """Conductance in uS ``t_inference_s`` s after programming; with zero ``ageing`` it stays the same.

        Raises:
            HardwareError: nothing is known of the device at that time.
        """
        ...

    def check_age(self, t_inference_s: float) -> None:
        """Raise the error of :meth:`age`, before anything is computed."""
        ...

    def draw_age_s(self, share: float, youngest_s: float, oldest_s: float) -> float:
        """An age in s for training, between two others, for a uniform ``share`` from 0 to 1."""
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
    if isinstance(device, hardware.ReRAMDevice):
        return ReRAMModel(device)
    return IdealModel(device)
