"""E-RIDER: residual learning that follows the symmetric point of ``P`` while it trains.

A digital average follows what is read, ``m' = (1 - eta) m + eta P'``; ``Q`` becomes the average where the
sign ``c`` of a column changes, with probability ``p``; in between ``W`` goes by ``beta c (P' - Q)``. Without
changes of sign ``W - (beta / eta) Q`` would be conserved, and where training ends would depend on where it
began.

Source: arXiv 2602.21321, algorithm 2 and what follows it; its equations 11 and 12 are reconstructed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aimc_deploy.training.algorithms.transfer import Transfer


class ERider(Transfer):
    """Residual learning with signs and a moving zero."""

    average: Tensor

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.chopped = True
        self.zero_is_fixed = False
        self.keep("average", self.q.clone())

    def program(self, weight: Tensor) -> None:
        """Write it, and begin to average anew."""
        super().program(weight)
        self.average.copy_(self.q)

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """Write the residual; the zero follows, and is taken where the sign changes."""
        self.write(beta * self.residual(read, cols), cols)
        self.average[:, cols] = torch.lerp(self.average[:, cols], read, self.described.follow)
        flipped = self.flip(cols, self.described.flip_probability)
        self.q[:, cols] = torch.where(flipped > 0, self.average[:, cols], self.q[:, cols])
