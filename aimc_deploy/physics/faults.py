"""Faults: devices that cannot be programmed, and converters that are not all alike.

Sources: Le Gallo et al., Nature Electronics 6, 680 (2023): more than 99 % of HERMES's cells can be
programmed; Rasch et al., Nature Communications 14, 5282 (2023), for the kinds; Khaddam-Aljameh et al., IEEE
JSSC 57, 1027 (2022): ADC gains spread by 7.1 % after calibration.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import Faults
from aimc_deploy.physics.random import Stream


def stick(
    g: Float[Tensor, "cols rows"],
    ageing: Float[Tensor, "*kinds cols rows"],
    faults: Faults,
    g_max: float,
    draw: Stream,
) -> tuple[Float[Tensor, "cols rows"], Float[Tensor, "*kinds cols rows"]]:
    """Conductances in uS and what decides how they age, with the devices that are stuck.

    Each device is stuck at 0, at ``g_max``, or at a value uniform in between, with the probabilities of
    ``faults``, whatever it was asked to hold; a stuck one does not age, and is read with noise as any.
    """
    lot = torch.special.ndtr(draw.normal_like(g))  # uniform
    zero = faults.stuck_at_zero
    top = zero + faults.stuck_at_g_max
    anywhere = top + faults.stuck_at_random
    value = torch.special.ndtr(draw.normal_like(g)) * g_max
    value = torch.where(lot < top, torch.full_like(g, g_max), value)
    value = torch.where(lot < zero, torch.zeros_like(g), value)
    stuck = lot < anywhere
    return torch.where(stuck, value, g), torch.where(stuck, torch.zeros_like(ageing), ageing)


def adc_gains(cols: int, spread: float, draw: Stream) -> Float[Tensor, " cols"]:
    """The gain of the converter of each column: normal around 1."""
    return 1 + spread * draw.normal_like(torch.empty(cols, device=draw.device))
