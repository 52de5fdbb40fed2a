"""Devices that are stuck, and converters that are not all alike."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import ValidationError

from aimc_deploy.config.hardware import Faults
from aimc_deploy.physics.faults import adc_gains, stick
from aimc_deploy.physics.random import stream

DEVICES = 200_000
G_MAX = 25.0


def test_shares_are_those_asked_for_and_stuck_devices_do_not_drift() -> None:
    faults = Faults(stuck_at_zero=0.02, stuck_at_g_max=0.01, stuck_at_random=0.03)
    g, nu = torch.full((200, DEVICES // 200), 7.0), torch.full((200, DEVICES // 200), 0.05)
    stuck_g, stuck_nu = stick(g, nu, faults, G_MAX, stream("cpu", "faults"))
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
    faults = Faults(stuck_at_random=0.2)
    g, nu = torch.ones(40, 30), torch.ones(40, 30)
    one = stick(g, nu, faults, G_MAX, stream("cpu", 1))[0]
    assert torch.equal(one, stick(g, nu, faults, G_MAX, stream("cpu", 1))[0])
    assert not torch.equal(one, stick(g, nu, faults, G_MAX, stream("cpu", 2))[0])
    other = stick(2 * g, nu, faults, G_MAX, stream("cpu", 1))[0]
    assert torch.equal(other[one != 1], one[one != 1]), "whatever they were asked to hold"


def test_gains_spread_as_asked() -> None:
    gains = adc_gains(DEVICES, 0.071, stream("cpu", "gains"))
    assert abs(float(gains.mean()) - 1) < 4 * 0.071 / math.sqrt(DEVICES)
    assert abs(float(gains.std()) - 0.071) < 4 * 0.071 / math.sqrt(2 * DEVICES)


def test_more_than_all_devices_cannot_be_stuck() -> None:
    with pytest.raises(ValidationError, match=r"the shares add up to 1\.1"):
        Faults(stuck_at_zero=0.6, stuck_at_random=0.5)
