"""Multi-tile residual learning: each array holds what is missing from the ones before it, in smaller units.

``W = sum_n gamma^n W_n``; the gradient moves the last array only, and ``W_n`` goes by ``beta W_{n+1}`` once
every ``T^(N - n)`` steps (``n`` from 1), so that each array has long been at rest when it is read. With
``gamma`` about 1 / states the error falls as ``gamma^(2 N / 3)``; too short a ``T`` (5) undoes that.

Source: arXiv 2510.02516, for devices of few states.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aimc_deploy.config.algorithm import Expected
from aimc_deploy.training.algorithm import Algorithm, Setup
from aimc_deploy.training.array import Array
from aimc_deploy.training.update import update

_ALL = slice(None)


class MultiTile(Algorithm):
    """As many arrays as asked for, the most important first."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        numbers = range(self.described.tiles)
        self.tiles = nn.ModuleList(setup.array("w", number, residual=number > 0) for number in numbers)

    @property
    def _tiles(self) -> list[Array]:
        return [tile for tile in self.tiles if isinstance(tile, Array)]

    def weight(self) -> Float[Tensor, "outputs inputs"]:
        """``sum_n gamma^n W_n``."""
        first, *others = self._tiles
        weight = first.weight().clone()
        for power, tile in enumerate(others, 1):
            weight.add_(tile.weight(), alpha=self.described.gamma**power)
        return weight

    def program(self, weight: Float[Tensor, "outputs inputs"]) -> None:
        """Write it to the first array, and 0 to the others."""
        first, *others = self._tiles
        first.set(weight)
        for tile in others:
            tile.set(torch.zeros_like(weight))

    def learn(self, x: Tensor, d: Tensor, lr: float, schedule: float) -> None:
        """Move the last array by the gradient, then hand on from the last to the first where it is time."""
        described, tiles = self.described, self._tiles
        update(tiles[-1], x, d, lr, described.update)
        for number in range(len(tiles) - 2, -1, -1):
            if (self.steps + 1) % described.every ** (len(tiles) - 1 - number):
                return
            change = described.transfer_lr * schedule * tiles[number + 1].read(described.read_noise)
            tiles[number].write(change, _ALL, whole=not isinstance(described.update, Expected))
