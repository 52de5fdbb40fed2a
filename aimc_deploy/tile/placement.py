"""Which block of which matrix goes where on which tile.

A block is what one tile holds of one matrix. Two blocks on one tile share its drivers and converters:

- side by side, on the same rows, one product serves both, if they read the same inputs;
- otherwise they take turns, and the tile needs as many products for a token as there are turns;
- on disjoint rows and disjoint columns they can work at the same time.

Blocks of one stage, which a pipeline wants to compute at the same time, should therefore not share a tile
unless they read the same inputs. Every strategy is deterministic: ties are broken by area, shape and name.
"""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from aimc_deploy.errors import HardwareError
from aimc_deploy.tile.blocks import Block, Placed, Shelf, Strategy, TilePlan, Unusable
from aimc_deploy.tile.rectangles import Rectangle, Room

ORDERS = 8  # orders of blocks of one shape that are tried for a group


def place(
    blocks: Iterable[Block],
    strategy: Strategy,
    rows: int,
    cols: int,
    *,
    tiles: int | None = None,
    faults: Mapping[int, Unusable] | None = None,
) -> TilePlan:
    """Place every block.

    Args:
        rows, cols: size of a tile in unit cells.
        tiles: number of tiles that there are; None for as many as it takes.
        faults: by tile number; faulty lines and tiles are not used.

    Raises:
        HardwareError: there are too few tiles, or a block fits on no tile without faults.
    """
    blocks = list(blocks)
    for block in blocks:
        if block.rows > rows or block.cols > cols:
            raise HardwareError(
                f"block {block.index} of layer '{block.layer}' has {block.rows} x {block.cols} cells, more "
                f"than a tile of {rows} x {cols}: cut it first"
            )
    chip = _Chip(rows, cols, dict(faults or {}))
    _STRATEGIES[strategy](blocks, chip)
    _check_room(chip.placed, tiles, rows * cols)
    order = {id(block): number for number, block in enumerate(blocks)}
    placed = sorted(chip.placed, key=lambda part: order[id(part.block)])
    return TilePlan(strategy, rows, cols, tuple(placed))


def _check_room(placed: Sequence[Placed], tiles: int | None, cells: int) -> None:
    needed = 1 + max((part.tile for part in placed), default=-1)
    if tiles is None or needed <= tiles:
        return
    areas: dict[str, int] = {}
    for part in placed:
        areas[part.block.layer] = areas.get(part.block.layer, 0) + part.block.area
    missing, moved, freed = needed - tiles, [], 0
    for layer, area in sorted(areas.items(), key=lambda pair: (-pair[1], pair[0])):
        if freed >= missing * cells:
            break
        moved.append(layer)
        freed += area
    shown = ", ".join(moved[:6]) + (f" and {len(moved) - 6} more" if len(moved) > 6 else "")
    raise HardwareError(
        f"{needed} tiles are needed and there are {tiles}, {missing} too few: raise "
        "hardware.placement.tiles, choose a denser hardware.placement.strategy, or list layers under "
        f"mapping.digital, the largest first: {shown}"
    )


@dataclass(eq=False)
class _Tile:
    """A tile while it is being filled."""

    number: int
    room: Room
    blocks: list[Block] = field(default_factory=list)


class _Chip:
    """The tiles that are open, and what is placed so far."""

    def __init__(self, rows: int, cols: int, faults: dict[int, Unusable]) -> None:
        self.rows, self.cols, self.faults = rows, cols, faults
        self.next = 0
        self.placed: list[Placed] = []
        self.skipped: list[_Tile] = []  # opened for a block that their faults left no room for

    def open(self) -> _Tile:
        """The next tile that is not faulty as a whole, without its faulty lines."""
        while self.faults.get(self.next, Unusable()).whole:
            self.next += 1
        number, self.next = self.next, self.next + 1
        room, faulty = Room(self.rows, self.cols), self.faults.get(number, Unusable())
        for row in faulty.rows:
            room.occupy(Rectangle(row, 0, 1, self.cols))
        for col in faulty.cols:
            room.occupy(Rectangle(0, col, self.rows, 1))
        return _Tile(number, room)

    def put(self, tile: _Tile, shelf: Shelf, at: Rectangle) -> None:
        """Blocks that read the same inputs, side by side from ``at`` on."""
        tile.room.occupy(at)
        col = at.col
        for block in shelf:
            self.placed.append(Placed(block, tile.number, at.row, col))
            tile.blocks.append(block)
            col += block.cols

    def put_on_new(self, shelf: Shelf) -> _Tile:
        """On a tile of its own: the first that has room, whatever its faults."""
        size = _extent(shelf)
        for tile in self.skipped:
            at = tile.room.find(*size)
            if at is not None:
                self.skipped.remove(tile)
                self.put(tile, shelf, at)
                return tile
        while True:  # tiles beyond the last faulty one have room for every block
            tile = self.open()
            at = tile.room.find(*size)
            if at is not None:
                self.put(tile, shelf, at)
                return tile
            self.skipped.append(tile)


