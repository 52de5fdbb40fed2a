"""Faults: devices that cannot be programmed, and converters that are not all alike.

Sources: Le Gallo et al., Nature Electronics 6, 680 (2023): more than 99 % of HERMES's cells can be
programmed; Rasch et al., Nature Communications 14, 5282 (2023), for the kinds; Khaddam-Aljameh et al., IEEE
JSSC 57, 1027 (2022): ADC gains spread by 7.1 % after calibration.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import Faults
from aimc_deploy.physics.random import Stream


@dataclass(frozen=True)
class Stuck:
    """Devices of a crossbar that hold one value for ever, whatever they are asked to hold.

    Attributes:
        plus, minus: that value for each device of the pairs, uS; NaN where a device can be programmed.
    """

    plus: Float[Tensor, "cols rows"]
    minus: Float[Tensor, "cols rows"]

    @classmethod
    def drawn(cls, like: Float[Tensor, "cols rows"], faults: Faults, g_max: float, draw: Stream) -> Stuck:
        """Devices stuck at 0, at ``g_max``, or at a value uniform in between, each in its share of the units.

        Args:
            like: a tensor of the crossbar's shape.
        """
        plus_lot = _lots(like, faults.unit, draw)
        plus = _values(plus_lot, like, faults, g_max, draw)
        shared = faults.unit in ("row", "tile")  # of which both polarities are a part
        minus_lot = plus_lot if shared else _lots(like, faults.unit, draw)
        return cls(plus, _values(minus_lot, like, faults, g_max, draw))


def _lots(like: Tensor, unit: str, draw: Stream) -> Tensor:
    """A uniform value for each unit, broadcastable to all devices of one polarity."""
    cols, rows = like.shape
    shape = {"cell": (cols, rows), "row": (1, rows), "column": (cols, 1), "tile": (1, 1)}[unit]
    return torch.special.ndtr(draw.normal_like(like.new_empty(shape)))


def _values(lot: Tensor, like: Tensor, faults: Faults, g_max: float, draw: Stream) -> Tensor:
    zero = faults.stuck_at_zero
    top = zero + faults.stuck_at_g_max
    value = torch.special.ndtr(draw.normal_like(like)) * g_max
    value = torch.where(lot < top, g_max, value)
    value = torch.where(lot < zero, 0.0, value)
    return torch.where(lot < faults.share, value, torch.nan)


def stick(
    g: Float[Tensor, "cols rows"],
    ageing: Float[Tensor, "*kinds cols rows"],
    stuck: Float[Tensor, "cols rows"],
) -> tuple[Float[Tensor, "cols rows"], Float[Tensor, "*kinds cols rows"]]:
    """Conductances in uS and what decides how they age, with the devices that are stuck.

    A stuck device does not age, and is read with noise as any.
    """
    sound = stuck.isnan()
    return torch.where(sound, g, stuck), torch.where(sound, ageing, torch.zeros_like(ageing))


def reach(stuck: Stuck, g_max: float) -> tuple[Float[Tensor, "cols rows"], Float[Tensor, "cols rows"]]:
    """The smallest and the largest difference of a pair in uS that programming its sound devices can give."""
    low = stuck.plus.nan_to_num(0.0) - stuck.minus.nan_to_num(g_max)
    high = stuck.plus.nan_to_num(g_max) - stuck.minus.nan_to_num(0.0)
    return low, high


def make_up(
    g_plus: Float[Tensor, "cols rows"], g_minus: Float[Tensor, "cols rows"], stuck: Stuck, g_max: float
) -> tuple[Float[Tensor, "cols rows"], Float[Tensor, "cols rows"]]:
    """Targets in uS with which the sound device of a pair makes up for the stuck one as far as it can."""
    wanted = g_plus - g_minus
    plus = torch.where(stuck.minus.isnan(), g_plus, (stuck.minus + wanted).clamp(0, g_max))
    minus = torch.where(stuck.plus.isnan(), g_minus, (stuck.plus - wanted).clamp(0, g_max))
    return plus, minus


def adc_gains(cols: int, spread: float, draw: Stream) -> Float[Tensor, " cols"]:
    """The gain of the converter of each column: normal around 1."""
    return 1 + spread * draw.normal_like(torch.empty(cols, device=draw.device))
