"""Cutting a matrix into tiles, and putting the tiles together again."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aimc_deploy.config.hardware import Faults, Hardware, Mapping, NoClip, PCMDevice, TileSize
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.random import stream
from aimc_deploy.tile.grid import Grid, Layout, cut

EPS = torch.finfo(torch.float32).eps
FEW = settings(max_examples=100)
Build = Callable[..., Hardware]


def tiles_of(rows: int, cols: int, scale: str = "column") -> Hardware:
    return Hardware(tile=TileSize(rows=rows, cols=cols), mapping=Mapping(clip=NoClip(), scale=scale))


@pytest.mark.parametrize(
    ("length", "largest", "sizes"),
    [(512, 512, [512]), (513, 512, [257, 256]), (10, 4, [4, 3, 3]), (7, 1, [1] * 7), (3, 100, [3])],
)
def test_the_remainder_is_spread_over_the_first_parts(length: int, largest: int, sizes: list[int]) -> None:
    assert [part.stop - part.start for part in cut(length, largest)] == sizes


@given(st.integers(1, 5000), st.integers(1, 600))
@FEW
def test_parts_are_as_few_and_as_equal_as_they_can_be(length: int, largest: int) -> None:
    parts = cut(length, largest)
    sizes = [part.stop - part.start for part in parts]
    assert [index for part in parts for index in range(part.start, part.stop)] == list(range(length))
    assert len(parts) == (length + largest - 1) // largest
    assert max(sizes) <= largest
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_the_other_split_fills_tiles_first() -> None:
    assert [(part.start, part.stop) for part in cut(600, 256, "max")] == [(0, 256), (256, 512), (512, 600)]
    assert cut(512, 256, "max") == cut(512, 256)
    assert cut(7, 256, "max") == [slice(0, 7)]


def test_a_layout_worked_out_by_hand() -> None:
    layout = Layout.of(5, 4, tiles_of(rows=3, cols=2))
    assert layout.row_slices == (slice(0, 3), slice(3, 5))
    assert layout.col_slices == (slice(0, 2), slice(2, 4))
    assert layout.tiles == 4
    assert list(layout.blocks()) == [
        (slice(0, 3), slice(0, 2)),
        (slice(0, 3), slice(2, 4)),
        (slice(3, 5), slice(0, 2)),
        (slice(3, 5), slice(2, 4)),
    ]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 25), st.integers(1, 25))
@FEW
def test_every_cell_is_on_exactly_one_tile(rows: int, cols: int, tile_rows: int, tile_cols: int) -> None:
    layout = Layout.of(rows, cols, tiles_of(tile_rows, tile_cols))
    covered = torch.zeros(cols, rows)
    for row, col in layout.blocks():
        assert row.stop - row.start <= tile_rows
        assert col.stop - col.start <= tile_cols
        covered[col, row] += 1
    assert bool((covered == 1).all())
    assert len(list(layout.blocks())) == layout.tiles


shapes = st.tuples(st.integers(1, 30), st.integers(1, 30), st.integers(1, 12), st.integers(1, 12))


@given(shapes, st.sampled_from(["column", "tile"]), st.sampled_from([-3, 0, 4]), st.integers(0, 2**31))
@FEW
def test_the_matrix_is_put_together_again_bit_for_bit(
    shape: tuple[int, int, int, int], scale: str, exponent: int, seed: int
) -> None:
    """Weights that all arithmetic of the mapping leaves exact: any difference would be a misplaced cell."""
    rows, cols, tile_rows, tile_cols = shape
    hardware = tiles_of(tile_rows, tile_cols, scale)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randint(-127, 128, (cols, rows), generator=generator).float()
    for row, _ in Layout.of(rows, cols, hardware).blocks():
        weight[:, row.start] = 128.0  # every scale is this power of two
    weight = weight * 2.0**exponent
    grid = Grid.map(weight, hardware)
    assert torch.equal(grid.weight(), weight)
    assert torch.equal(grid.w_scale(), torch.full_like(grid.w_scale(), 128 * 2.0**exponent))


@given(shapes, st.sampled_from(["column", "tile"]), st.integers(0, 2**31))
@FEW
def test_any_matrix_comes_back_within_rounding(
    shape: tuple[int, int, int, int], scale: str, seed: int
) -> None:
    rows, cols, tile_rows, tile_cols = shape
    weight = torch.randn(cols, rows, generator=torch.Generator().manual_seed(seed))
    grid = Grid.map(weight, tiles_of(tile_rows, tile_cols, scale))
    # Divided by the scale, times g_max, divided by g_max, times the scale: half an epsilon each.
    assert bool(((grid.weight() - weight).abs() <= 2 * EPS * weight.abs()).all())
    again = Grid(grid.layout, grid.tiles)
    assert torch.equal(again.weight(), grid.weight()), "the same tiles give the same weights"


def test_scales_are_those_of_each_tile(weight: Tensor) -> None:
    grid = Grid.map(weight, tiles_of(rows=25, cols=9))
    assert [len(slices) for slices in (grid.layout.row_slices, grid.layout.col_slices)] == [2, 3]
    scale = grid.w_scale()
    assert scale.shape == (2, 24)
    for index, rows in enumerate(grid.layout.row_slices):
        assert torch.equal(scale[index], weight[:, rows].abs().amax(dim=1))
    per_tile = Grid.map(weight, tiles_of(rows=25, cols=9, scale="tile")).w_scale()
    for index, rows in enumerate(grid.layout.row_slices):
        for cols in grid.layout.col_slices:
            assert torch.equal(per_tile[index, cols], weight[cols, rows].abs().max().expand(8))


def test_an_ideal_chip_gives_the_matrix_segment_by_segment(weight: Tensor, hardware: Build) -> None:
    ideal = hardware(tile=TileSize(rows=15, cols=9))
    segments = Grid.map(weight, ideal).program(device_model(ideal.device), 0).drift(3600.0, ideal)
    assert len(segments) == 3
    joined = torch.cat([segment.weight * segment.out_scale.unsqueeze(1) for segment in segments], dim=1)
    assert torch.allclose(joined, weight, rtol=1e-6, atol=0)
    assert all(segment.read_variance is None for segment in segments)


def test_every_tile_has_a_stream_of_its_own(hardware: Build) -> None:
    noisy = hardware(tile=TileSize(rows=10, cols=10), device=PCMDevice())
    model = device_model(noisy.device)
    programmed = Grid.map(torch.ones(20, 20), noisy).program(model, 0, "chip", 7, "layer")
    states = [tile.pair.g_plus for tile in programmed.tiles]
    for index, state in enumerate(states):
        assert all(not (state == other).any() for other in states[:index]), "equal blocks, other devices"
    alone = programmed.grid.tiles[2].program(model, stream("cpu", 0, "chip", 7, "layer", 2, "programming"))
    assert torch.equal(alone.pair.g_plus, states[2]), "a tile does not depend on those programmed before it"


def test_segments_are_the_tiles_side_by_side(weight: Tensor, hardware: Build) -> None:
    noisy = hardware(tile=TileSize(rows=20, cols=8), device=PCMDevice(), read_noise_per="mvm")
    programmed = Grid.map(weight, noisy).program(device_model(noisy.device), 3)
    segments = programmed.drift(86_400.0, noisy)
    assert [segment.weight.shape for segment in segments] == [(24, 20), (24, 20)]
    for index, tile in enumerate(programmed.tiles):
        segment, cols = segments[index // 3], slice(8 * (index % 3), 8 * (index % 3) + 8)
        own = tile.drift(86_400.0, "global", stream("cpu"), read_per_mvm=True)
        assert torch.equal(segment.weight[cols], own.weight)
        assert torch.equal(segment.out_scale[cols], own.compensation * programmed.grid.tiles[index].w_scale)
        assert segment.read_variance is not None
        assert own.read_variance is not None
        assert torch.equal(segment.read_variance[cols], own.read_variance)


def test_read_noise_is_drawn_anew_for_each_time_and_repeats_with_it(weight: Tensor, hardware: Build) -> None:
    # Without drift only the read noise changes from time to time.
    noisy = hardware(device=PCMDevice(drift_scale=0.0), drift_compensation="none")
    programmed = Grid.map(weight, noisy).program(device_model(noisy.device), 3)
    first, second, again = (programmed.drift(t_s, noisy)[0].weight for t_s in (60.0, 61.0, 60.0))
    assert torch.equal(first, again)
    held = programmed.tiles[0].weight()
    strong = held.abs() > 0.1  # none of these is read as zero
    errors = torch.stack([(first / held)[strong] - 1, (second / held)[strong] - 1]).double()
    assert float(errors.std(dim=1).min()) > 0.03
    assert abs(float(torch.corrcoef(errors)[0, 1])) < 4 / int(strong.sum()) ** 0.5


def test_targets_move_to_another_torch_device(weight: Tensor) -> None:
    moved = Grid.map(weight, tiles_of(rows=20, cols=8)).to(torch.device("meta"))
    for tile in moved.tiles:
        assert {tensor.device.type for tensor in (tile.g_plus, tile.g_minus, tile.w_scale)} == {"meta"}
    assert moved.layout == Layout.of(40, 24, tiles_of(rows=20, cols=8))


def test_a_chip_with_faults_is_the_same_chip_elsewhere(weight: Tensor, hardware: Build) -> None:
    """Stuck devices and gains come from streams of their own: everything else is as without them."""
    plain = hardware(device=PCMDevice())
    faulty = plain.model_copy(
        update={
            "faults": Faults(stuck_at_g_max=0.05),
            "adc": plain.adc.model_copy(update={"gain_spread": 0.1}),
        }
    )
    grid, model = Grid.map(weight, plain), device_model(plain.device)
    good = grid.program(model, 0, "chip", 1, "layer", hardware=plain)
    bad = grid.program(model, 0, "chip", 1, "layer", hardware=faulty)
    again = grid.program(model, 0, "chip", 1, "layer", hardware=faulty)
    for one, other, same in zip(good.tiles, bad.tiles, again.tiles, strict=True):
        assert one.gains is None
        assert other.gains is not None
        assert torch.equal(other.pair.g_plus, same.pair.g_plus)
        assert torch.equal(other.gains, same.gains)
        stuck = other.pair.ageing_plus == 0
        assert torch.equal(one.pair.g_plus[~stuck], other.pair.g_plus[~stuck])
        assert bool((other.pair.g_plus[stuck] == model.g_max).all())
    other_chip = grid.program(model, 0, "chip", 2, "layer", hardware=faulty)
    assert not torch.equal(bad.tiles[0].pair.g_plus, other_chip.tiles[0].pair.g_plus)
    assert not torch.equal(bad.tiles[0].gains, other_chip.tiles[0].gains)


def test_gains_scale_columns_and_are_not_compensated(weight: Tensor, hardware: Build) -> None:
    plain = hardware(device=PCMDevice())
    spread = plain.model_copy(update={"adc": plain.adc.model_copy(update={"gain_spread": 0.1})})
    grid, model = Grid.map(weight, plain), device_model(plain.device)
    one = grid.program(model, 0, "layer", hardware=plain).drift(3600.0, plain)
    programmed = grid.program(model, 0, "layer", hardware=spread)
    other = programmed.drift(3600.0, spread)
    gains = torch.cat([tile.gains for tile in programmed.tiles if tile.gains is not None])
    across = one[0].weight.shape[0]
    assert torch.equal(one[0].out_scale, other[0].out_scale)
    torch.testing.assert_close(other[0].weight, one[0].weight * gains[:across].unsqueeze(1))
