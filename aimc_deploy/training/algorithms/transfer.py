"""What the algorithms share that let the gradient move ``P`` and bring what it holds to ``W``.

In each step the gradient at ``W + gamma c (P - Q)`` moves ``P``; then some columns are read, and what they
hold above ``Q`` says where ``W`` should go. ``c`` is the sign of each column, 1 where it is not chopped. What
is made of what was read is the algorithm's own: :meth:`Transfer.transfer`.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.algorithm import Expected
from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.training.algorithm import Algorithm, columns_at
from aimc_deploy.training.array import Array
from aimc_deploy.training.calibrate import calibrate
from aimc_deploy.training.update import update


class Transfer(Algorithm):
    """Two arrays.

    Attributes:
        w: the array that holds the weight.
        p: the array that takes the gradient.
        q: zero of ``p``, one for each device.
        chopper: sign of each column.
        chopped: whether signs change.
        zero_is_fixed: ``q`` is 0 for ever.
    """

    q: Tensor
    chopper: Tensor

    def __init__(
        self,
        described: Any,
        device: TrainingDevice,
        residual_device: TrainingDevice,
        shape: tuple[int, int],
        names: tuple[str | int, ...],
        dtype: torch.dtype,
    ) -> None:
        super().__init__()
        self.described = described
        self.w = Array(device, shape, *names, "w", dtype=dtype)
        self.p = Array(residual_device, shape, *names, "p", dtype=dtype)
        self.keep("q", calibrate(self.p, described.calibration))
        self.zero_is_fixed = described.calibration.kind == "none"
        self.keep("chopper", torch.ones(shape[1], dtype=dtype))
        self.chopped = False

    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """``W + gamma c (P - Q)``."""
        gamma = self.described.gamma
        if not gamma:
            return self.w.weight()
        residual = self.p.weight()
        if not self.zero_is_fixed:
            residual = residual - self.q
        if self.chopped:
            residual = residual * self.chopper
        return torch.add(self.w.weight(), residual, alpha=gamma)

    def program(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Write it to ``W``, and take ``P`` back to its zero."""
        self.w.set(weight)
        self.p.set(self.q)

    def learn(self, x: Tensor, d: Tensor, lr: float, schedule: float) -> None:
        """Move ``P`` by the gradient, then transfer if it is time."""
        described = self.described
        alpha = lr if described.fast_lr is None else described.fast_lr
        update(self.p, x * self.chopper if self.chopped else x, d, alpha, described.update)
        if (self.steps + 1) % described.every:
            return
        visit = (self.steps + 1) // described.every - 1
        cols = columns_at(visit, described.columns, x.shape[1])
        self.transfer(self.p.read(described.read_noise, cols), cols, described.transfer_lr * schedule)

    @abstractmethod
    def transfer(self, read: Float[Tensor, "outputs cols"], cols: slice, beta: float) -> None:
        """Make use of what was read of these columns of ``P``."""

    def residual(self, read: Float[Tensor, "outputs cols"], cols: slice) -> Float[Tensor, "outputs cols"]:
        """``c (P - Q)``: where ``W`` should go."""
        above = read if self.zero_is_fixed else read - self.q[:, cols]
        return above * self.chopper[cols] if self.chopped else above

    def write(self, change: Float[Tensor, "outputs cols"], cols: slice) -> None:
        """Change these columns of ``W`` by pulses, as the gradient's are: their mean, or whole ones."""
        self.w.write(change, cols, whole=not isinstance(self.described.update, Expected))

    def flip(self, cols: slice, probability: float) -> Float[Tensor, " cols"]:
        """Change the signs of some of these columns; 1 where it was done."""
        draw = torch.rand(self.chopper[cols].shape, device=self.chopper.device, generator=self.p.generator)
        flipped = (draw < probability).to(self.chopper.dtype)
        self.chopper[cols] *= 1 - 2 * flipped
        return flipped
