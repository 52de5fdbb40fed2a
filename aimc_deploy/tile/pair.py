"""A matrix of differential pairs on one chip: each value is the difference of two devices."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.physics.conductance import to_weight
from aimc_deploy.physics.device import DeviceModel
from aimc_deploy.physics.faults import Stuck, make_up, stick
from aimc_deploy.physics.programming import program_conductance
from aimc_deploy.physics.random import Stream
from aimc_deploy.physics.read_noise import read_conductance, read_variance


@dataclass(frozen=True)
class ProgrammedPair:
    """What one chip's devices hold right after programming, and what decides how each of them ages.

    Attributes:
        g_plus, g_minus: programmed conductances, (cols, rows), uS.
        ageing_plus, ageing_minus: of each device, such as its drift exponent; see ``DeviceModel``.
        model: the device's physics.
    """

    g_plus: Float[Tensor, "cols rows"]
    g_minus: Float[Tensor, "cols rows"]
    ageing_plus: Float[Tensor, "*kinds cols rows"]
    ageing_minus: Float[Tensor, "*kinds cols rows"]
    model: DeviceModel

    @classmethod
    def program(
        cls,
        g_plus: Float[Tensor, "cols rows"],
        g_minus: Float[Tensor, "cols rows"],
        model: DeviceModel,
        noise: Stream,
        stuck: Stuck | None = None,
        *,
        known: bool = False,
    ) -> ProgrammedPair:
        """Write targets in uS into one chip's devices.

        Args:
            known: it is known which devices are stuck; the others of their pairs make up for them.
        """
        if stuck is not None and known:
            g_plus, g_minus = make_up(g_plus, g_minus, stuck, model.g_max)
        plus = program_conductance(g_plus, model, noise)
        minus = program_conductance(g_minus, model, noise)
        if stuck is not None:
            plus, minus = stick(*plus, stuck.plus), stick(*minus, stuck.minus)
        return cls(plus[0], minus[0], plus[1], minus[1], model)

    def weight(self) -> Float[Tensor, "cols rows"]:
        """Normalised weights right after programming."""
        return to_weight(self.g_plus, self.g_minus, self.model.g_max)

    def read(
        self, t_inference_s: float, noise: Stream, *, per_mvm: bool
    ) -> tuple[Float[Tensor, "cols rows"], Float[Tensor, "cols rows"] | None]:
        """Normalised weights ``t_inference_s`` seconds after programming, read once.

        With ``per_mvm`` they carry no read noise; its variance comes with them instead.
        """
        model = self.model
        t_s = t_inference_s + model.t_0_s
        plus = model.age(self.g_plus, self.ageing_plus, t_inference_s)
        minus = model.age(self.g_minus, self.ageing_minus, t_inference_s)
        variance = None
        if per_mvm:
            variance = read_variance(plus, self.g_plus, t_s, model)
            variance = variance.add_(read_variance(minus, self.g_minus, t_s, model)).div_(model.g_max**2)
        else:
            plus = read_conductance(plus, self.g_plus, t_s, model, noise)
            minus = read_conductance(minus, self.g_minus, t_s, model, noise)
        return to_weight(plus, minus, model.g_max), variance
