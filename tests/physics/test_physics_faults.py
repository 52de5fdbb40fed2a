"""Devices that are stuck, and converters that are not all alike."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from aimc_deploy.config.hardware import Faults
from aimc_deploy.physics.faults import Stuck, adc_gains, make_up, reach, stick
from aimc_deploy.physics.random import stream

DEVICES = 200_000
G_MAX = 25.0


def test_shares_are_those_asked_for_and_stuck_devices_do_not_drift() -> None:
    faults = Faults(stuck_at_zero=0.02, stuck_at_g_max=0.01, stuck_at_random=0.03)
    g, nu = torch.full((200, DEVICES // 200), 7.0), torch.full((200, DEVICES // 200), 0.05)
    stuck_g, stuck_nu = stick(g, nu, Stuck.drawn(g, faults, G_MAX, stream("cpu", "faults")).plus)
    stuck = stuck_nu == 0
    for found, share in (
        (stuck, 0.06),
        (stuck & (stuck_g == 0), 0.02),
        (stuck & (stuck_g == G_MAX), 0.01),
        (stuck & (stuck_g > 0) & (stuck_g < G_MAX), 0.03),
    ):
        error = math.sqrt(share * (1 - share) / DEVICES)
        assert abs(float(found.float().mean()) - share) < 4 * error
    assert bool((stuck_g[~stuck] == 7.0).all())
    assert bool((stuck_nu[~stuck] == 0.05).all())
    between = stuck_g[stuck & (stuck_g > 0) & (stuck_g < G_MAX)] / G_MAX
    error = 1 / math.sqrt(12 * len(between))  # of the mean of uniform values
    assert abs(float(between.mean()) - 0.5) < 4 * error
    assert abs(float((between < 0.25).float().mean()) - 0.25) < 4 * math.sqrt(0.1875 / len(between))


def test_where_they_are_is_up_to_the_stream_alone() -> None:
    faults, like = Faults(stuck_at_random=0.2), torch.ones(40, 30)
    one = Stuck.drawn(like, faults, G_MAX, stream("cpu", 1))
    again = Stuck.drawn(2 * like, faults, G_MAX, stream("cpu", 1))
    other = Stuck.drawn(like, faults, G_MAX, stream("cpu", 2))
    assert torch.equal(one.plus.nan_to_num(-1), again.plus.nan_to_num(-1))
    assert not torch.equal(one.plus.isnan(), other.plus.isnan())
    assert not torch.equal(one.plus.isnan(), one.minus.isnan())


@pytest.mark.parametrize(("unit", "axis", "shared"), [("row", 0, True), ("column", 1, False)])
def test_lines_are_stuck_as_a_whole(unit: Any, axis: int, shared: bool) -> None:
    faults, like = Faults(unit=unit, stuck_at_random=0.25), torch.ones(400, 400)
    stuck = Stuck.drawn(like, faults, G_MAX, stream("cpu", unit))
    lines = ~stuck.plus.isnan().select(axis, 0)
    assert torch.equal(~stuck.plus.isnan(), lines.unsqueeze(axis).expand_as(like))
    assert abs(float(lines.float().mean()) - 0.25) < 4 * math.sqrt(0.1875 / 400)
    assert torch.equal(stuck.plus.isnan(), stuck.minus.isnan()) == shared
    values = stuck.plus[~stuck.plus.isnan()]
    assert len(values.unique()) > 0.99 * len(values), "each device at a value of its own"


def test_tiles_are_stuck_as_a_whole_in_their_share() -> None:
    faults, like = Faults(unit="tile", stuck_at_zero=0.25), torch.ones(3, 2)
    drawn = [Stuck.drawn(like, faults, G_MAX, stream("cpu", tile)) for tile in range(2000)]
    dead = [bool((stuck.plus == 0).all() and (stuck.minus == 0).all()) for stuck in drawn]
    sound = [bool(stuck.plus.isnan().all() and stuck.minus.isnan().all()) for stuck in drawn]
    assert sum(dead) + sum(sound) == 2000
    assert abs(sum(dead) / 2000 - 0.25) < 4 * math.sqrt(0.1875 / 2000)


def test_the_sound_device_of_a_pair_makes_up_for_the_stuck_one_as_far_as_it_can() -> None:
    nan = math.nan
    #                          sound  plus at 25: a weight of 7, of -7    minus at 4: of 7, of -7   both
    plus = torch.tensor([[nan, 25.0, 25.0, nan, nan, 25.0]])
    minus = torch.tensor([[nan, nan, nan, 4.0, 4.0, 4.0]])
    wanted = torch.tensor([[7.0, 7.0, -7.0, 7.0, -7.0, 7.0]])
    stuck = Stuck(plus, minus)
    g_plus, g_minus = make_up(wanted.clamp(min=0), (-wanted).clamp(min=0), stuck, G_MAX)
    held = torch.where(plus.isnan(), g_plus, plus) - torch.where(minus.isnan(), g_minus, minus)
    assert held.tolist() == [[7.0, 7.0, 0.0, 7.0, -4.0, 21.0]]
    low, high = reach(stuck, G_MAX)
    assert low.tolist() == [[-25.0, 0.0, 0.0, -4.0, -4.0, 21.0]]
    assert high.tolist() == [[25.0, 25.0, 25.0, 21.0, 21.0, 21.0]]
    assert torch.equal(held, wanted.clamp(low, high)), "the nearest that there is"


def test_gains_spread_as_asked() -> None:
    gains = adc_gains(DEVICES, 0.071, stream("cpu", "gains"))
    assert abs(float(gains.mean()) - 1) < 4 * 0.071 / math.sqrt(DEVICES)
    assert abs(float(gains.std()) - 0.071) < 4 * 0.071 / math.sqrt(2 * DEVICES)


def test_more_than_all_devices_cannot_be_stuck() -> None:
    with pytest.raises(ValidationError, match=r"the shares add up to 1\.1"):
        Faults(stuck_at_zero=0.6, stuck_at_random=0.5)
