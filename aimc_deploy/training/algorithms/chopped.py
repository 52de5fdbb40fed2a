"""Chopped Tiki-Taka v2 and AGAD: columns of ``P`` change sign at random, so that a wrong zero averages away.

``P`` gets the gradient with ``c x`` for ``x``, and what is read is multiplied by ``c`` again: the signal
keeps its sign, an offset does not. Chopped Tiki-Taka v2 subtracts a fixed ``Q``. AGAD keeps an average of
what it reads, ``m' = (1 - b) m + b P``, and takes it for ``Q`` when the sign changes: no calibration.

Source: Rasch, Carta, Fagbohungbe and Gokmen, Nature Communications 15, 7133 (2024), equations 11 to 13.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from aimc_deploy.training.algorithms.buffered import Buffered


class ChoppedTTv2(Buffered):
    """Tiki-Taka v2 with signs."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.chopped = True

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """Add it to the buffer with its sign, then perhaps change that."""
        self.accumulate(self.residual(read, cols), cols, beta)
        self.flip(cols, self.described.flip_probability)


class AGAD(ChoppedTTv2):
    """The same, with ``Q`` from what was read."""

    average: Tensor

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.zero_is_fixed = False
        self.keep("average", self.q.clone())

    def program(self, weight: Tensor) -> None:
        """Write it, and begin to average anew."""
        super().program(weight)
        self.average.copy_(self.q)

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """The same; where the sign changes, the average is the new zero."""
        self.average[:, cols] = torch.lerp(self.average[:, cols], read, self.described.average)
        self.accumulate(self.residual(read, cols), cols, beta)
        flipped = self.flip(cols, self.described.flip_probability)
        self.q[:, cols] = torch.where(flipped > 0, self.average[:, cols], self.q[:, cols])
