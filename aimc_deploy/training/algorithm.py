"""What every training algorithm is: arrays, the weight they make together, and a step.

The formulas in ``training/algorithms`` use the names of the papers: ``W`` holds the weight, ``P`` takes the
gradient and is read column by column, ``Q`` is what is taken for the zero of ``P``, ``H`` a digital buffer,
``alpha`` the rate of the gradient, ``beta`` the rate of the transfer, ``gamma`` the share of ``P`` in the
weight that computes, in both directions.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.errors import ArtifactError
from aimc_deploy.training.array import Array


@dataclass(frozen=True)
class Setup:
    """What every algorithm is made from.

    Attributes:
        described: its settings.
        device: of the array that holds the weight.
        residual_device: of the arrays that take the gradient.
        shape: (outputs, inputs).
        names: of the layer and of all it is part of, a seed first; they seed devices and pulses.
    """

    described: Any
    device: TrainingDevice
    residual_device: TrainingDevice
    shape: tuple[int, int]
    names: tuple[str | int, ...]
    dtype: torch.dtype

    def array(self, *name: str | int, residual: bool = False) -> Array:
        """An array of this name; ``residual``: of the devices that take the gradient."""
        device = self.residual_device if residual else self.device
        return Array(device, self.shape, *self.names, *name, dtype=self.dtype)


class Algorithm(nn.Module):
    """A weight matrix that learns in memory. All it knows is in buffers, counters and random generators.

    Attributes:
        described: its settings.
        steps: updates so far.
    """

    def __init__(self, setup: Setup) -> None:
        super().__init__()
        self.described = setup.described
        self.steps = 0

    @abstractmethod
    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """The weight that computes, forwards and backwards; not to be written to."""

    @abstractmethod
    def learn(
        self,
        x: Float[Tensor, "samples inputs"],
        d: Float[Tensor, "samples outputs"],
        lr: float,
        schedule: float,
    ) -> None:
        """One step of the algorithm; see :meth:`update`."""

    @abstractmethod
    def program(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Start from this weight, as far as bounds allow, with nothing learned yet."""

    def update(
        self,
        x: Float[Tensor, "samples inputs"],
        d: Float[Tensor, "samples outputs"],
        lr: float,
        schedule: float = 1.0,
    ) -> None:
        """One training step.

        Args:
            x: inputs of the layer.
            d: gradients of the loss by its outputs, divided by the size of the batch.
            lr: learning rate, the ``alpha`` of the papers.
            schedule: the present learning rate by the one at the start; transfers follow it.

        Raises:
            TrainingError: inputs or gradients are not finite.
        """
        with torch.no_grad():
            self.learn(x, d, lr, schedule)
            for array in self._leaking:
                array.leak()
        self.steps += 1

    @cached_property
    def _leaking(self) -> tuple[Array, ...]:
        return tuple(array for _, array in self.arrays() if array.leaks)

    def merge(self) -> None:
        """Write the weight that computes into the first array alone, as far as its bounds allow."""
        with torch.no_grad():
            self.program(self.weight().clone())

    def arrays(self) -> Iterator[tuple[str, Array]]:
        """Its arrays with their names."""
        return ((name, part) for name, part in self.named_modules() if isinstance(part, Array))

    def checkpoint(self) -> dict[str, Any]:
        """All that is needed to go on: plain numbers and copies of tensors."""
        return {
            "steps": self.steps,
            "devices": {name: array.device.digest() for name, array in self.arrays()},
            "pulses": {name: [array.pulses, array.slots] for name, array in self.arrays()},
            "generators": {name: array.generator.get_state().clone() for name, array in self.arrays()},
            "tensors": {name: tensor.clone() for name, tensor in self.named_buffers()},
        }

    def restore(self, checkpoint: dict[str, Any]) -> None:
        """Go on from where :meth:`checkpoint` was taken, bit by bit.

        Raises:
            ArtifactError: it was taken from another algorithm or from a matrix of another size.
        """
        mine = {name: tuple(tensor.shape) for name, tensor in self.named_buffers()}
        given = {name: tuple(tensor.shape) for name, tensor in checkpoint["tensors"].items()}
        if mine != given:
            wrong = sorted(name for name in mine.keys() | given.keys() if mine.get(name) != given.get(name))
            raise ArtifactError(
                f"the checkpoint does not fit this {type(self).__name__}: {', '.join(wrong)} differ; go on "
                "with the algorithm, device and layer it was made with, or start anew"
            )
        if checkpoint["devices"] != {name: array.device.digest() for name, array in self.arrays()}:
            raise ArtifactError(
                "the checkpoint was made with other devices: go on with those it was made with, or start anew"
            )
        self.steps = checkpoint["steps"]
        for name, tensor in self.named_buffers():
            tensor.copy_(checkpoint["tensors"][name])
        for name, array in self.arrays():
            array.forget_response()
            array.pulses, array.slots = checkpoint["pulses"][name]
            array.generator.set_state(checkpoint["generators"][name].cpu())

    def keep(self, name: str, tensor: Tensor) -> None:
        """Register a tensor of the algorithm's own, which is no part of a model's ``state_dict``."""
        self.register_buffer(name, tensor, persistent=False)


def columns_at(visit: int, count: int, inputs: int) -> slice:
    """The columns of a visit: ``count`` side by side, in turn from the first to the last."""
    blocks = -(-inputs // count)
    first = visit % blocks * count
    return slice(first, min(first + count, inputs))