def _shelves(blocks: Iterable[Block], cols: int) -> Sequence[Shelf]:
    """Blocks with the same inputs side by side, as wide as a tile allows; matrices are not cut for it."""
    open_shelves: dict[str, list[list[Block]]] = {}
    for block in blocks:
        own = open_shelves.setdefault(block.reads, [])
        fitting = (shelf for shelf in own if sum(part.cols for part in shelf) + block.cols <= cols)
        shelf = next(fitting, None)
        if shelf is None:
            own.append([block])
        else:
            shelf.append(block)
    return [shelf for own in open_shelves.values() for shelf in own]


def _naive(blocks: list[Block], chip: _Chip) -> None:
    """One block on each tile."""
    for block in blocks:
        chip.put_on_new([block])


def _fused(blocks: list[Block], chip: _Chip) -> None:
    """One product on each tile: only blocks that read the same inputs share it."""
    for shelf in _shelves(blocks, chip.cols):
        chip.put_on_new(shelf)


def _dense(blocks: list[Block], chip: _Chip) -> None:
    """As few tiles as possible, whatever has to take turns: the best of four orders."""
    shelves = [[block] for block in blocks]
    keys: tuple[Callable[[Shelf], tuple], ...] = (
        _size,
        lambda shelf: (-max(_extent(shelf)), *_size(shelf)),
        lambda shelf: (-shelf[0].rows, *_size(shelf)),
        lambda shelf: (-shelf[0].cols, *_size(shelf)),
    )
    trials = []
    for key in keys:
        trial = _Chip(chip.rows, chip.cols, chip.faults)
        _pack(sorted(shelves, key=key), trial, lambda tile, shelf: True)
        trials.append(trial)
    chip.placed = min(trials, key=lambda trial: len({part.tile for part in trial.placed})).placed


def _diagonal(blocks: list[Block], chip: _Chip) -> None:
    """Blocks on rows and columns of their own, so that all of a tile work at the same time."""
    shelves = sorted(_shelves(blocks, chip.cols), key=_size)
    sizes = [_extent(shelf) for shelf in shelves]
    ends: list[tuple[_Tile, int, int]] = []  # of the last block of each open tile
    for shelf, (rows, cols), least in zip(shelves, sizes, [*_smallest(sizes)][1:], strict=True):
        for index, (tile, row, col) in enumerate(ends):
            at = Rectangle(row, col, rows, cols)
            if row + rows <= chip.rows and col + cols <= chip.cols and tile.room.is_free(at):
                del ends[index]
                chip.put(tile, shelf, at)
                break
        else:
            tile = chip.put_on_new(shelf)
        last = chip.placed[-len(shelf)]
        row, col = last.row + rows, last.col + cols
        if row + least[0] <= chip.rows and col + least[1] <= chip.cols:
            ends.append((tile, row, col))


def _layer(blocks: list[Block], chip: _Chip) -> None:
    """As few tiles as possible for each group, and no two blocks of a stage take turns.

    Groups that look alike, as encoder layers do, are laid out alike.
    """
    groups: dict[str, list[Block]] = {}
    for block in blocks:
        groups.setdefault(block.group, []).append(block)
    layouts: dict[tuple, list[list[int]]] = {}
    for group in groups.values():
        alike = _likeness(group)
        if alike not in layouts:
            layouts[alike] = _best_order(group, chip)
        shelves = [[group[place] for place in shelf] for shelf in layouts[alike]]
        _pack(shelves, chip, _no_conflict)


