"""Filamentary resistive memory of the NeuRRAM chip, measured one second, one day and two days after writing.

Sources: Wan et al., Nature 608, 504 (2022), for the measurement; the polynomials are the fit of IBM aihwkit
1.2.0 ``ReRamWan2022NoiseModel``, in uS for conductances up to 40 uS, scaled linearly with ``g_max``. Nothing
is measured at other times, and nothing is made up for them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import ReRAMDevice
from aimc_deploy.errors import HardwareError
from aimc_deploy.physics.polynomial import polynomial
from aimc_deploy.physics.random import Stream

SPREAD_G_MAX = 40.0  # uS, at which the polynomials were measured
SPREAD = {  # by time of inference in s, whose zero is one second after writing; uS
    0.0: (0.348, 16.030, -43.853, 45.393, -16.815),
    86_400.0: (0.701, 22.086, -50.773, 47.095, -16.458),
    172_800.0: (0.782, 20.274, -43.507, 37.062, -11.934),
}
LATER = tuple(t_s for t_s in SPREAD if t_s)


class ReRAMModel:
    """Spread around the target that grows with time; see the module for sources.

    A device that was written too high stays too high: what is measured is the spread over devices at each
    time, and the place of a device in it is kept.
    """

    def __init__(self, device: ReRAMDevice) -> None:
        self.device = device
        self.g_max = device.g_max
        self.t_0_s = 1.0

    def sigma_programming(self, rel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The spread one second after writing, in uS."""
        return self._spread(rel, 0.0)

    def ageing(
        self, rel: Float[Tensor, "..."], written: Float[Tensor, "..."], noise: Stream
    ) -> Float[Tensor, "times ..."]:
        """How far each device moves until each of the later times, in uS."""
        first = self._spread(rel, 0.0)
        return torch.stack([(self._spread(rel, t_s) - first).mul_(written) for t_s in LATER])

    def age(
        self, g_programmed: Float[Tensor, "..."], ageing: Float[Tensor, "times ..."], t_inference_s: float
    ) -> Float[Tensor, "..."]:
        """Conductances in uS at one of the three times."""
        self.check_age(t_inference_s)
        if t_inference_s not in LATER:
            return g_programmed.clone()
        return (g_programmed + ageing[LATER.index(t_inference_s)]).clamp_(min=0)

    def check_age(self, t_inference_s: float) -> None:
        """Refuse what is not measured."""
        if t_inference_s not in SPREAD:
            raise HardwareError(
                f"the device 'reram' is measured at 0s, 1d and 2d only, and {t_inference_s:g} s is none of "
                "these: choose among them with --times 0s,1d,2d (--at for one)"
            )

    def draw_age_s(self, share: float, youngest_s: float, oldest_s: float) -> float:
        """One of the measured times that lie between, each as likely; the nearest where none does."""
        between = [t_s for t_s in SPREAD if youngest_s <= t_s <= oldest_s]
        if not between:
            return min(SPREAD, key=lambda t_s: abs(t_s - youngest_s))
        return between[min(int(share * len(between)), len(between) - 1)]

    def sigma_read(self, rel: Float[Tensor, "..."], t_s: float) -> Float[Tensor, "..."]:
        """A share of the conductance, at any time."""
        return torch.full_like(rel, self.device.read_noise)

    def _spread(self, rel: Float[Tensor, "..."], t_s: float) -> Float[Tensor, "..."]:
        scale = self.device.programming_noise_scale * self.g_max / SPREAD_G_MAX
        return polynomial(SPREAD[t_s], rel).mul_(scale)
