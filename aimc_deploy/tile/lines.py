"""Which lines of its crossbar a block is put on, where a test has found the devices that are stuck.

The order of rows and columns and the sign of a column are free: inputs and outputs are brought into order
again by whoever drives the crossbar, and the digital side notices nothing. Lines that hold nothing are spare.
Rows and then columns, with their signs, are assigned so that the sum of what they miss is the least.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from aimc_deploy.physics.faults import Stuck, reach

_AT_A_TIME = 4096
"""Stuck pairs; so few that what is computed of them stays in a processor's cache."""


@dataclass(frozen=True)
class Lines:
    """The lines of a crossbar that hold a block.

    Attributes:
        cols, rows: of the crossbar, for each column and row of the block.
        flipped: columns whose two polarities have changed places.
    """

    cols: Int[Tensor, " cols"]
    rows: Int[Tensor, " rows"]
    flipped: Bool[Tensor, " cols"]

    @classmethod
    def first(cls, cols: int, rows: int, device: torch.device) -> Lines:
        """The first ones, in their order."""
        return cls(
            torch.arange(cols, device=device),
            torch.arange(rows, device=device),
            torch.zeros(cols, dtype=torch.bool, device=device),
        )

    @classmethod
    def of_least_harm(
        cls,
        wanted: Float[Tensor, "cols rows"],
        w_scale: Float[Tensor, " cols"],
        stuck: Stuck,
        g_max: float,
    ) -> Lines:
        """Those on which the block's weights miss their targets by least, summed over squares.

        Args:
            wanted: differences of the pairs, uS; ``w_scale`` makes weights of them.
            stuck: of a crossbar that has at least as many lines.
        """
        device, (cols, rows) = wanted.device, wanted.shape
        wanted, scale = wanted.cpu(), w_scale.cpu().unsqueeze(1)
        low, high = (bound.cpu() for bound in reach(stuck, g_max))
        lines = cls.first(cols, rows, torch.device("cpu"))
        # Each column on the line that has its number, for now.
        row = _assigned(
            _harm((wanted * scale).T, (low[:cols] * scale).T, (high[:cols] * scale).T, g_max * scale.T)
        )
        low, high = low[:, row], high[:, row]
        bound = torch.full((1, rows), g_max)
        kept, turned = (_harm(own, low, high, bound) * scale.square() for own in (wanted, -wanted))
        col = _assigned(torch.minimum(kept, turned))
        flipped = turned[lines.cols, col] < kept[lines.cols, col]
        return cls(col.to(device), row.to(device), flipped.to(device))

    def of(self, stuck: Stuck) -> Stuck:
        """The devices of a crossbar as the block on these lines meets them."""
        plus = stuck.plus[self.cols][:, self.rows]
        minus = stuck.minus[self.cols][:, self.rows]
        flipped = self.flipped.unsqueeze(1)
        return Stuck(torch.where(flipped, minus, plus), torch.where(flipped, plus, minus))


def _harm(wanted: Tensor, low: Tensor, high: Tensor, bound: Tensor) -> Tensor:
    """What is missed, squared, by each line of a block (first axis) on each line of a crossbar (second).

    Args:
        bound: of sound pairs, which miss nothing.
    """
    by_cell = wanted.T.contiguous()
    stuck = ((low > -bound) | (high < bound)).nonzero()
    found = torch.zeros(len(low), len(wanted))
    for line, cell in (part.unbind(1) for part in stuck.split(_AT_A_TIME)):
        here = by_cell[cell]
        missed = here.sub_(here.clamp(low[line, cell].unsqueeze(1), high[line, cell].unsqueeze(1)))
        found.index_add_(0, line, missed.square_())
    return found.T


def _assigned(harm: Tensor) -> Tensor:
    """A line of the crossbar for each line of the block; those of their number if they do none."""
    if not bool(harm.diagonal().any()):
        return torch.arange(len(harm))
    return torch.from_numpy(linear_sum_assignment(harm.numpy())[1])
