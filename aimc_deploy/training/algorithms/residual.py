"""Residual learning; with ``gamma`` 0 it is Tiki-Taka.

``P' = P - alpha g F(P) - alpha |g| G(P)`` with the gradient at ``W + gamma (P - Q)``, and for the columns
read ``W' = W + beta r F(W) - beta |r| G(W)``, ``r = P' - Q``. ``P`` learns what is missing from ``W``; near
the end nothing is, so that ``P`` is small, and with ``Q`` at the symmetric point no bias is left.

Source: Wu et al., NeurIPS 2025 (arXiv 2502.06309), equations 9 to 11; Gokmen and Haensch, Frontiers in
Neuroscience 14, 103 (2020). With ``gamma`` 0 and no noise at all it oscillates without damping.
"""

from __future__ import annotations

from torch import Tensor

from aimc_deploy.training.algorithms.transfer import Transfer


class Residual(Transfer):
    """What is read is written at once."""

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """``W`` goes by ``beta r``."""
        self.write(beta * self.residual(read, cols), cols)
