"""What is wrong with the crossbar of a block: devices that are stuck, and gains of the ADCs."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import Faults, Hardware
from aimc_deploy.physics.faults import Stuck, adc_gains
from aimc_deploy.physics.random import Stream


@dataclass(frozen=True)
class Defects:
    """What is wrong with the tiles of a chip, and the stream that says where."""

    faults: Faults
    gain_spread: float
    draw: Stream

    @classmethod
    def of(cls, hardware: Hardware | None, draw: Stream) -> Defects | None:
        """Those of a hardware; None if it has none."""
        if hardware is None or not (hardware.faults.share or hardware.adc.gain_spread):
            return None
        return cls(hardware.faults, hardware.adc.gain_spread, draw)

    def stuck(self, like: Float[Tensor, "cols rows"], g_max: float) -> Stuck | None:
        """The devices of pairs that are stuck, of a crossbar of the shape of ``like``.

        There are none on a tile that is known to be stuck as a whole: a spare one is used in its place, as
        ``map --fault-map`` does.
        """
        if not self.faults.share or (self.faults.known and self.faults.unit == "tile"):
            return None
        return Stuck.drawn(like, self.faults, g_max, self.draw)

    def gains(self, cols: int) -> Float[Tensor, " cols"] | None:
        """Of the ADC of each column, or None where all are 1."""
        return adc_gains(cols, self.gain_spread, self.draw) if self.gain_spread else None
