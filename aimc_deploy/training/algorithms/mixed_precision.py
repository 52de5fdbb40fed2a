"""Mixed precision: the gradient is computed and summed digitally, and whole pulses are written to ``W``.

``H' = H - lr v`` with ``v = momentum v + d^T x``, or with the step of Adam in the place of ``v``;
``n = trunc(H' / dw)`` pulses are fired and taken from ``H'``. No device sees a pulse that the sum does not
ask for; the price is a digital product of the size of the matrix for every sample.

Source: Nandakumar et al., Frontiers in Neuroscience 14, 406 (2020); Kingma and Ba, ICLR 2015.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.errors import TrainingError
from aimc_deploy.training.algorithm import Algorithm, Setup

BETA_2 = 0.999
EPSILON = 1e-8
"""Adam's, in units of the gradient."""


class MixedPrecision(Algorithm):
    """One array and a digital sum ``h`` in weight units, with the momentum ``velocity``; with Adam, also the
    mean ``square`` of the gradient.
    """

    h: Tensor
    velocity: Tensor
    square: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.w = setup.array("w")
        self.keep("h", torch.zeros_like(self.w.state))
        self.keep("velocity", torch.zeros_like(self.w.state))
        if self.described.adam:
            self.keep("square", torch.zeros_like(self.w.state))

    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """``W``."""
        return self.w.weight()

    def program(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Write it, and forget what has been summed."""
        self.w.set(weight)
        for buffer in (self.h, self.velocity, *((self.square,) if self.described.adam else ())):
            buffer.zero_()

    def learn(self, x: Tensor, d: Tensor, lr: float, schedule: float) -> None:
        """Add the gradient, and write what makes whole pulses."""
        if self.described.adam:
            self._add_adam(d.T @ x, lr)
        else:
            self.velocity.mul_(self.described.momentum).addmm_(d.T, x)
            self.h.add_(self.velocity, alpha=-lr)
        if not torch.isfinite(self.h.sum()):
            raise TrainingError(
                "inputs or gradients are not finite: lower the learning rate or the output scale, and look "
                "at the loss of the step before"
            )
        pulses = (self.h / self.w.dw).trunc()
        self.h.sub_(pulses, alpha=self.w.dw)
        self.w.pulse(pulses)

    def _add_adam(self, gradient: Tensor, lr: float) -> None:
        beta_1, step = self.described.momentum, self.steps + 1
        self.velocity.lerp_(gradient, 1 - beta_1)
        self.square.lerp_(gradient.square(), 1 - BETA_2)
        size = (self.square / (1 - BETA_2**step)).sqrt_().add_(EPSILON)
        self.h.addcdiv_(self.velocity, size, value=-lr / (1 - beta_1**step))
