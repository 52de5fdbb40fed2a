"""Devices that are trained by pulses: what each of an array is like, drawn once from names.

Source of the spreads: Rasch et al., "A flexible and fast PyTorch toolkit for simulating training and
inference on analog crossbar arrays", AICAS 2021, whose toolkit's parameters these are; the order of draws is
our own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.physics.random import derive_seed, stream
from aimc_deploy.physics.response_families import response

SMALLEST = 0.01
"""Of a bound and of a pulse, relative to the nominal one: a spread makes no device that cannot be used."""


@dataclass(frozen=True)
class Devices:
    """What each device of an array is like; a tensor of no dimension where all are alike.

    Attributes:
        low: lower bound of the state.
        high: upper bound of the state.
        up: size of a pulse upwards relative to the nominal one; 0 where a device is stuck.
        down: the same downwards.
        reference: what is subtracted from the state to get the weight.
        kept: share of a weight that is left after one training step.
        start: state after building: a weight of 0, or where a device is stuck.
    """

    low: Float[Tensor, "..."]
    high: Float[Tensor, "..."]
    up: Float[Tensor, "..."]
    down: Float[Tensor, "..."]
    reference: Float[Tensor, "..."]
    kept: Float[Tensor, "..."]
    start: Float[Tensor, "*shape"]


def draw_devices(
    device: TrainingDevice, shape: tuple[int, ...], *names: str | int, dtype: torch.dtype = torch.float32
) -> Devices:
    """The devices of an array; the same names give the same devices.

    Bounds are ``tau (1 + s N)``, pulses ``gain + bias + r N`` up and ``gain - bias - r N`` down with
    ``gain = 1 + s N`` or ``exp(s N)``; magnitudes are taken, and no less than a hundredth of the nominal.
    """

    def normal(purpose: str, spread: float) -> Tensor:
        if not spread:
            return torch.zeros((), dtype=dtype)
        return spread * stream("cpu", *names, purpose).normal_like(torch.empty(shape, dtype=dtype))

    def size(relative: Tensor) -> Tensor:
        return relative.abs().clamp(min=SMALLEST)

    spread = device.spread
    high = device.tau * size(1 + normal("tau", spread.tau))
    low = device.lower * size(1 + normal("tau_min", spread.tau_min))
    gain = normal("step", spread.step)
    gain = torch.exp(gain) if spread.step_distribution == "lognormal" else 1 + gain
    tilt = normal("bias", spread.bias)
    if device.bias_kind == "symmetric":
        up, down = size(gain + device.bias + tilt), size(gain - device.bias - tilt)
    else:
        up = size(gain + min(device.bias, 0) + tilt)
        down = size(gain - max(device.bias, 0) - tilt)

    asked = device.symmetric_point
    reference = -(asked.mean + normal("symmetric_point", asked.spread))
    if asked.subtracted:
        reference = reference + response(device.response, low, high, up, down).symmetric_point()
    start = torch.clamp(reference.expand(shape), low, high).clone()
    if device.corrupt.share:
        lot = torch.rand(
            2, *shape, dtype=dtype, generator=torch.Generator().manual_seed(derive_seed(*names, "corrupt"))
        )
        stuck = lot[0] < device.corrupt.share
        held = device.corrupt.range * (low + (high - low) * lot[1])
        start = torch.where(stuck, held, start)
        up, down = (torch.where(stuck, torch.zeros_like(gain), gain) for gain in (up, down))
    return Devices(low, high, up, down, reference, _kept(device, normal), start)


def _kept(device: TrainingDevice, normal) -> Float[Tensor, "..."]:
    """Share of a weight that is left after one step."""
    lifetime = device.retention.lifetime_steps
    if lifetime is None:
        return torch.ones_like(normal("lifetime", 0.0))
    varied = (1 + normal("lifetime", device.retention.spread)).abs().clamp(min=SMALLEST)
    return 1 - 1 / (lifetime * varied).clamp(min=1)
