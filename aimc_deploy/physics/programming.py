"""Program: what the devices hold after writing; one draw is one chip."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.physics.device import DeviceModel
from aimc_deploy.physics.random import Stream


def program_conductance(
    g_target: Float[Tensor, "cols rows"], model: DeviceModel, noise: Stream
) -> tuple[Float[Tensor, "cols rows"], Float[Tensor, "cols rows"]]:
    """Conductance after programming in uS, and the drift exponent of each device.

    ``g = max(0, g_target + sigma(r) N)``. Both are drawn from the target, as measured: the exponent is a
    property of the device and of the state it was asked to hold, and stays with it for life.
    """
    rel = g_target / model.g_max
    g = model.sigma_programming(rel).mul_(noise.normal_like(rel)).add_(g_target).clamp_(min=0)
    return g, model.drift_exponent(rel, noise.normal_like(rel))
