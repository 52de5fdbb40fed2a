"""Read: 1/f noise on the drifted conductances."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.physics.device import DeviceModel
from aimc_deploy.physics.random import Stream


def read_conductance(
    g_drifted: Float[Tensor, "cols rows"],
    g_programmed: Float[Tensor, "cols rows"],
    t_s: float,
    model: DeviceModel,
    noise: Stream,
) -> Float[Tensor, "cols rows"]:
    """One reading in uS, ``max(0, g_drift (1 + sigma(r_prog, t) N))``.

    The noise grows with the logarithm of the time since programming, so that the reading "at 0 s" carries
    it too. Source: Nandakumar et al., ICECS 2019.
    """
    sigma = model.sigma_read(g_programmed / model.g_max, t_s)
    return sigma.mul_(noise.normal_like(sigma)).add_(1).mul_(g_drifted).clamp_(min=0)


def read_variance(
    g_drifted: Float[Tensor, "cols rows"],
    g_programmed: Float[Tensor, "cols rows"],
    t_s: float,
    model: DeviceModel,
) -> Float[Tensor, "cols rows"]:
    """Variance in uS^2 of one reading when every product reads anew.

    The bound at zero is left out here: it moves only devices below about 5 % of ``g_max``, where one
    standard deviation comes near the conductance itself.
    """
    return (model.sigma_read(g_programmed / model.g_max, t_s) * g_drifted).square_()
