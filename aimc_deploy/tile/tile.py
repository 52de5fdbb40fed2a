"""One crossbar holding one block of a weight matrix, through its life: map, program, drift.

The three states are three small immutable objects, so that a tile cannot be drifted before it is
programmed and programming again never starts from noisy weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import Faults
from aimc_deploy.physics.compensation import compensation_factor, read_out
from aimc_deploy.physics.conductance import to_conductance, to_weight, weight_scale
from aimc_deploy.physics.device import DeviceModel
from aimc_deploy.physics.drift import drift_conductance
from aimc_deploy.physics.faults import adc_gains, stick
from aimc_deploy.physics.programming import program_conductance
from aimc_deploy.physics.random import Stream
from aimc_deploy.physics.read_noise import read_conductance, read_variance


@dataclass(frozen=True)
class Defects:
    """What is wrong with the tiles of a chip, and the stream that says where."""

    faults: Faults
    gain_spread: float
    draw: Stream


@dataclass(frozen=True)
class Tile:
    """Targets of one block: what the chip is asked to hold.

    Attributes:
        g_plus, g_minus: target conductances of the differential pair, (cols, rows), uS.
        w_scale: digital scale of each column, applied after the ADC.
        g_max: conductance that stands for a normalised weight of 1, uS.
    """

    g_plus: Float[Tensor, "cols rows"]
    g_minus: Float[Tensor, "cols rows"]
    w_scale: Float[Tensor, " cols"]
    g_max: float

    @classmethod
    def map(cls, weight: Float[Tensor, "cols rows"], scale: str, g_max: float) -> Tile:
        """Targets for a block of clipped weights; ``scale`` is ``column`` or ``tile``."""
        w_scale = weight_scale(weight, scale)
        g_plus, g_minus = to_conductance(weight / w_scale.unsqueeze(1), g_max)
        return cls(g_plus, g_minus, w_scale, g_max)

    def to(self, device: torch.device) -> Tile:
        """The same targets on another torch device."""
        return replace(
            self,
            g_plus=self.g_plus.to(device),
            g_minus=self.g_minus.to(device),
            w_scale=self.w_scale.to(device),
        )

    def weight(self) -> Float[Tensor, "cols rows"]:
        """The weights that the targets stand for."""
        return to_weight(self.g_plus, self.g_minus, self.g_max) * self.w_scale.unsqueeze(1)

    def program(self, model: DeviceModel, noise: Stream, defects: Defects | None = None) -> ProgrammedTile:
        """Write the targets into one chip's devices."""
        plus = program_conductance(self.g_plus, model, noise)
        minus = program_conductance(self.g_minus, model, noise)
        if defects is None:
            return ProgrammedTile(plus[0], minus[0], plus[1], minus[1], model)
        if defects.faults.share:
            plus = stick(*plus, defects.faults, model.g_max, defects.draw)
            minus = stick(*minus, defects.faults, model.g_max, defects.draw)
        gains = None
        if defects.gain_spread:
            gains = adc_gains(self.g_plus.shape[0], defects.gain_spread, defects.draw)
        return ProgrammedTile(plus[0], minus[0], plus[1], minus[1], model, gains)


@dataclass(frozen=True)
class ProgrammedTile:
    """What one chip's devices hold right after programming, and how each of them drifts.

    Attributes:
        g_plus, g_minus: programmed conductances, (cols, rows), uS.
        nu_plus, nu_minus: drift exponents.
        model: the device's physics.
        gains: of the ADC of each column, or None where all are 1.
    """

    g_plus: Float[Tensor, "cols rows"]
    g_minus: Float[Tensor, "cols rows"]
    nu_plus: Float[Tensor, "cols rows"]
    nu_minus: Float[Tensor, "cols rows"]
    model: DeviceModel
    gains: Float[Tensor, " cols"] | None = None

    def weight(self) -> Float[Tensor, "cols rows"]:
        """Normalised weights right after programming: the reference of the compensation."""
        return to_weight(self.g_plus, self.g_minus, self.model.g_max)

    def drift(
        self,
        t_inference_s: float,
        compensation: str,
        noise: Stream,
        *,
        read_per_mvm: bool = False,
    ) -> DriftedTile:
        """The tile ``t_inference_s`` seconds after programming, read once.

        With ``read_per_mvm`` the conductances carry no read noise; its variance is kept and drawn anew
        for every product instead.
        """
        model, g_max = self.model, self.model.g_max
        t_s = t_inference_s + model.t_0_s
        plus = drift_conductance(self.g_plus, self.nu_plus, t_s, model.t_0_s)
        minus = drift_conductance(self.g_minus, self.nu_minus, t_s, model.t_0_s)
        variance = None
        if read_per_mvm:
            variance = read_variance(plus, self.g_plus, t_s, model)
            variance = variance.add_(read_variance(minus, self.g_minus, t_s, model)).div_(g_max**2)
        else:
            plus = read_conductance(plus, self.g_plus, t_s, model, noise)
            minus = read_conductance(minus, self.g_minus, t_s, model, noise)
        weight = to_weight(plus, minus, g_max)
        reference, now = read_out(self.weight()), read_out(weight)
        factor = compensation_factor(reference, now, compensation)
        if (
            self.gains is not None
        ):  # of reference and read-out alike, so that the factor knows nothing of them
            weight.mul_(self.gains.unsqueeze(1))
        return DriftedTile(weight, factor, variance, reference, now)


@dataclass(frozen=True)
class DriftedTile:
    """What a product sees.

    Attributes:
        weight: normalised weights, (cols, rows), drifted and read.
        compensation: digital factor of each column.
        read_variance: variance of the normalised weights from product to product, or None.
        reference, now: read-out of each column right after programming and now; the factor follows from them.
    """

    weight: Float[Tensor, "cols rows"]
    compensation: Float[Tensor, " cols"]
    read_variance: Float[Tensor, "cols rows"] | None
    reference: Float[Tensor, " cols"]
    now: Float[Tensor, " cols"]
