"""How a gradient becomes pulses: the rank-one updates of a batch, in parallel on all devices of an array.

Pulses of different samples do not cancel on their way to a device: what counts for the asymmetric part is
``|d|^T |x|`` of the batch, not ``|d^T x|``.

Source of the coincidences: Gokmen and Vlasov, Frontiers in Neuroscience 10, 333 (2016); of the management of
updates and of trains: Gokmen, Onen and Haensch, Frontiers in Neuroscience 11, 538 (2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from aimc_deploy.config.algorithm import Counts, Expected, Update
from aimc_deploy.errors import TrainingError
from aimc_deploy.training.array import EVERYWHERE, Array, Columns, Picked

FEW = 0.25
"""Share of the devices at which pulses can meet, up to which these are picked out: trains are short."""


def update(
    array: Array,
    x: Float[Tensor, "samples inputs"],
    d: Float[Tensor, "samples outputs"],
    lr: float,
    how: Update,
) -> None:
    """Move an array by about ``-lr d^T x``, as far as its devices do what is asked.

    Raises:
        TrainingError: an input or a gradient is not finite.
    """
    size_x, size_d = x.detach().abs(), d.detach().abs()
    asked = size_x.sum(1) * size_d.sum(1)
    total = lr * float(asked.sum())
    if not math.isfinite(total):
        raise TrainingError(
            "inputs or gradients are not finite: lower the learning rate or the output scale, and look at "
            "the loss of the step before"
        )
    if not total:
        return
    if isinstance(how, Expected):
        largest = lr * float(size_x.amax(1) @ size_d.amax(1))
        _expected(array, x, d, lr, largest, total)
        return
    moving = asked.nonzero().squeeze(1)
    if len(moving) < len(x):  # a text is padded, and of some layers only the first token counts
        x, d = x[moving], d[moving]
    trains = coincidence_trains(x, d, lr, array.dw, how.desired_bl, array.generator)
    (_counts if isinstance(how, Counts) else _sequential)(array, trains)


def _expected(array: Array, x: Tensor, d: Tensor, lr: float, largest: float, total: float) -> None:
    """The mean effect of the pulses."""
    scaled = (-lr * d).T
    amounts = scaled.abs() @ x.abs()
    slots = largest / array.dw  # samples come one after the other, all devices side by side
    if largest > 0.1 * array.device.tau:
        largest = float(amounts.max())  # the bound is not tight, and a part costs a pass over the array
    array.step(scaled @ x, amounts, largest=largest, pulses=total / array.dw, slots=slots)


@dataclass(frozen=True)
class Trains:
    """Trains of signed pulses; a device moves in the slots in which its row and its column have one.

    Attributes:
        fires: where there is a pulse, first those of the inputs.
        signs: of all pulses of a train.
        inputs: how many there are.
    """

    fires: Bool[Tensor, "samples slots lines"]
    signs: Float[Tensor, "samples 1 lines"]
    inputs: int

    def signed(self) -> tuple[Float[Tensor, "samples slots inputs"], Float[Tensor, "samples slots outputs"]]:
        """The pulses of the inputs and those of the outputs: -1, 0 or 1."""
        pulses = self.fires * self.signs
        return pulses[..., : self.inputs], pulses[..., self.inputs :]

    def some(self, inputs: Tensor, outputs: Tensor) -> Trains:
        """Those of these inputs and outputs alone."""
        lines = torch.cat((inputs, outputs + self.inputs))
        return Trains(self.fires[..., lines], self.signs[..., lines], len(inputs))

    def coincidences(self) -> tuple[Float[Tensor, "outputs inputs"], Float[Tensor, "outputs inputs"]]:
        """For each device, pulses up less those down, and all."""
        pulses = self.fires.to(self.signs.dtype)
        total = _product(pulses, self.inputs)
        return _product(pulses.mul_(self.signs), self.inputs), total


def _product(pulses: Float[Tensor, "samples slots lines"], inputs: int) -> Float[Tensor, "outputs inputs"]:
    of_inputs, of_outputs = pulses.flatten(0, 1).tensor_split([inputs], dim=1)
    if of_inputs.shape[1] < of_outputs.shape[1]:  # BLAS takes eight times as long the other way round
        return (of_inputs.T @ of_outputs).T
    return of_outputs.T @ of_inputs


def coincidence_trains(
    x: Float[Tensor, "samples inputs"],
    d: Float[Tensor, "samples outputs"],
    lr: float,
    dw: float,
    desired_bl: int,
    generator: torch.Generator,
) -> Trains:
    """Random trains.

    The expected number of coincidences of a sample is ``lr |x| |d| / dw``. A train is as long as a sample
    needs, ``desired_bl`` at most; a sample that needs more is cut, and ``x`` is not. The probabilities of
    both sides are balanced.
    """
    size_x, size_d = x.abs(), d.abs()
    largest_x, largest_d = size_x.amax(1, keepdim=True), size_d.amax(1, keepdim=True)
    needed = largest_x * largest_d * (lr / dw)
    length = needed.ceil().clamp(1, desired_bl)
    cut = (desired_bl / needed).clamp(max=1)  # inf where nothing is needed
    ratio = (largest_d * cut / largest_x).sqrt()
    base = (lr / (dw * length)).sqrt()
    slots = int(length.max())
    # Not a number where a sample needs nothing: no draw is below that.
    probability = torch.cat((size_x * (base * ratio), size_d * (base / ratio)), 1)[:, None]
    shape = (len(x), slots, probability.shape[2])
    fires = torch.rand(shape, dtype=x.dtype, device=x.device, generator=generator) < probability
    if slots > 1:
        fires &= torch.arange(slots, device=x.device)[:, None] < length[:, None]
    return Trains(fires, torch.cat((x, -d), 1).sign()[:, None], x.shape[1])


def _counts(array: Array, trains: Trains) -> None:
    """All coincidences of the batch at once: those up and those down, each from where the batch began."""
    array.slots += float(trains.fires[..., : trains.inputs].any(2).sum())
    used = trains.fires.flatten(0, 1).any(0)
    inputs, outputs = (part.nonzero().squeeze(1) for part in used.tensor_split([trains.inputs]))
    few = len(inputs) * len(outputs) <= FEW * array.state.numel()
    net, total = (trains.some(inputs, outputs) if few else trains).coincidences()
    where: Columns | Picked = EVERYWHERE
    if few:
        hit = total.flatten().nonzero().squeeze(1)
        where = Picked((outputs[:, None] * array.state.shape[1] + inputs).take(hit))
        net, total = net.take(hit), total.take(hit)
    pulses = total.sum(dtype=torch.float64).item()
    if pulses:
        net, total = net * array.dw, total * array.dw
        array.step(net, total, where, largest=float(total.max()), pulses=pulses, slots=0.0, whole=True)


def _sequential(array: Array, trains: Trains) -> None:
    """Sample by sample and slot by slot."""
    for sample_x, sample_d in zip(*trains.signed(), strict=True):
        for slot_x, slot_d in zip(sample_x, sample_d, strict=True):
            array.pulse(torch.outer(slot_d, slot_x))
