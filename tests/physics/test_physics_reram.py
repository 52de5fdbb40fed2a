"""NeuRRAM's resistive memory: its spread at three times, and nothing at any other."""

from __future__ import annotations

import math

import pytest
import torch

from aimc_deploy.config.hardware import ReRAMDevice
from aimc_deploy.errors import HardwareError
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.programming import program_conductance
from aimc_deploy.physics.random import stream

DEVICES = 100_000
DAY = 86_400.0
MODEL = device_model(ReRAMDevice())
# Worked out by hand from the published polynomials, in uS at 40 uS: constant, and the sum of all at r = 1.
ENDS = {0.0: (0.348, 1.103), DAY: (0.701, 2.651), 2 * DAY: (0.782, 2.677)}
MIDDLE = {0.0: 2.0229, DAY: 3.9091, 2 * DAY: 3.9290}  # r = 0.5


@pytest.mark.parametrize(("time", "expected"), MIDDLE.items())
def test_the_spread_at_each_of_the_three_times(time: float, expected: float) -> None:
    g, ageing = program_conductance(torch.full((100, DEVICES // 100), 20.0), MODEL, stream("cpu", 0))
    aged = MODEL.age(g, ageing, time).double()
    assert abs(float(aged.mean()) - 20.0) < 4 * expected / math.sqrt(DEVICES)
    assert abs(float(aged.std()) - expected) < 4 * expected / math.sqrt(2 * DEVICES)


@pytest.mark.parametrize(("time", "expected"), ENDS.items())
def test_the_spread_of_what_is_off_and_of_what_is_full(time: float, expected: tuple[float, float]) -> None:
    # A device that is off holds a rectified normal, whose mean square is half of the spread squared.
    for rel, spread in zip((0.0, 1.0), expected, strict=True):
        g, ageing = program_conductance(torch.full((DEVICES,), 40.0 * rel), MODEL, stream("cpu", rel))
        squares = (MODEL.age(g, ageing, time).double() - 40.0 * rel).square()
        share = 1.0 if rel else 0.5
        error = math.sqrt(float(squares.var()) / DEVICES)
        assert abs(float(squares.mean()) - share * spread**2) < 4 * error


def test_the_spread_is_positive_everywhere() -> None:
    rel = torch.linspace(0, 1, 1001)
    one = torch.ones_like(rel)
    g, ageing = program_conductance(40 * rel, MODEL, stream("cpu", 0))
    assert float(MODEL.sigma_programming(rel).min()) > 0
    moved = MODEL.ageing(rel, one, stream("cpu", 0))
    assert float((MODEL.sigma_programming(rel) + moved).min()) > 0
    assert bool((MODEL.age(g, ageing, DAY) >= 0).all())


def test_a_device_keeps_its_place_in_the_spread() -> None:
    g, ageing = program_conductance(torch.full((1000,), 20.0), MODEL, stream("cpu", 0))
    day = MODEL.age(g, ageing, DAY)
    assert torch.allclose((day - 20.0) / MIDDLE[DAY], (g - 20.0) / MIDDLE[0.0], atol=1e-3)
    assert torch.equal(MODEL.age(g, ageing, 0.0), g)
    assert torch.equal(MODEL.age(g, torch.zeros_like(ageing), DAY), g), "a stuck device"


def test_spread_scales_with_the_largest_conductance_and_the_setting() -> None:
    rel = torch.linspace(0, 1, 11)
    half = device_model(ReRAMDevice(g_max=20.0))
    twice = device_model(ReRAMDevice(programming_noise_scale=2.0))
    assert torch.allclose(half.sigma_programming(rel) * 2, MODEL.sigma_programming(rel))
    assert torch.allclose(twice.sigma_programming(rel), MODEL.sigma_programming(rel) * 2)


@pytest.mark.parametrize("time", [1.0, 3600.0, 3 * DAY, 31_536_000.0])
def test_nothing_is_made_up_for_other_times(time: float) -> None:
    g, ageing = program_conductance(torch.full((10,), 20.0), MODEL, stream("cpu", 0))
    with pytest.raises(HardwareError, match=r"at 0s, 1d and 2d only.*--times 0s,1d,2d"):
        MODEL.age(g, ageing, time)


def test_training_meets_each_of_the_times_that_it_may() -> None:
    shares = [index / 999 for index in range(1000)]
    ages = [MODEL.draw_age_s(share, 0.0, 3e8) for share in shares]
    assert {age: ages.count(age) for age in sorted(set(ages))} == {0.0: 333, DAY: 333, 2 * DAY: 334}
    assert {MODEL.draw_age_s(share, 0.0, 3600.0) for share in shares} == {0.0}
    assert {MODEL.draw_age_s(share, 1000.0, 3600.0) for share in shares} == {0.0}, "the nearest"


def test_a_reading_is_a_percent_off() -> None:
    assert float(MODEL.sigma_read(torch.tensor(0.3), 5.0)) == pytest.approx(0.01)
