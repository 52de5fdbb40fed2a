"""One read-out of a tile gives the factors of all blocks that are on it."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from aimc_deploy.config.chip import Placement, TileFault
from aimc_deploy.config.hardware import Hardware, Mapping, NoClip, PCMDevice, TileSize
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import drift, map_layer, program
from aimc_deploy.nn.shared_tiles import largest_weights, set_places
from aimc_deploy.tile.tile import Tile

Build = Callable[..., Hardware]

YEAR = 31_536_000.0
SIDE = 16


def chip(
    hardware: Build, compensation: str, places: list[tuple[tuple[int, int, int], ...] | None]
) -> nn.Module:
    """Layers of 8 inputs and 6 outputs, the second with larger weights, programmed and a year old."""
    described = hardware(
        device=PCMDevice(), tile=TileSize(rows=SIDE, cols=SIDE), drift_compensation=compensation
    )
    layers = []
    for number, place in enumerate(places):
        linear = nn.Linear(8, 6)
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(6, 8, generator=generator) ** (1 + 2 * number))
        layer = map_layer(linear, f"layer.{number}", described)
        layer.places = place
        layers.append(layer)
    model = nn.Sequential(*layers)
    program(model, 0, 0)
    drift(model, YEAR)
    return model


def factors(layer: AnalogLinear) -> torch.Tensor:
    assert layer._segments is not None
    return layer._segments[0].out_scale / layer.w_scale[0]


def sums(layer: AnalogLinear) -> tuple[torch.Tensor, torch.Tensor]:
    """Absolute weights of each column right after programming and now."""
    assert layer._programmed is not None
    assert layer._segments is not None
    return layer._programmed.tiles[0].weight().abs().sum(1), layer._segments[0].weight.abs().sum(1)


def test_a_tile_has_one_factor(hardware: Build) -> None:
    model = chip(hardware, "global", [((4, 0, 0),), ((4, 0, 6),), ((5, 0, 0),)])
    before, now = (
        sum(part.sum() for part in pair) for pair in zip(*(sums(layer) for layer in model[:2]), strict=True)
    )
    for layer in model[:2]:
        torch.testing.assert_close(factors(layer), torch.full((6,), float(before / now)))
    alone = chip(hardware, "global", [None, None, None])
    assert torch.equal(factors(model[2]), factors(alone[2])), "on a tile of its own"
    assert not torch.allclose(factors(model[0]), factors(alone[0]))


def test_a_column_has_one_factor_whatever_is_stacked_in_it(hardware: Build) -> None:
    model = chip(hardware, "per_column", [((0, 0, 0),), ((0, 8, 2),)])
    (before_a, now_a), (before_b, now_b) = (sums(layer) for layer in model)
    before, now = torch.zeros(8), torch.zeros(8)
    before[:6], now[:6] = before_a, now_a
    before[2:8] += before_b
    now[2:8] += now_b
    torch.testing.assert_close(factors(model[0]), (before / now)[:6])
    torch.testing.assert_close(factors(model[1]), (before / now)[2:8])


@pytest.mark.parametrize("compensation", ["none", "global", "per_column"])
def test_tiles_of_their_own_change_nothing(hardware: Build, compensation: str) -> None:
    one = chip(hardware, compensation, [((0, 0, 0),), ((1, 0, 0),)])
    other = chip(hardware, compensation, [None, None])
    for layer, same in zip(one, other, strict=True):
        assert torch.equal(factors(layer), factors(same))


def test_without_compensation_there_is_nothing_to_share(hardware: Build) -> None:
    model = chip(hardware, "none", [((0, 0, 0),), ((0, 0, 6),)])
    assert torch.equal(factors(model[0]), torch.ones(6))


def test_blocks_of_one_layer_share_too(hardware: Build) -> None:
    """A matrix of two row parts, stacked on one tile."""
    described = hardware(device=PCMDevice(), tile=TileSize(rows=8, cols=8))
    layer = map_layer(nn.Linear(16, 4), "cut", described)
    layer.places = ((0, 0, 0), (0, 0, 4))
    program(layer, 0, 0)
    drift(layer, YEAR)
    found = [segment.out_scale / scale for segment, scale in zip(layer._segments, layer.w_scale, strict=True)]
    torch.testing.assert_close(found[0], found[1])
    torch.testing.assert_close(found[0], found[0][:1].expand(4))


def tile_plan(strategy: str, scale: str, hardware: Build) -> tuple[dict[str, AnalogLinear], list[float]]:
    """Two layers on one tile, the second below and right of the first, with the scale of the tile."""
    described = hardware(
        tile=TileSize(rows=SIDE, cols=SIDE), mapping=Mapping(clip=NoClip(), scale=scale), device=PCMDevice()
    )
    linear = {name: nn.Linear(rows, 4) for name, rows in (("one", 8), ("two", 5))}
    entries = [
        {"layer": "one", "blocks": [{"tile": 3, "at": [0, 0], "rows": [0, 8], "cols": [0, 4]}]},
        {"layer": "two", "blocks": [{"tile": 3, "at": [8, 4], "rows": [0, 5], "cols": [0, 4]}]},
    ]
    plan = {"strategy": strategy, "analog": entries}
    largest = largest_weights(linear, plan, described)
    layers = {name: map_layer(layer, name, described, largest[name]) for name, layer in linear.items()}
    set_places(layers, plan)
    return layers, [float(layer.weight.detach().abs().max()) for layer in linear.values()]


def test_a_tile_has_one_scale(hardware: Build) -> None:
    layers, tops = tile_plan("layer", "tile", hardware)
    assert tops[0] != tops[1]
    for layer in layers.values():
        assert bool((layer.w_scale == max(tops)).all())
    largest = [max(float(tile.g_plus.max()), float(tile.g_minus.max())) for tile in _tiles(layers)]
    assert largest == pytest.approx([25.0 * top / max(tops) for top in tops])


def test_blocks_that_work_at_the_same_time_meet_the_cells_between_them(hardware: Build) -> None:
    layers, _ = tile_plan("diagonal", "tile", hardware)
    assert [tile.idle_rows for tile in _tiles(layers)] == [5, 8]
    turns, _ = tile_plan("layer", "tile", hardware)
    assert [tile.idle_rows for tile in _tiles(turns)] == [0, 0], "rows that have no turn are not driven"
    for name, together in layers.items():
        for layer in (together, turns[name]):
            layer.program(0, 0)
            layer.drift(YEAR)
        assert together._segments is not None
        assert turns[name]._segments is not None
        assert together._segments[0].read_variance is not None
        assert turns[name]._segments[0].read_variance is None


def test_the_cells_between_show_in_the_products(hardware: Build) -> None:
    """As much as was added to each: the weights alone are the same."""
    layers, _ = tile_plan("diagonal", "tile", hardware)
    turns, _ = tile_plan("layer", "tile", hardware)
    layer, alone = layers["one"], turns["one"]
    x = torch.ones(20_000, 8)
    outputs = []
    for part in (layer, alone):
        part.program(0, 0)
        part.drift(0.0)
        outputs.append(part(x).double())
    assert float(outputs[1].std(dim=0).max()) < 1e-6, "no other noise"
    variance = layer._segments[0].read_variance[:, 0].double() * 8  # type: ignore[index]
    expected = variance.sqrt() * layer._segments[0].out_scale  # type: ignore[index]
    found = outputs[0].std(dim=0)
    assert bool(((found - expected).abs() < 4 * expected / math.sqrt(2 * 20_000)).all())


def test_of_a_layer_on_two_tiles_only_one_may_be_shared(hardware: Build) -> None:
    described = hardware(tile=TileSize(rows=SIDE, cols=SIDE), device=PCMDevice())
    linear = {"wide": nn.Linear(8, 20), "small": nn.Linear(5, 4)}
    wide = [
        {"tile": 0, "at": [0, 0], "rows": [0, 8], "cols": [0, 10]},
        {"tile": 1, "at": [0, 0], "rows": [0, 8], "cols": [10, 20]},
    ]
    small = [{"tile": 1, "at": [8, 10], "rows": [0, 5], "cols": [0, 4]}]
    entries = [{"layer": "wide", "blocks": wide}, {"layer": "small", "blocks": small}]
    layers = {name: map_layer(layer, name, described) for name, layer in linear.items()}
    set_places(layers, {"strategy": "diagonal", "analog": entries})
    layer = layers["wide"]
    layer.program(0, 0)
    layer.drift(YEAR)
    assert layer._segments is not None
    variance = layer._segments[0].read_variance
    assert variance is not None
    assert variance.shape == (20, 8)
    assert float(variance[:10].max()) == 0.0 < float(variance[10:].min())
    assert layer(torch.ones(3, 8)).shape == (3, 20)


def _tiles(layers: dict[str, AnalogLinear]) -> list[Tile]:
    return [layer.grid.tiles[0] for layer in layers.values()]


def test_only_a_block_that_is_alone_may_be_put_on_any_lines_of_its_tile(hardware: Build) -> None:
    described = hardware(
        tile=TileSize(rows=SIDE, cols=SIDE + 2), placement=Placement(faults=(TileFault(tile=2, rows=(15,)),))
    )
    tiles = (0, 1, 1, 2)
    layers = {f"layer.{at}": map_layer(nn.Linear(8, 6), f"layer.{at}", described) for at in range(4)}
    plan = {
        "strategy": "layer",
        "analog": [
            {"layer": name, "blocks": [{"tile": tile, "at": (0, 0), "rows": (0, 8), "cols": (0, 6)}]}
            for name, tile in zip(layers, tiles, strict=True)
        ],
    }
    set_places(layers, plan)
    rooms = [layer.grid.tiles[0].room for layer in layers.values()]
    assert rooms == [(SIDE + 2, SIDE), None, None, None], (
        "others share tile 1, and a line of tile 2 is faulty"
    )
