"""Residual learning v2 and Tiki-Taka v2: a digital buffer between ``P`` and ``W``, against noise of reading.

Residual learning v2 averages, ``H' = (1 - beta) H + beta r``, and fires one pulse of its sign where
``|H'| >= threshold``, which is taken away from ``H'``; without a threshold, ``W`` goes by ``beta H'``.
Tiki-Taka v2 sums, ``H' = (1 - forget) H + beta r``, and fires one pulse where ``|H'| >= dw``.

Source: Wu et al., NeurIPS 2025 (arXiv 2502.06309), equations 14, 15 and 32; Gokmen, Frontiers in Artificial
Intelligence 4, 699148 (2021).
"""

from __future__ import annotations

import torch
from torch import Tensor

from aimc_deploy.training.algorithm import Setup
from aimc_deploy.training.algorithms.transfer import Transfer


class Buffered(Transfer):
    """Holds the buffer ``h``, in weight units."""

    h: Tensor

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self.keep("h", torch.zeros_like(self.w.state))

    def program(self, weight: Tensor) -> None:
        """Write it, and forget what is in the buffer."""
        super().program(weight)
        self.h.zero_()

    def accumulate(self, residual: Tensor, cols: slice, beta: float) -> None:
        """Add to the sums; one pulse of ``W`` where they are worth one."""
        total = self.h[:, cols] * (1 - self.described.forget) + beta * residual
        self.fire(total, cols, self.w.dw)

    def fire(self, buffer: Tensor, cols: slice, threshold: float) -> None:
        """One pulse where the buffer has reached the threshold, which is then taken from it."""
        pulses = buffer.sign() * (buffer.abs() >= threshold)
        self.h[:, cols] = buffer - threshold * pulses
        self.w.pulse(pulses, cols)


class TTv2(Buffered):
    """Sums what is read."""

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """Add it to the buffer."""
        self.accumulate(self.residual(read, cols), cols, beta)


class ResidualV2(Buffered):
    """Averages what is read."""

    def transfer(self, read: Tensor, cols: slice, beta: float) -> None:
        """Average it, and write what has come together."""
        average = torch.lerp(self.h[:, cols], self.residual(read, cols), beta)
        if self.described.threshold is not None:
            self.fire(average, cols, self.described.threshold * self.w.dw)
            return
        self.h[:, cols] = average
        self.write(beta * average, cols)
