"""Blocks of matrices, the tiles they are on, and what that means for the time of a product."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from aimc_deploy.config.chip import Strategy


@dataclass(frozen=True)
class Block:
    """A part of a matrix that fits on one tile.

    Attributes:
        layer, index: which matrix, and which of its blocks.
        rows, cols: its size in unit cells.
        reads: names its inputs; two blocks with the same name read the same rows of the same tensor.
        stage: length of the longest chain of matrices up to this one.
        group: the part of the model it belongs to, such as one encoder layer.
    """

    layer: str
    index: int
    rows: int
    cols: int
    reads: str
    stage: int
    group: str

    @property
    def area(self) -> int:
        """Unit cells."""
        return self.rows * self.cols


Shelf = Sequence[Block]
"""Blocks that read the same inputs, side by side."""


@dataclass(frozen=True)
class Placed:
    """A block at (``row``, ``col``) of a tile."""

    block: Block
    tile: int
    row: int
    col: int


@dataclass(frozen=True)
class Unusable:
    """What cannot be used of one tile: all of it, or some lines."""

    whole: bool = False
    rows: tuple[int, ...] = ()
    cols: tuple[int, ...] = ()


@dataclass(frozen=True)
class TilePlan:
    """Every block in its place.

    Attributes:
        used: number of tiles that hold something.
        bound: tiles that the area alone would need.
        interval: initiation interval, the largest number of products that a tile makes for one token.
    """

    strategy: Strategy
    rows: int
    cols: int
    blocks: tuple[Placed, ...]

    @property
    def used(self) -> int:
        return len({placed.tile for placed in self.blocks})

    @property
    def bound(self) -> int:
        return -(-sum(placed.block.area for placed in self.blocks) // (self.rows * self.cols))

    @property
    def utilisation(self) -> float:
        """Share of the cells of the used tiles that hold weights."""
        area = sum(placed.block.area for placed in self.blocks)
        return area / (self.used * self.rows * self.cols) if self.blocks else 0.0

    def turn(self, placed: Placed) -> Hashable:
        """Which product of its tile a block takes part in; blocks with the same one share it.

        The blocks of a diagonal tile have rows and columns of their own, and all share one.
        """
        return None if self.strategy == "diagonal" else (placed.block.reads, placed.row)

    def products(self) -> dict[int, int]:
        """For each tile, the products it makes for one token."""
        turns: dict[int, set[Hashable]] = {}
        for placed in self.blocks:
            turns.setdefault(placed.tile, set()).add(self.turn(placed))
        return {tile: len(different) for tile, different in turns.items()}

    @property
    def interval(self) -> int:
        return max(self.products().values(), default=0)
