"""What blocks on one tile share: its scale, its drift compensation, and the cells that hold nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.physics.compensation import compensation_factor
from aimc_deploy.physics.conductance import clip_weights
from aimc_deploy.tile.grid import Segment


def largest_weights(
    layers: Mapping[str, nn.Linear], plan: Mapping[str, Any], hardware: Hardware
) -> dict[str, list[float]]:
    """For each block of each layer, the largest absolute weight on its tile, which gives the tile's scale.

    Args:
        plan: the content of ``tile_map.json``.
    """
    tops: dict[int, float] = {}
    for entry in plan["analog"]:
        weight = clip_weights(layers[entry["layer"]].weight.detach(), hardware.mapping.clip)
        for block in entry["blocks"]:
            part = weight[slice(*block["cols"]), slice(*block["rows"])]
            tops[block["tile"]] = max(tops.get(block["tile"], 0.0), float(part.abs().max()))
    return {entry["layer"]: [tops[block["tile"]] for block in entry["blocks"]] for entry in plan["analog"]}


def set_places(layers: Mapping[str, AnalogLinear], plan: Mapping[str, Any]) -> None:
    """Tell each layer where its blocks sit, what room they have, and which rows others drive with theirs.

    Blocks take turns, and rows that have none are not driven; only those of a diagonal tile all work at
    the same time. A block that is alone on its tile, of which no lines are excepted, may be put on any of
    them.
    """
    count = Counter(block["tile"] for entry in plan["analog"] for block in entry["blocks"])
    driven: dict[int, set[tuple[int, int]]] = {}
    for entry in plan["analog"]:
        for block in entry["blocks"]:
            first, last = block["rows"]
            driven.setdefault(block["tile"], set()).add((block["at"][0], last - first))
    for entry in plan["analog"]:
        layer, blocks = layers[entry["layer"]], entry["blocks"]
        layer.places = tuple((block["tile"], *block["at"]) for block in blocks)
        size, lines = layer.hardware.tile, {fault.tile for fault in layer.hardware.placement.faults}
        tiles = []
        for block, tile in zip(blocks, layer.grid.tiles, strict=True):
            alone = count[block["tile"]] == 1 and block["tile"] not in lines
            room = (size.cols, size.rows) if alone else None
            idle = 0
            if plan["strategy"] == "diagonal":
                idle = sum(rows for at, rows in driven[block["tile"]] if at != block["at"][0])
            tiles.append(replace(tile, room=room, idle_rows=idle))
        layer.grid = replace(layer.grid, tiles=tuple(tiles))


@dataclass(frozen=True)
class _Block:
    """Where a block is in its layer and on its tile; columns of the tile from ``col`` on are its own."""

    layer: AnalogLinear
    segment: int
    cols: slice
    rows: int
    col: int


def share_compensation(layers: Iterable[AnalogLinear]) -> None:
    """Give the blocks of each shared tile the factors of the whole tile, after all layers have drifted.

    With ``global`` compensation there is one for the tile, with ``per_column`` one for each of its columns,
    whatever is stacked in it.
    """
    tiles: dict[int, list[_Block]] = {}
    for layer in layers:
        if layer.places is None or layer.hardware.drift_compensation == "none":
            continue
        layout = layer.grid.layout
        across = len(layout.col_slices)
        for index, ((tile, _, col), (rows, cols)) in enumerate(
            zip(layer.places, layout.blocks(), strict=True)
        ):
            block = _Block(layer, index // across, cols, rows.stop - rows.start, col)
            tiles.setdefault(tile, []).append(block)
    for blocks in tiles.values():
        if len(blocks) > 1:
            _share(blocks)


def _share(blocks: list[_Block]) -> None:
    segments = [_segment(block) for block in blocks]
    first = segments[0]
    assert first.now is not None
    width = max(block.col + block.cols.stop - block.cols.start for block in blocks)
    reference, now = first.now.new_zeros(width), first.now.new_zeros(width)
    for block, segment in zip(blocks, segments, strict=True):
        assert segment.reference is not None
        assert segment.now is not None
        own = slice(block.col, block.col + block.cols.stop - block.cols.start)
        # Read-outs are means over the rows of a block; those of a column add up as sums.
        reference[own] += block.rows * segment.reference[block.cols]
        now[own] += block.rows * segment.now[block.cols]
    factor = compensation_factor(reference, now, blocks[0].layer.hardware.drift_compensation)
    for block in blocks:
        segment = _segment(block)
        own = factor[block.col : block.col + block.cols.stop - block.cols.start]
        out_scale = segment.out_scale.clone()
        out_scale[block.cols] = own * block.layer.w_scale[block.segment][block.cols]
        assert block.layer._segments is not None
        block.layer._segments[block.segment] = replace(segment, out_scale=out_scale)


def _segment(block: _Block) -> Segment:
    assert block.layer._segments is not None
    return block.layer._segments[block.segment]
