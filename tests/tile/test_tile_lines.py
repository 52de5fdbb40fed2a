"""Blocks on the lines of a crossbar where stuck devices do least harm, and what is left of that harm."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from aimc_deploy.config.hardware import DualPair, Faults, Hardware, IdealDevice
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.faults import Stuck, reach
from aimc_deploy.physics.random import stream
from aimc_deploy.tile.grid import Grid
from aimc_deploy.tile.lines import Lines

G_MAX = 25.0


def missed(
    weight: torch.Tensor, *, room: tuple[int, int] | None = None, dual: bool = False, **faults: object
) -> float:
    """What a chip with exact devices misses of a matrix: its squared error as a share of all squares."""
    pairs = {"pairs": DualPair()} if dual else {}
    hardware = Hardware(device=IdealDevice(), faults=Faults.model_validate(faults), **pairs)
    grid = Grid.map(weight, hardware)
    grid = replace(grid, tiles=tuple(replace(tile, room=room) for tile in grid.tiles))
    chip = grid.program(device_model(hardware.device), 0, "chip", 3, hardware=hardware)
    held = chip.tiles[0].weight() * grid.w_scale()[0].unsqueeze(1)
    return float((held - weight).square().sum() / weight.square().sum())


@pytest.fixture
def weight() -> torch.Tensor:
    return torch.randn(60, 80, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.2, 1, 80)


def test_sound_devices_stay_where_they_are(weight: torch.Tensor) -> None:
    sound = Stuck(torch.full((70, 90), torch.nan), torch.full((70, 90), torch.nan))
    lines = Lines.of_least_harm(weight, torch.ones(60), sound, G_MAX)
    assert torch.equal(lines.cols, torch.arange(60))
    assert torch.equal(lines.rows, torch.arange(80))
    assert not bool(lines.flipped.any())


@pytest.mark.parametrize("kind", ["stuck_at_zero", "stuck_at_g_max", "stuck_at_random"])
@pytest.mark.parametrize("unit", ["cell", "row", "column"])
def test_known_faults_do_less_harm_and_spare_lines_less_again(
    weight: torch.Tensor, unit: str, kind: str
) -> None:
    faults = {"unit": unit, kind: 0.06}
    nothing = missed(weight, **faults)
    own = missed(weight, known=True, **faults)
    spare = missed(weight, known=True, room=(90, 120), **faults)
    assert nothing > 0.02
    assert own < 0.97 * nothing
    if unit == "cell":
        assert own < 0.2 * nothing
        assert spare < own
    else:
        assert spare < 1e-12, "all of it is on sound lines"


def test_tiles_that_are_known_to_be_stuck_are_not_used(weight: torch.Tensor) -> None:
    faults = {"unit": "tile", "stuck_at_zero": 1.0}
    assert missed(weight, **faults) == 1
    assert missed(weight, known=True, **faults) < 1e-12


def test_the_second_pair_of_a_weight_is_stuck_on_the_same_lines(weight: torch.Tensor) -> None:
    faults = {"unit": "row", "stuck_at_zero": 0.06}
    assert missed(weight, dual=True, **faults) > 0.02
    assert missed(weight, dual=True, known=True, room=(60, 120), **faults) < 1e-12


def test_the_signs_and_the_order_of_columns_are_the_best_there_are() -> None:
    generator = torch.Generator().manual_seed(1)
    wanted = torch.randn(3, 1, generator=generator).clamp(-1, 1) * G_MAX
    scale = torch.tensor([0.3, 1.0, 2.0])
    stuck = Stuck.drawn(torch.ones(4, 1), Faults(stuck_at_random=0.6), G_MAX, stream("cpu", 2))
    low, high = reach(stuck, G_MAX)

    def harm(cols: tuple[int, ...], signs: tuple[int, ...]) -> float:
        on = torch.tensor(cols)
        asked = wanted * torch.tensor(signs).unsqueeze(1)
        return float(((asked - asked.clamp(low[on], high[on])) * scale.unsqueeze(1)).square().sum())

    everything = [
        harm(cols, signs)
        for cols in itertools.permutations(range(4), 3)
        for signs in itertools.product((1, -1), repeat=3)
    ]
    lines = Lines.of_least_harm(wanted, scale, stuck, G_MAX)
    signs = tuple(-1 if turned else 1 for turned in lines.flipped.tolist())
    found = harm(tuple(lines.cols.tolist()), signs)
    assert found == pytest.approx(min(everything), abs=1e-5)
    assert found < 0.5 * harm((0, 1, 2), (1, 1, 1)), "there is something to be gained"


def test_a_block_meets_the_devices_of_its_lines() -> None:
    plus = torch.arange(12.0).reshape(3, 4)
    lines = Lines(torch.tensor([2, 0]), torch.tensor([3, 1]), torch.tensor([False, True]))
    met = lines.of(Stuck(plus, plus + 100))
    assert met.plus.tolist() == [[11, 9], [103, 101]]
    assert met.minus.tolist() == [[111, 109], [3, 1]]


def test_unknown_faults_are_those_of_the_first_lines_whatever_room_there_is(weight: torch.Tensor) -> None:
    faults = {"stuck_at_g_max": 0.05}
    assert missed(weight, room=(60, 80), **faults) == missed(weight, **faults)
    assert missed(weight, room=(70, 90), **faults) == pytest.approx(missed(weight, **faults), rel=0.25)
