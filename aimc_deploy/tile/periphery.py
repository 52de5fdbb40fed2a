"""What stands around an array: DACs before it, noise and ADCs behind it."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import Hardware

SMALLEST_RANGE = 1e-30  # a row of zeros has no range; anything finite gives it zero output
LARGEST_RANGE = 3.0e38  # of a DAC: beyond it a 32-bit number is infinite


@dataclass(frozen=True)
class Periphery:
    """Converters and output noise of a tile.

    Attributes:
        dac_bits, adc_bits: resolution, or None for an ideal converter.
        output_range: full scale of the ADC, in units of (largest weight x largest input).
        output_noise: standard deviation before the ADC, in the same units.
    """

    dac_bits: int | None
    adc_bits: int | None
    output_range: float
    output_noise: float

    @classmethod
    def of(cls, hardware: Hardware) -> Periphery:
        """The periphery of a hardware description."""
        return cls(hardware.dac.bits, hardware.adc.bits, hardware.adc.output_range, hardware.output_noise)


@dataclass(frozen=True)
class Converted:
    """Inputs after the DAC: ``values * unit * full_scale`` in their own units.

    Attributes:
        values: what the array is driven with, whole codes or shares of the full scale.
        full_scale: of each row.
        unit: of ``values``, as a share of the full scale.
    """

    values: Float[Tensor, "batch rows"]
    full_scale: Float[Tensor, " batch"]
    unit: float