_STRATEGIES: Mapping[Strategy, Callable[[list[Block], _Chip], None]] = {
    "naive": _naive,
    "fused": _fused,
    "dense": _dense,
    "layer": _layer,
    "diagonal": _diagonal,
}


def _likeness(group: list[Block]) -> tuple:
    """What a layout depends on: sizes, which blocks read the same, which are of one stage."""
    reads = {name: place for place, name in enumerate(dict.fromkeys(block.reads for block in group))}
    stages = {stage: place for place, stage in enumerate(sorted({block.stage for block in group}))}
    return tuple((block.rows, block.cols, reads[block.reads], stages[block.stage]) for block in group)


def _best_order(group: list[Block], chip: _Chip) -> list[list[int]]:
    """The order of a group's shelves that needs the fewest tiles, and of these the fewest turns.

    Blocks that read the same are tried together and one by one; what is of one shape in many orders.
    """
    place_of = {id(block): place for place, block in enumerate(group)}
    best: list[list[int]] = []
    found = (len(group) + 1, 0)
    for attempt in range(ORDERS):
        draw = random.Random(attempt)
        for shelves in (_shelves(group, chip.cols), [[block] for block in group]):
            ranked = [(_size(shelf)[:2], draw.random() if attempt else 0.0, shelf) for shelf in shelves]
            ordered = [shelf for *_, shelf in sorted(ranked, key=lambda entry: entry[:2])]
            trial = _Chip(chip.rows, chip.cols, {})
            _pack(ordered, trial, _no_conflict)
            result = TilePlan("layer", chip.rows, chip.cols, tuple(trial.placed))
            if (result.used, result.interval) < found:
                best = [[place_of[id(block)] for block in shelf] for shelf in ordered]
                found = (result.used, result.interval)
    return best


def _no_conflict(tile: _Tile, shelf: Shelf) -> bool:
    """Whether no block of the same stage with other inputs is on the tile."""
    return all(
        block.reads == other.reads or block.stage != other.stage for block in shelf for other in tile.blocks
    )


def _extent(shelf: Shelf) -> tuple[int, int]:
    return max(block.rows for block in shelf), sum(block.cols for block in shelf)


def _size(shelf: Shelf) -> tuple[int, int, str, int]:
    """The order of packing: the largest first, equal shapes together."""
    rows, cols = _extent(shelf)
    return -rows * cols, -rows, shelf[0].layer, shelf[0].index


def _pack(shelves: Sequence[Shelf], chip: _Chip, allowed: Callable[[_Tile, Shelf], bool]) -> None:
    """One shelf after the other where it fits most closely on an open tile, else on a new one."""
    sizes = [_extent(shelf) for shelf in shelves]
    smallest = list(_smallest(sizes))
    tiles: list[_Tile] = []
    for number, (shelf, (rows, cols)) in enumerate(zip(shelves, sizes, strict=True)):
        best: tuple[int, _Tile, Rectangle] | None = None
        for tile in tiles:
            at = tile.room.find(rows, cols) if allowed(tile, shelf) else None
            if at is None:
                continue
            left = tile.room.left_over(at)
            if best is None or left < best[0]:
                best = (left, tile, at)
            if left == 0:
                break
        if best is None:
            used = chip.put_on_new(shelf)
            tiles.append(used)
        else:
            used = best[1]
            chip.put(used, shelf, best[2])
        # What nothing that is left fits on need not be looked at again.
        least = smallest[number + 1]
        if least != smallest[number]:
            tiles = [tile for tile in tiles if tile.room.find(*least)]
        elif not used.room.find(*least):
            tiles.remove(used)


def _smallest(sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """For each place, the fewest rows and the fewest columns from there on; after the last, more than any."""
    rows = list(itertools.accumulate(reversed([rows for rows, _ in sizes]), min))[::-1]
    cols = list(itertools.accumulate(reversed([cols for _, cols in sizes]), min))[::-1]
    yield from zip(rows, cols, strict=True)
    yield sys.maxsize, sys.maxsize
