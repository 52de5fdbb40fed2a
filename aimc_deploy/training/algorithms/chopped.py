"""Chopped Tiki-Taka v2 and AGAD: columns of ``P`` change sign at random, so that a wrong zero averages away.

``P`` gets the gradient with ``c x`` for ``x``, and what is read is multiplied by ``c`` again: the signal
keeps its sign, an offset does not. Chopped Tiki-Taka v2 subtracts a fixed ``Q``. AGAD keeps an average of
what it reads, ``m' = (1 - b) m + b P``, and takes it for ``Q`` when the sign changes: no calibration.

Source: Rasch, Carta, Fagbohungbe and Gokmen, Nature Communications 15, 7133 (2024), equations 11 to 13.
"""

from __future__ import annotations

from torch import Tensor

from aimc_deploy.training.algorithm import Setup
from aimc_deploy.training.algorithms.buffered import Buffered
from aimc_deploy.training.algorithms.transfer import MovingZero


class ChoppedTTv2(Buffered):
    """Tiki-Taka v2 with signs."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.chopped = True

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """Add it to the buffer with its sign, then perhaps change that."""
        self.accumulate(self.residual(read, cols), cols, beta)
        self.flip(cols, self.described.flip_probability)


class AGAD(MovingZero, ChoppedTTv2):
    """The same, with ``Q`` from what was read."""

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """Add it to the buffer with its sign; where that changes, the average is the new zero."""
        self.accumulate(self.residual(read, cols), cols, beta)
        self.move_zero(read, cols, self.described.average)
