"""E-RIDER: residual learning that follows the symmetric point of ``P`` while it trains.

A digital average follows what is read, ``m' = (1 - eta) m + eta P'``; ``Q`` becomes the average where the
sign ``c`` of a column changes, with probability ``p``; in between ``W`` goes by ``beta c (P' - Q)``. Without
changes of sign ``W - (beta / eta) Q`` would be conserved, and where training ends would depend on where it
began.

Source: arXiv 2602.21321, algorithm 2 and what follows it; its equations 11 and 12 are reconstructed.
"""

from __future__ import annotations

from torch import Tensor

from aimc_deploy.training.algorithms.transfer import MovingZero


class ERider(MovingZero):
    """Residual learning with signs and a moving zero."""

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """Write the residual; the zero follows, and is taken where the sign changes."""
        self.write(beta * self.residual(read, cols), cols)
        self.move_zero(read, cols, self.described.follow)
