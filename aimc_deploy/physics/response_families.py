"""The families of response functions: how large a pulse is, from one bound to the other.

Sources: as in ``physics/response.py``, by the numbers of its equations, unless a family names another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config import training_device as config
from aimc_deploy.physics.kernels import pulse_linear
from aimc_deploy.physics.random import Stream
from aimc_deploy.physics.response import CycleNoise, Response, some


@dataclass(frozen=True)
class Ideal(Response):
    """``q = 1`` up to the bounds."""

    def q_plus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The same everywhere."""
        return self.up + torch.zeros_like(v)

    def q_minus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The same everywhere."""
        return self.down + torch.zeros_like(v)

    def symmetric_point(self) -> Float[Tensor, "..."]:
        """Every point is, where pulses up are as large as pulses down: 0 then, a bound otherwise."""
        bound = torch.where(self.up > self.down, self.high, self.low)
        return torch.where(self.up == self.down, torch.zeros_like(bound), bound)


@dataclass(frozen=True)
class Linear(Response):
    """``q_plus = up (1 - slope_up v / high)``, ``q_minus = down (1 - slope_down v / low)``; slopes 0 to 1.

    With slopes of 1 these are soft bounds. With ``up = 1 + c`` and ``down = 1 - c`` the symmetric point is
    ``c tau``: the generic linear response. Source: equation 16 there; for unequal bounds Rasch, Carta,
    Fagbohungbe and Gokmen, Nature Communications 15, 7133 (2024), equation 8.
    """

    slope_up: float = 1.0
    slope_down: float = 1.0

    def q_plus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Falls towards the upper bound."""
        return torch.addcmul(self.up, v, self._slopes[0])

    def q_minus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Falls towards the lower bound."""
        return torch.addcmul(self.down, v, self._slopes[1])

    def part(self, take: Callable[[Tensor], Tensor]) -> Response:
        """As above; what all devices need is not computed anew for some."""
        found = super().part(take)
        if found is not self:
            # This is where a cached property keeps its value.
            found.__dict__["_lines"] = tuple(some(one, take) for one in self._lines)
        return found

    def moved(
        self, v: Float[Tensor, "..."], net: Float[Tensor, "..."], total: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """As above, in fewer passes: ``F`` and ``G`` are straight lines."""
        f_offset, f_slope, g_offset, g_slope = self._lines
        if isinstance(f_offset, Tensor):
            moved = torch.addcmul(v, net, torch.addcmul(f_offset, v, f_slope))
            return moved.addcmul_(total, torch.addcmul(g_offset, v, g_slope), value=-1)
        moved = torch.add(v, net, alpha=f_offset)
        if f_slope:
            moved.addcmul_(net, v, value=f_slope)
        if g_offset:
            moved.sub_(total, alpha=g_offset)
        return moved.addcmul_(total, v, value=-g_slope)

    def pulsed(
        self,
        v: Float[Tensor, "..."],
        net: Float[Tensor, "..."],
        total: Float[Tensor, "..."],
        noise: CycleNoise | None,
        draws: Stream,
    ) -> Float[Tensor, "..."]:
        """As above, in one pass over devices that differ, on a CPU."""
        given = (v, net, total, *self._lines, self.low, self.high)
        if any(
            not isinstance(one, Tensor)
            or one.device.type != "cpu"
            or one.dtype != torch.float32
            or one.shape != v.shape
            or one.dim() != 2
            or not one.is_contiguous()
            for one in given
        ):
            return super().pulsed(v, net, total, noise, draws)
        moved = torch.empty_like(v)
        scale, by_response = (noise.scale, noise.by_response) if noise is not None else (0.0, False)
        key = None if noise is None else draws.next_key()
        pulse_linear(*v.shape, moved.numpy(), *(one.numpy() for one in given), scale, by_response, key)
        return moved

    @cached_property
    def _slopes(self) -> tuple[Tensor, Tensor]:
        """Of ``q_plus``, and of ``q_minus``."""
        return -self.up / self.high * self.slope_up, -self.down / self.low * self.slope_down

    @cached_property
    def _lines(self) -> tuple[Any, Any, Any, Any]:
        """Offset and slope of ``F``, and of ``G``: tensors, or numbers where all devices are alike."""
        rise, fall = self._slopes
        f = (self.down + self.up) / 2, (fall + rise) / 2
        g = (self.down - self.up) / 2, (fall - rise) / 2
        if any(part.dim() for part in (*f, *g)):
            return tuple(part.contiguous() for part in torch.broadcast_tensors(*f, *g))  # type: ignore[return-value]
        return f[0].item(), f[1].item(), g[0].item(), g[1].item()

    def symmetric_point(self) -> Float[Tensor, "..."]:
        """Where the two lines cross, or the bound nearest to that."""
        slope = self.up * self.slope_up / self.high - self.down * self.slope_down / self.low
        level = torch.where(slope > 0, slope, torch.ones_like(slope))
        point = torch.clamp((self.up - self.down) / level, self.low, self.high)
        flat = Ideal(self.low, self.high, self.up, self.down)
        return torch.where(slope > 0, point, flat.symmetric_point())


@dataclass(frozen=True)
class Power(Response):
    """``q_plus = up (1 - v / high) ** g``, ``q_minus = down (1 - v / low) ** g``; g above 0. Equation 148."""

    gamma_res: float = 1.0

    def q_plus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Falls to 0 at the upper bound."""
        return self.up * (1 - v / self.high).clamp(min=0).pow(self.gamma_res)

    def q_minus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Falls to 0 at the lower bound."""
        return self.down * (1 - v / self.low).clamp(min=0).pow(self.gamma_res)


@dataclass(frozen=True)
class Exponential(Response):
    """``q_plus = up (exp(g (1 - v / high)) - 1) / (exp(g) - 1)``, and the same downwards; g above 0.

    Equation 149. It is 1 at 0 and 0 at the bound.
    """

    gamma_res: float = 1.0

    def q_plus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Falls to 0 at the upper bound."""
        return self.up * torch.expm1(self.gamma_res * (1 - v / self.high)) / math.expm1(self.gamma_res)

    def q_minus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Falls to 0 at the lower bound."""
        return self.down * torch.expm1(self.gamma_res * (1 - v / self.low)) / math.expm1(self.gamma_res)


@dataclass(frozen=True)
class ExponentialStep(Response):
    """``q_plus = up (1 - factor_up exp(rate_up z))``, ``q_minus = down (1 - factor_down exp(-rate_down z))``.

    ``z = 2 slope v / (high - low) + offset``; a response is never below 0. Source: aihwkit 1.2.0, exponential
    step device; after Gong et al., Nature Communications 9, 2102 (2018), whose device was fitted with it.
    """

    factor_up: float = 0.0
    factor_down: float = 0.0
    rate_up: float = 1.0
    rate_down: float = 1.0
    slope: float = 1.0
    offset: float = 0.0

    def q_plus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """From one exponential."""
        return self.up * (1 - self.factor_up * torch.exp(self.rate_up * self._z(v))).clamp_(min=0)

    def q_minus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """From the other."""
        return self.down * (1 - self.factor_down * torch.exp(-self.rate_down * self._z(v))).clamp_(min=0)

    def _z(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return 2 * self.slope * v / (self.high - self.low) + self.offset


@dataclass(frozen=True)
class Piecewise(Response):
    """Measured values at equal distances from the lower to the upper bound; straight lines between."""

    table_up: tuple[float, ...] = (1.0, 1.0)
    table_down: tuple[float, ...] = (1.0, 1.0)

    def q_plus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """From the table for pulses upwards."""
        return self.up * self._between(v, self.table_up)

    def q_minus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """From the table for pulses downwards."""
        return self.down * self._between(v, self.table_down)

    def _between(self, v: Float[Tensor, "..."], table: tuple[float, ...]) -> Float[Tensor, "..."]:
        values = torch.tensor(table, dtype=v.dtype, device=v.device)
        at = ((v - self.low) / (self.high - self.low)).clamp(0, 1) * (len(table) - 1)
        left = at.floor().clamp(max=len(table) - 2)
        index = left.long()
        return torch.lerp(values[index], values[index + 1], at - left)


def response(
    described: config.Response,
    low: Float[Tensor, "..."],
    high: Float[Tensor, "..."],
    up: Float[Tensor, "..."],
    down: Float[Tensor, "..."],
) -> Response:
    """The response of devices with these bounds and these sizes of a pulse."""
    if isinstance(described, config.LinearResponse):
        return Linear(low, high, up, down, described.slope_up, described.slope_down)
    if isinstance(described, config.PowerResponse):
        return Power(low, high, up, down, described.gamma_res)
    if isinstance(described, config.ExponentialResponse):
        return Exponential(low, high, up, down, described.gamma_res)
    if isinstance(described, config.ExponentialStepResponse):
        factors = described.factor_up, described.factor_down
        rates = described.rate_up, described.rate_down
        return ExponentialStep(low, high, up, down, *factors, *rates, described.slope, described.offset)
    if isinstance(described, config.PiecewiseResponse):
        return Piecewise(low, high, up, down, described.up, described.down)
    return Ideal(low, high, up, down)
