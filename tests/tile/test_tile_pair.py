"""Two pairs for each weight, and the cells that hold none."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aimc_deploy.config.hardware import DualPair, Hardware, PCMDevice, StateIndependentDevice
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.random import stream
from aimc_deploy.tile.grid import Grid
from aimc_deploy.tile.tile import Tile

SIDE = 300
CELLS = SIDE * SIDE


def spread(significance: float | None, noise: float) -> Tensor:
    """Errors of normalised weights of 0.5, written to a device that misses by ``noise`` of g_max."""
    model = device_model(StateIndependentDevice(g_max=25.0, programming_noise=noise))
    tile = Tile.map(torch.full((SIDE, SIDE), 0.5), "tile", 25.0)
    tile = Tile(tile.g_plus / 2, tile.g_minus, tile.w_scale, tile.g_max)
    chip = tile.program(model, stream("cpu", 0), significance=significance)
    return chip.weight().double() - 0.5


def rectified(mean: Tensor, std: float) -> tuple[Tensor, Tensor]:
    """Mean and variance of ``max(0, mean + std N)``."""
    place = mean / std
    below, density = torch.special.ndtr(place), (-0.5 * place.square()).exp() / math.sqrt(2 * math.pi)
    first = mean * below + std * density
    return first, (mean.square() + std**2) * below + mean * std * density - first.square()


@pytest.mark.parametrize("significance", [2.0, 8.0, 16.0])
def test_the_second_pair_leaves_its_own_error_divided_by_its_significance(significance: float) -> None:
    noise = 0.01
    errors, single = spread(significance, noise), spread(None, noise)
    # What the first pair missed by, and the two devices of the second that are to hold it and nothing.
    wanted = (single * significance).abs()
    mean, variance = rectified(wanted, noise)
    mean_off, variance_off = rectified(torch.zeros_like(wanted), noise)
    squares = ((mean - mean_off - wanted).square() + variance + variance_off) / significance**2
    expected = float(squares.mean())
    standard_error = float(errors.square().std()) / math.sqrt(CELLS)
    assert abs(float(errors.square().mean()) - expected) < 4 * standard_error
    assert expected < float(single.square().mean()) * 1.5 / significance**2


def test_the_second_pair_can_correct_no_more_than_it_holds() -> None:
    # It reaches 1/64 of the largest weight, and the first pair misses by several times that.
    errors = spread(64.0, 0.05)
    single = spread(None, 0.05)
    assert 0.5 * float(single.std()) < float(errors.std()) < float(single.std())
    corrected = (single - errors).abs()
    assert float(corrected.max()) < 1 / 64 + 6 * 0.05 / 64


def test_a_grid_has_two_pairs_where_the_hardware_says_so(weight: Tensor) -> None:
    single = Hardware(device=PCMDevice())
    dual = Hardware(device=PCMDevice(), pairs=DualPair(significance=8.0))
    model = device_model(single.device)
    grid = Grid.map(weight, single)
    one, two = (grid.program(model, "chip", hardware=hardware).tiles[0] for hardware in (single, dual))
    assert one.fine is None
    assert two.fine is not None
    assert torch.equal(one.pair.g_plus, two.pair.g_plus), "the first pair is written as before"
    target = grid.tiles[0].weight() / grid.tiles[0].w_scale.unsqueeze(1)
    missed = [float((tile.weight() - target).norm()) for tile in (one, two)]
    assert missed[1] < missed[0] / 4
    assert dual.digest() != single.digest()
    assert dual.mapping_digest() == single.mapping_digest(), "the targets are the same"


@pytest.mark.parametrize("per_mvm", [False, True])
def test_both_pairs_drift_and_are_read(weight: Tensor, per_mvm: bool) -> None:
    model = device_model(PCMDevice(read_noise_scale=1.0))
    tile = Tile.map(weight, "column", 25.0)
    chip = tile.program(model, stream("cpu", 0), significance=4.0)
    assert chip.fine is not None
    seen = chip.drift(3600.0, "none", stream("cpu", 1), read_per_mvm=per_mvm)
    noise = stream("cpu", 1)
    parts = [pair.read(3600.0, noise, per_mvm=per_mvm) for pair in (chip.pair, chip.fine)]
    assert torch.allclose(seen.weight, parts[0][0] + parts[1][0] / 4)
    if per_mvm:
        assert parts[0][1] is not None
        assert parts[1][1] is not None
        assert seen.read_variance is not None
        assert torch.allclose(seen.read_variance, parts[0][1] + parts[1][1] / 16)


def test_cells_that_hold_nothing_add_their_noise(weight: Tensor) -> None:
    cols, rows = weight.shape
    # Written to zero with a spread of 2 % of g_max: each device holds a rectified normal, and the difference
    # of two has a variance of 0.02^2 (1 - 1 / pi).
    model = device_model(StateIndependentDevice(programming_noise=0.02))
    tile = Tile.map(weight, "column", 25.0)
    noisy = Tile(tile.g_plus, tile.g_minus, tile.w_scale, tile.g_max, idle_rows=5000)
    plain, crosstalk = (
        part.program(model, stream("cpu", 0)).drift(0.0, "none", stream("cpu", 1)) for part in (tile, noisy)
    )
    assert torch.equal(plain.weight, crosstalk.weight)
    assert plain.read_variance is None
    assert crosstalk.read_variance is not None
    assert crosstalk.read_variance.shape == weight.shape
    added = crosstalk.read_variance[:, 0].double() * rows
    expected = 5000 * 0.02**2 * (1 - 1 / math.pi)
    assert abs(float(added.mean()) - expected) < 4 * float(added.std()) / math.sqrt(cols)
    assert bool((crosstalk.read_variance == crosstalk.read_variance[:, :1]).all())
