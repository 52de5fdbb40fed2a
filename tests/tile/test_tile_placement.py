"""TilePlan: every block once, inside its tile and over no other; and as few tiles as the strategy allows."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence

import pytest

from aimc_deploy.config.chip import Strategy
from aimc_deploy.errors import HardwareError
from aimc_deploy.tile.blocks import Block, Placed, TilePlan, Unusable
from aimc_deploy.tile.grid import cut
from aimc_deploy.tile.placement import place

STRATEGIES: tuple[Strategy, ...] = ("naive", "fused", "dense", "layer", "diagonal")


def cut_up(layer: str, rows: int, cols: int, reads: str, stage: int, group: str, tile: int) -> list[Block]:
    parts = itertools.product(cut(rows, tile), cut(cols, tile))
    return [
        Block(layer, index, r.stop - r.start, c.stop - c.start, f"{reads}[{r.start}]", stage, group)
        for index, (r, c) in enumerate(parts)
    ]


def mobilebert(tile: int) -> list[Block]:
    """The 361 matrices of MobileBERT as its graph has them."""
    blocks = cut_up("embeddings", 384, 512, "trigram", 0, "embeddings", tile)
    stage = 1
    for number in range(24):
        own = f"{number:02}."
        matrices = [
            *(
                (name, 512, 128, "hidden", 0)
                for name in ("bottleneck.attention", "bottleneck.input", "value")
            ),
            *((name, 128, 128, "shared", 1) for name in ("query", "key")),
            ("attention.output", 128, 128, "context", 2),
        ]
        for step in range(4):
            matrices += [(f"ffn{step}.in", 128, 512, f"narrow{step}", 3 + 2 * step)]
            matrices += [(f"ffn{step}.out", 512, 128, f"wide{step}", 4 + 2 * step)]
        matrices.append(("output.bottleneck", 128, 512, "last", 11))
        for name, rows, cols, reads, after in matrices:
            blocks += cut_up(own + name, rows, cols, own + reads, stage + after, own, tile)
        stage += 12
    return blocks


@pytest.mark.parametrize(
    ("tile", "strategy", "tiles", "interval"),
    [
        (256, "naive", 652, 1),
        (512, "naive", 361, 1),
        (256, "fused", 580, 1),
        (512, "fused", 289, 1),
        (256, "dense", 310, None),
        (512, "dense", 78, None),
        (256, "layer", 316, 2),
        (512, "layer", 97, 4),
        (512, "diagonal", 259, 1),
    ],
)
def test_mobilebert_needs_no_more_tiles_than_is_known_to_be_enough(
    tile: int, strategy: Strategy, tiles: int, interval: int | None
) -> None:
    blocks = mobilebert(tile)
    assert sum(block.area for block in blocks) == 20_250_624
    found = place(blocks, strategy, tile, tile)
    check(found, blocks)
    assert found.used <= tiles
    assert interval is None or found.interval <= interval
    assert found.bound == -(-20_250_624 // tile**2)


def layers_of(shapes: Sequence[tuple[int, int, str, int]], count: int, tile: int) -> list[Block]:
    """``count`` layers alike, of matrices (inputs, outputs, what they read, how far into the layer)."""
    blocks = []
    for number in range(count):
        own = f"{number:02}."
        for index, (rows, cols, reads, after) in enumerate(shapes):
            blocks += cut_up(f"{own}{index}", rows, cols, own + reads, 4 * number + after, own, tile)
    return blocks


BERT_LARGE = [(1024, 1024, "hidden", 0)] * 3 + [(1024, 1024, "context", 1)]
BERT_LARGE += [(1024, 4096, "narrow", 2), (4096, 1024, "wide", 3)]
DECODER_7B = [(4096, 4096, "hidden", 0)] * 3 + [(4096, 4096, "context", 1)]
DECODER_7B += [(4096, 11008, "narrow", 2)] * 2 + [(11008, 4096, "wide", 3)]


@pytest.mark.parametrize(
    ("blocks", "limit_s"),
    [
        (mobilebert(256), 1.0),
        (layers_of(BERT_LARGE, 24, 256), 5.0),
        (layers_of(DECODER_7B, 32, 512), 60.0),
    ],
    ids=["MobileBERT", "BERT-large", "a decoder of 7 billion weights"],
)
def test_large_models_are_placed_quickly(blocks: list[Block], limit_s: float) -> None:
    for strategy in STRATEGIES:
        start = time.process_time()
        found = place(blocks, strategy, 512 if limit_s == 60 else 256, 512 if limit_s == 60 else 256)
        assert time.process_time() - start < limit_s, strategy
        assert found.used <= len(blocks)


def check(found: TilePlan, blocks: Sequence[Block], faults: dict[int, Unusable] | None = None) -> None:
    """All that must hold of any placement."""
    assert [placed.block for placed in found.blocks] == list(blocks), "each block once, in order"
    tiles: dict[int, list[Placed]] = {}
    for placed in found.blocks:
        assert 0 <= placed.row <= found.rows - placed.block.rows
        assert 0 <= placed.col <= found.cols - placed.block.cols
        tiles.setdefault(placed.tile, []).append(placed)
    for number, own in tiles.items():
        for one, other in itertools.combinations(own, 2):
            assert not overlap(one, other)
            same_inputs = one.block.reads == other.block.reads
            if found.strategy == "naive":
                raise AssertionError("two blocks on one tile")
            if found.strategy == "fused":
                assert same_inputs
                assert one.row == other.row
            if found.strategy == "layer":
                assert one.block.group == other.block.group
                assert same_inputs or one.block.stage != other.block.stage
            if found.strategy == "diagonal" and not same_inputs:
                assert apart(one.row, one.block.rows, other.row, other.block.rows)
                assert apart(one.col, one.block.cols, other.col, other.block.cols)
        broken = (faults or {}).get(number, Unusable())
        assert not broken.whole
        for placed in own:
            assert not set(broken.rows) & set(range(placed.row, placed.row + placed.block.rows))
            assert not set(broken.cols) & set(range(placed.col, placed.col + placed.block.cols))
    assert found.used >= found.bound
    assert found.used == len(tiles)


def apart(start: int, length: int, other: int, other_length: int) -> bool:
    return start + length <= other or other + other_length <= start


def overlap(one: Placed, other: Placed) -> bool:
    return not (
        apart(one.row, one.block.rows, other.row, other.block.rows)
        or apart(one.col, one.block.cols, other.col, other.block.cols)
    )


def some_model(seed: int) -> tuple[list[Block], int, int]:
    """Random matrices, some of which read the same, cut for a tile of random size."""
    draw = random.Random(seed)
    rows, cols = draw.choice([(8, 8), (16, 8), (12, 20), (32, 32)])
    blocks = []
    for number in range(draw.randint(1, 9)):
        parts = itertools.product(cut(draw.randint(1, 40), rows), cut(draw.randint(1, 40), cols))
        reads, stage, group = draw.randint(0, 3), draw.randint(0, 3), draw.randint(0, 1)
        blocks += [
            Block(
                f"m{number}",
                i,
                r.stop - r.start,
                c.stop - c.start,
                f"{stage}.{reads}[{r.start}:{r.stop}]",
                stage,
                f"{group}",
            )
            for i, (r, c) in enumerate(parts)
        ]
    return blocks, rows, cols


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_ten_thousand_random_models_are_placed_rightly(strategy: Strategy) -> None:
    """2,000 of each strategy."""
    for seed in range(2000):
        blocks, rows, cols = some_model(seed)
        found = place(blocks, strategy, rows, cols)
        check(found, blocks)
        if seed % 50 == 0:
            assert place(blocks, strategy, rows, cols) == found, "the same every time"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_faulty_lines_and_tiles_are_left_out(strategy: Strategy) -> None:
    for seed in range(300):
        blocks, rows, cols = some_model(seed)
        draw = random.Random(seed)
        faults = {
            tile: draw.choice(
                [
                    Unusable(whole=True),
                    Unusable(rows=(draw.randrange(rows),)),
                    Unusable(rows=(0, rows - 1), cols=(draw.randrange(cols),)),
                ]
            )
            for tile in draw.sample(range(8), 4)
        }
        check(place(blocks, strategy, rows, cols, faults=faults), blocks, faults)


def test_dense_is_optimal_for_few_rectangles() -> None:
    """Against the best of all orders and corners, for up to six blocks on tiles of 6 x 6."""
    worse = 0
    for seed in range(300):
        draw = random.Random(seed)
        sizes = [(draw.randint(1, 6), draw.randint(1, 6)) for _ in range(draw.randint(1, 6))]
        blocks = [Block(f"m{n}", 0, rows, cols, f"{n}", n, "") for n, (rows, cols) in enumerate(sizes)]
        worse += place(blocks, "dense", 6, 6).used - fewest_tiles(sizes, 6)
    assert 0 <= worse <= 1, "a heuristic: docs/cost.md says how often it is one tile too many"


def fewest_tiles(sizes: Sequence[tuple[int, int]], side: int) -> int:
    """By trying every partition of the rectangles into tiles."""
    fits: dict[tuple[int, ...], bool] = {}

    def together(members: tuple[int, ...]) -> bool:
        if members not in fits:
            fits[members] = fit([sizes[member] for member in members], side)
        return fits[members]

    best = len(sizes)

    def assign(number: int, tiles: list[tuple[int, ...]]) -> None:
        nonlocal best
        if len(tiles) >= best:
            return
        if number == len(sizes):
            best = len(tiles)
            return
        for index, members in enumerate(tiles):
            if together((*members, number)):
                assign(number + 1, [*tiles[:index], (*members, number), *tiles[index + 1 :]])
        assign(number + 1, [*tiles, (number,)])

    assign(0, [])
    return best


def fit(sizes: Sequence[tuple[int, int]], side: int) -> bool:
    """Whether rectangles fit on one tile: the first free cell is the corner of one, or stays empty."""
    if sum(rows * cols for rows, cols in sizes) > side * side:
        return False

    def fill(taken: int, left: tuple[tuple[int, int], ...], waste: int) -> bool:
        if not left:
            return True
        cell = next(n for n in range(side * side + 1) if not taken >> n & 1)
        if cell == side * side:
            return False
        row, col = divmod(cell, side)
        for size in dict.fromkeys(left):
            rows, cols = size
            if row + rows > side or col + cols > side:
                continue
            mask = sum(((1 << cols) - 1) << ((row + r) * side + col) for r in range(rows))
            rest = list(left)
            rest.remove(size)
            if not taken & mask and fill(taken | mask, tuple(rest), waste):
                return True
        return waste > 0 and fill(taken | 1 << cell, left, waste - 1)

    spare = side * side - sum(rows * cols for rows, cols in sizes)
    return fill(0, tuple(sorted(sizes, reverse=True)), spare)


def test_too_few_tiles_are_told_with_the_layers_to_move() -> None:
    blocks = mobilebert(512)
    place(blocks, "layer", 512, 512, tiles=97)
    with pytest.raises(
        HardwareError, match=r"97 tiles are needed and there are 95, 2 too few: raise"
    ) as caught:
        place(blocks, "layer", 512, 512, tiles=95)
    assert "the largest first: embeddings, 00." in str(caught.value)
    with pytest.raises(HardwareError, match="98 tiles are needed and there are 97"):
        place(blocks, "layer", 512, 512, tiles=97, faults={0: Unusable(whole=True)})


def test_a_block_larger_than_a_tile_is_refused() -> None:
    with pytest.raises(
        HardwareError, match="block 0 of layer 'm' has 9 x 2 cells, more than a tile of 8 x 8"
    ):
        place([Block("m", 0, 9, 2, "x", 0, "")], "dense", 8, 8)
