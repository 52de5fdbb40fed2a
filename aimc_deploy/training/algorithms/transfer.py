"""What the algorithms share that let the gradient move ``P`` and bring what it holds to ``W``.

In each step the gradient at ``W + gamma c (P - Q)`` moves ``P``; then some columns are read, and what they
hold above ``Q`` says where ``W`` should go. ``c`` is the sign of each column, 1 where it is not chopped. What
is made of what was read is the algorithm's own: :meth:`Transfer.transfer`.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.algorithm import Expected
from aimc_deploy.training.algorithm import Algorithm, Setup, columns_at
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

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.w = setup.array("w")
        self.p = setup.array("p", residual=True)
        self.keep("q", calibrate(self.p, self.described.calibration))
        self.zero_is_fixed = self.described.calibration.kind == "none"
        self.keep("chopper", torch.ones(setup.shape[1], dtype=setup.dtype))
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
        cols = columns_at(visit, described.columns or x.shape[1], x.shape[1])
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


class MovingZero(Transfer):
    """Takes for ``Q`` an average of what was read, anew whenever the sign of a column changes."""

    average: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.chopped = True
        self.zero_is_fixed = False
        self.keep("average", self.q.clone())

    def program(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Write it, and begin to average anew."""
        super().program(weight)
        self.average.copy_(self.q)

    def move_zero(self, read: Float[Tensor, "outputs cols"], cols: slice, rate: float) -> None:
        """Average at this rate, perhaps change the signs, and take the average where that was done."""
        self.average[:, cols] = torch.lerp(self.average[:, cols], read, rate)
        flipped = self.flip(cols, self.described.flip_probability)
        self.q[:, cols] = torch.where(flipped > 0, self.average[:, cols], self.q[:, cols])
