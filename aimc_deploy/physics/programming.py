"""Program: what the devices hold after writing; one draw is one chip."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.physics.device import DeviceModel
from aimc_deploy.physics.random import Stream


def program_conductance(
    g_target: Float[Tensor, "cols rows"], model: DeviceModel, noise: Stream
) -> tuple[Float[Tensor, "cols rows"], Float[Tensor, "*kinds cols rows"]]:
    """Conductance after programming in uS, and what decides how each device ages, such as a drift exponent.

    ``g = max(0, g_target + sigma(r) N)``. Both are drawn from the target, as measured: how it ages is a
    property of the device and of the state it was asked to hold, and stays with it for life.
    """
    rel = g_target / model.g_max
    written = noise.normal_like(rel)
    g = model.sigma_programming(rel).mul_(written).add_(g_target).clamp_(min=0)
    return g, model.ageing(rel, written, noise)
