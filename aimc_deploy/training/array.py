"""One array of devices: its state lasts, and only pulses change it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.physics.pulsed_device import draw_devices
from aimc_deploy.physics.random import Stream, derive_seed
from aimc_deploy.physics.response import CycleNoise, Response
from aimc_deploy.physics.response_families import response

LARGEST_PART = 0.1
"""Of the upper bound: a larger step is made in parts, so that the response is not taken as constant in it."""

_ALL = slice(None)


@dataclass(frozen=True)
class Columns:
    """The devices of some columns."""

    cols: slice

    def of(self, part: Tensor) -> Tensor:
        """What belongs to them: a view."""
        return part[:, self.cols]

    def put(self, part: Tensor, values: Tensor) -> None:
        """Give them other values."""
        part[:, self.cols] = values


@dataclass(frozen=True, eq=False)
class Picked:
    """Single devices, by their numbers from row to row."""

    index: Int[Tensor, " devices"]

    def of(self, part: Tensor) -> Tensor:
        """What belongs to them: a copy."""
        return part.take(self.index)

    def put(self, part: Tensor, values: Tensor) -> None:
        """Give them other values."""
        part.view(-1).index_copy_(0, self.index, values)


EVERYWHERE = Columns(_ALL)


class Array(nn.Module):
    """Devices of the shape of a weight matrix. Its buffers are not part of a model's ``state_dict``.

    Args:
        device: what a device is like.
        shape: (outputs, inputs).
        names: of the array; they seed its devices and its random pulses.

    Attributes:
        device: what a device is like.
        pulses: how many pulses all its devices have got so far.
        leaks: whether weights are lost with time.
        slots: how many pulses long that has taken, devices that can be pulsed side by side being so.
        state: physical state of each device, between its bounds.
    """

    state: Tensor
    low: Tensor
    high: Tensor
    up: Tensor
    down: Tensor
    reference: Tensor
    kept: Tensor
    written: Tensor | None

    def __init__(
        self,
        device: TrainingDevice,
        shape: tuple[int, int],
        *names: str | int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.device = device
        self.pulses = 0.0
        self.slots = 0.0
        self._seed = derive_seed(*names, "pulses")
        self._generator: torch.Generator | None = None
        self._response: Response | None = None
        scale = device.cycle_to_cycle * math.sqrt(device.step)
        self._cycle_noise = CycleNoise(scale, device.cycle_noise == "multiplicative") if scale else None
        drawn = draw_devices(device, shape, *names, dtype=dtype)
        for name in ("low", "high", "up", "down", "reference", "kept"):
            self.register_buffer(name, getattr(drawn, name), persistent=False)
        self.register_buffer("state", drawn.start, persistent=False)
        # What reading adds to the state, drawn anew when a device gets a pulse; only with write noise.
        written = torch.zeros_like(drawn.start) if device.write_noise else None
        self.register_buffer("written", written, persistent=False)
        self._has_reference = bool(drawn.reference.any())
        self.leaks = device.retention.lifetime_steps is not None

    @property
    def dw(self) -> float:
        """Weight change of one pulse where the response is 1."""
        return self.device.step

    @property
    def generator(self) -> torch.Generator:
        """Of the random pulses of this array, on its device."""
        if self._generator is None or self._generator.device.type != self.state.device.type:
            self._generator = torch.Generator(self.state.device).manual_seed(self._seed)
        return self._generator

    def weight(self, cols: slice = _ALL) -> Float[Tensor, "outputs inputs"]:
        """The weights of these columns as they are read; may be a view, and is not to be written to."""
        weight = self.state[:, cols]
        if self.written is not None:
            weight = weight + self.written[:, cols]
        return weight - self._of(self.reference, cols) if self._has_reference else weight

    def read(self, noise: float = 0.0, cols: slice = _ALL) -> Float[Tensor, "outputs inputs"]:
        """The weights of these columns with fresh noise of this standard deviation, in weight units."""
        weight = self.weight(cols)
        return weight + noise * self.normal_like(weight) if noise else weight

    def set(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Program weights exactly, as far as the bounds allow; stuck devices stay where they are."""
        state = torch.clamp(weight + self.reference, self.low, self.high)
        self.state.copy_(torch.where((self.up == 0) & (self.down == 0), self.state, state))
        if self.written is not None:
            self.written.zero_()

    def symmetric_point(self) -> Float[Tensor, "outputs inputs"]:
        """The weight at which pulses up and down are equal, for each device; a stuck one's own weight."""
        point = self.response().symmetric_point() - self.reference
        stuck = (self.up == 0) & (self.down == 0)
        return torch.where(stuck, self.state - self.reference, point.expand_as(self.state))

    def step(
        self,
        net: Float[Tensor, "*devices"],
        total: Float[Tensor, "*devices"],
        where: Columns | Picked = EVERYWHERE,
        *,
        largest: float,
        pulses: float,
        slots: float,
        whole: bool = False,
    ) -> None:
        """Ask for a change ``net`` of these devices by amounts that add up to ``total``, in weight units.

        Args:
            where: which devices; ``net`` and ``total`` are of no others.
            largest: no element of ``total`` is above it.
            pulses: to be counted.
            slots: to be counted.
            whole: the amounts are whole pulses, none of which is made in parts.
        """
        parts = max(1, math.ceil(largest / (LARGEST_PART * self.device.tau) - 1e-9))
        if whole:
            parts = min(parts, max(1, round(largest / self.dw)))
        if parts > 1:
            net, total = net / parts, total / parts
        response = self.response(where)
        moved = where.of(self.state)
        for _ in range(parts):
            moved = response.pulsed(moved, net, total, self._cycle_noise, self._draws(moved))
        if where == EVERYWHERE:
            self.state = moved
        else:
            where.put(self.state, moved)
        self.pulses += pulses
        self.slots += slots
        if self.written is not None:
            fresh = self.normal_like(moved).mul_(self.device.write_noise * self.dw)
            where.put(self.written, torch.where(total > 0, fresh, where.of(self.written)))

    def write(self, change: Float[Tensor, "outputs inputs"], cols: slice, *, whole: bool) -> None:
        """Write a change of these columns, in weight units, with pulses of one sign for each device.

        Args:
            whole: round at random to whole pulses; otherwise their mean effect is taken.
        """
        if whole:
            draw = torch.rand(
                change.shape, dtype=change.dtype, device=change.device, generator=self.generator
            )
            self.pulse(change.sign() * torch.floor(change.abs() / self.dw + draw), cols)
            return
        total = change.abs()
        largest, asked = float(total.max()), float(total.sum())
        slots = largest / self.dw * change.shape[1]
        self.step(change, total, Columns(cols), largest=largest, pulses=asked / self.dw, slots=slots)

    def pulse(self, count: Float[Tensor, "outputs inputs"], cols: slice = _ALL) -> None:
        """Give each device of these columns that many pulses, upwards where it is positive.

        Columns take their time one after the other; the devices of one are pulsed side by side.
        """
        net = count * self.dw
        total = net.abs()
        largest = float(total.max())
        if largest > 0:
            pulses, slots = float(total.sum()) / self.dw, largest / self.dw * total.shape[1]
            self.step(net, total, Columns(cols), largest=largest, pulses=pulses, slots=slots, whole=True)

    def leak(self) -> None:
        """One step's loss of retention: weights go towards 0."""
        if self.leaks:
            self.state.sub_(self.reference).mul_(self.kept).add_(self.reference)

    def normal_like(self, like: Tensor) -> Tensor:
        """Standard normal values from this array's own generator."""
        return self._draws(like).normal_like(like)

    def _draws(self, like: Tensor) -> Stream:
        return Stream(like.device, None, self.generator)

    def response(self, where: Columns | Picked | None = None) -> Response:
        """The response of these devices; None: of all."""
        if self._response is None:
            self._response = response(self.device.response, self.low, self.high, self.up, self.down)
        if where is None or where == EVERYWHERE:
            return self._response
        return self._response.part(where.of)

    def _of(self, part: Tensor, cols: slice) -> Tensor:
        return part[:, cols] if part.dim() else part

    def forget_response(self) -> None:
        """The buffers of the devices were changed from outside."""
        self._response = None

    def _apply(self, fn, recurse: bool = True):  # to another device or type
        self.forget_response()
        return super()._apply(fn, recurse)
