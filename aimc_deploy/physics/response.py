"""Response functions: by how much one pulse moves a device, where it stands.

A pulse of size ``dw`` takes the state ``v`` to ``v + dw q_plus(v)`` or ``v - dw q_minus(v)``. Many small
pulses that ask for a net change ``S`` with amounts that add up to ``A >= |S|`` take it to

    v + S F(v) - A G(v),    F = (q_minus + q_plus) / 2,    G = (q_minus - q_plus) / 2.

``F`` is what both directions share; ``G`` is what they do not, and pulls the state to the symmetric point,
where ``G`` is 0, whenever pulses of both signs arrive. Valid for ``S`` and ``A`` small against the range: the
relative error is ``A / (2 tau)`` for a linear response.

Source: Wu, Li, Li, Rasch and Chen, "Analog In-memory Training on General Non-ideal Resistive Elements",
NeurIPS 2025 (arXiv 2502.06309), equations 2 to 5, 16, 148 and 149. All parameters may differ for each device:
tensors of the shape of the state, or of no dimension. The families are in
``physics/response_families.py``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.physics.random import Stream

BISECTIONS = 60
"""Halvings of the range: to the last digit of a double."""


@dataclass(frozen=True)
class CycleNoise:
    """What pulses add by chance.

    Attributes:
        scale: standard deviation of one pulse by the square root of its size.
        by_response: in proportion to the response; otherwise the same everywhere.
    """

    scale: float
    by_response: bool


@dataclass(frozen=True)
class Response(ABC):
    """Devices between two bounds.

    Attributes:
        low: lower bound, below 0.
        high: upper bound, above 0.
        up: size of a pulse upwards relative to the nominal one, 0 or more.
        down: the same downwards.
    """

    low: Float[Tensor, "..."]
    high: Float[Tensor, "..."]
    up: Float[Tensor, "..."]
    down: Float[Tensor, "..."]

    def clamp_(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """``v`` within the bounds, in place."""
        return v.clamp_(*self._bounds)

    @cached_property
    def _bounds(self) -> tuple[Any, Any]:
        """Both bounds: tensors, or numbers where all devices are alike, which is faster."""
        if self.low.dim() or self.high.dim():
            return self.low, self.high
        return self.low.item(), self.high.item()

    def part(self, take: Callable[[Tensor], Tensor]) -> Response:
        """The response of some of the devices; ``take`` takes their values from those of all."""
        if not any(one.dim() for one in (self.low, self.high, self.up, self.down)):
            return self
        low, high, up, down = (some(one, take) for one in (self.low, self.high, self.up, self.down))
        return replace(self, low=low, high=high, up=up, down=down)

    @cached_property
    def _moving(self) -> Tensor | None:
        """1 where a device is not stuck; None where none is."""
        moving = (self.up > 0) | (self.down > 0)
        return None if bool(moving.all()) else moving

    @abstractmethod
    def q_plus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Response to a pulse upwards."""

    @abstractmethod
    def q_minus(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Response to a pulse downwards."""

    def moved(
        self, v: Float[Tensor, "..."], net: Float[Tensor, "..."], total: Float[Tensor, "..."]
    ) -> Float[Tensor, "..."]:
        """``v + S F(v) - A G(v)``: the state after a net change ``S`` by amounts that add up to ``A``."""
        return v + net * self.symmetric(v) - total * self.asymmetric(v)

    def pulsed(
        self,
        v: Float[Tensor, "..."],
        net: Float[Tensor, "..."],
        total: Float[Tensor, "..."],
        noise: CycleNoise | None,
        draws: Stream,
    ) -> Float[Tensor, "..."]:
        """The state after that with the noise of the pulses, within bounds; a stuck device stays."""
        moved = self.moved(v, net, total)
        if noise is not None and not noise.by_response:
            variance = total if self._moving is None else total * self._moving
            draws.add_of_(moved, variance, noise.scale)
        elif noise is not None:  # up (A + S) / 2, and down (A - S) / 2
            variance = (total + net).mul_(self.q_plus(v).square_())
            variance.addcmul_(total - net, self.q_minus(v).square_())
            draws.add_of_(moved, variance, noise.scale * math.sqrt(0.5))
        return self.clamp_(moved)

    def symmetric(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """``F``, the part that pulses up and down share."""
        return (self.q_minus(v) + self.q_plus(v)) / 2

    def asymmetric(self, v: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """``G``, the part by which pulses down are larger than pulses up."""
        return (self.q_minus(v) - self.q_plus(v)) / 2

    def symmetric_point(self) -> Float[Tensor, "..."]:
        """Where pulses up and down cancel; the bound to which pairs of them drive a device that has none.

        By bisection of ``G``, which must not fall from one bound to the other more than once.
        """
        low, high = (bound + torch.zeros_like(self.up + self.down) for bound in (self.low, self.high))
        low, high = torch.broadcast_tensors(low, high)
        for _ in range(BISECTIONS):
            middle = (low + high) / 2
            above = self.asymmetric(middle) > 0
            low, high = torch.where(above, low, middle), torch.where(above, middle, high)
        return (low + high) / 2


def some(value: Any, take: Callable[[Tensor], Tensor]) -> Any:
    """What stands for all devices alike stands for some of them."""
    return take(value) if isinstance(value, Tensor) and value.dim() else value
