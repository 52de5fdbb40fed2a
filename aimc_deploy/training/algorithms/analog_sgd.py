"""Analog SGD: the gradient's pulses go to the weight itself.

``W' = W - alpha g F(W) - alpha |g| G(W)``. The second term does not vanish with the gradient's mean: it pulls
every weight to its symmetric point as if ``<E|g|, R_c(W)>`` were added to the loss.

Source: Wu et al., NeurIPS 2025 (arXiv 2502.06309), equation 2 and Theorem 1.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from aimc_deploy.training.algorithm import Algorithm, Setup
from aimc_deploy.training.update import update


class AnalogSGD(Algorithm):
    """One array."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.w = setup.array("w")

    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """``W``."""
        return self.w.weight()

    def program(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Write it."""
        self.w.set(weight)

    def learn(self, x: Tensor, d: Tensor, lr: float, schedule: float) -> None:
        """Pulses by the gradient."""
        update(self.w, x, d, lr, self.described.update)
