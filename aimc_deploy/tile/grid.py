"""The tiles of one weight matrix: where it is cut, and the tiles put together again.

A matrix larger than a tile is cut into parts, equal or as large as a tile. Parts of the same rows read the
same inputs; parts of the same columns are summed digitally, each after its own ADC.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import DualPair, Hardware
from aimc_deploy.physics.device import DeviceModel
from aimc_deploy.physics.random import stream
from aimc_deploy.tile.defects import Defects
from aimc_deploy.tile.tile import DriftedTile, ProgrammedTile, Tile


def cut(length: int, largest: int, split: Literal["equal", "max"] = "equal") -> list[slice]:
    """Parts of at most ``largest``.

    Equal ones, of which the first ``length % parts`` are one longer; or all but the last as large as can be.
    """
    parts = -(-length // largest)
    if split == "max":
        edges = [*range(0, length, largest), length]
    else:
        size, longer = divmod(length, parts)
        edges = [0]
        for part in range(parts):
            edges.append(edges[-1] + size + (part < longer))
    return [slice(start, stop) for start, stop in itertools.pairwise(edges)]


@dataclass(frozen=True)
class Layout:
    """How a (cols, rows) matrix is cut: ``row_slices`` over its inputs, ``col_slices`` over its outputs."""

    rows: int
    cols: int
    row_slices: tuple[slice, ...]
    col_slices: tuple[slice, ...]

    @classmethod
    def of(cls, rows: int, cols: int, hardware: Hardware) -> Layout:
        """The cut of a matrix for tiles of the given size."""
        tile, split = hardware.tile, hardware.mapping.split
        return cls(rows, cols, tuple(cut(rows, tile.rows, split)), tuple(cut(cols, tile.cols, split)))

    @property
    def tiles(self) -> int:
        """Number of tiles, one block on each."""
        return len(self.row_slices) * len(self.col_slices)

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """``(row_slice, col_slice)`` of every tile, columns running fastest."""
        for row_slice in self.row_slices:
            for col_slice in self.col_slices:
                yield row_slice, col_slice


@dataclass(frozen=True)
class Segment:
    """All tiles that read the same inputs, side by side: what one product needs.

    Attributes:
        weight: normalised weights, (cols, rows of this segment).
        out_scale: digital factor of each column after the ADC: weight scale times compensation.
        read_variance: variance of the weights from product to product, or None.
        reference, now: read-out of each column right after programming and now, None for what is no chip.
    """

    weight: Float[Tensor, "cols rows"]
    out_scale: Float[Tensor, " cols"]
    read_variance: Float[Tensor, "cols rows"] | None = None
    reference: Float[Tensor, " cols"] | None = None
    now: Float[Tensor, " cols"] | None = None


@dataclass(frozen=True)
class Grid:
    """The mapped tiles of one layer, in the order of ``layout.blocks()``."""

    layout: Layout
    tiles: tuple[Tile, ...]

    @classmethod
    def map(
        cls,
        weight: Float[Tensor, "cols rows"],
        hardware: Hardware,
        largest: Sequence[float | None] | None = None,
    ) -> Grid:
        """Cut a matrix of clipped weights and map each part.

        Args:
            largest: absolute weight on the crossbar of each part, whose scale it takes; None for its own.
        """
        cols, rows = weight.shape
        layout = Layout.of(rows, cols, hardware)
        scale, g_max = hardware.mapping.scale, hardware.device.g_max
        shared = largest or [None] * layout.tiles
        tiles = (
            Tile.map(weight[col, row], scale, g_max, top)
            for (row, col), top in zip(layout.blocks(), shared, strict=True)
        )
        return cls(layout, tuple(tiles))

    def to(self, device: torch.device) -> Grid:
        """The same targets on another torch device."""
        return replace(self, tiles=tuple(tile.to(device) for tile in self.tiles))

    def weight(self) -> Float[Tensor, "cols rows"]:
        """The meta-weights: exactly what the tiles were asked to hold, put together again."""
        joined = self.tiles[0].g_plus.new_empty(self.layout.cols, self.layout.rows)
        for (row, col), tile in zip(self.layout.blocks(), self.tiles, strict=True):
            joined[col, row] = tile.weight()
        return joined

    def w_scale(self) -> Float[Tensor, "row_segments cols"]:
        """Digital scale of every column, for each set of tiles that reads the same inputs."""
        scales = torch.cat([tile.w_scale for tile in self.tiles])
        return scales.view(len(self.layout.row_slices), self.layout.cols)

    def program(
        self, model: DeviceModel, *names: str | int, hardware: Hardware | None = None
    ) -> ProgrammedGrid:
        """One chip's instance of the layer; ``names`` say which chip and which layer.

        Args:
            hardware: whose pairs and faults the chip has; None for single pairs without faults.
        """
        device = self.tiles[0].g_plus.device
        pairs = None if hardware is None else hardware.pairs
        significance = pairs.significance if isinstance(pairs, DualPair) else None
        programmed = tuple(
            tile.program(
                model,
                stream(device, *names, index, "programming"),
                Defects.of(hardware, stream(device, *names, index, "defects")),
                significance=significance,
            )
            for index, tile in enumerate(self.tiles)
        )
        return ProgrammedGrid(self, programmed, names)


@dataclass(frozen=True)
class ProgrammedGrid:
    """One chip's instance of a layer; walk it through time with :meth:`drift`."""

    grid: Grid
    tiles: tuple[ProgrammedTile, ...]
    names: tuple[str | int, ...]

    def drift(self, t_inference_s: float, hardware: Hardware, *reading: str | int) -> list[Segment]:
        """The layer ``t_inference_s`` seconds after programming, one segment for each set of rows.

        Any order of times gives the same result, since each time starts from the programmed state.
        ``reading`` names another reading than the one an evaluation at that time makes.
        """
        read_per_mvm = hardware.read_noise_per == "mvm"
        device = self.tiles[0].pair.g_plus.device
        drifted = [
            tile.drift(
                t_inference_s,
                hardware.drift_compensation,
                stream(device, *self.names, index, "read", float(t_inference_s), *reading),
                read_per_mvm=read_per_mvm,
            )
            for index, tile in enumerate(self.tiles)
        ]
        across = len(self.grid.layout.col_slices)
        groups = [slice(start, start + across) for start in range(0, len(drifted), across)]
        return [_side_by_side(drifted[group], self.grid.tiles[group]) for group in groups]


def _side_by_side(drifted: list[DriftedTile], mapped: tuple[Tile, ...]) -> Segment:
    return Segment(
        weight=torch.cat([tile.weight for tile in drifted]),
        out_scale=torch.cat(
            [tile.compensation * target.w_scale for tile, target in zip(drifted, mapped, strict=True)]
        ),
        read_variance=_read_variance(drifted),
        reference=torch.cat([tile.reference for tile in drifted]),
        now=torch.cat([tile.now for tile in drifted]),
    )


def _read_variance(drifted: list[DriftedTile]) -> Tensor | None:
    """Of all tiles: some may have cells of others between theirs, and the rest none."""
    if all(tile.read_variance is None for tile in drifted):
        return None
    return torch.cat(
        [
            torch.zeros_like(tile.weight) if tile.read_variance is None else tile.read_variance
            for tile in drifted
        ]
    )
