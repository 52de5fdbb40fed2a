"""A device with the same spreads for every conductance: its statistics through a tile's life."""

from __future__ import annotations

import math

import pytest
import torch

from aimc_deploy.config.hardware import StateIndependentDevice
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.drift import drift_conductance
from aimc_deploy.physics.programming import program_conductance
from aimc_deploy.physics.random import stream
from aimc_deploy.physics.read_noise import read_conductance

DEVICES = 100_000
SETTINGS = {"g_max": 40.0, "programming_noise": 0.02, "drift_exponent": 0.05, "drift_spread": 0.01}
MODEL = device_model(StateIndependentDevice(**SETTINGS, read_noise=0.03))  # type: ignore[arg-type]


@pytest.mark.parametrize("rel", [0.25, 0.5, 0.9])
def test_spreads_are_those_asked_for_whatever_is_held(rel: float) -> None:
    target = torch.full((100, DEVICES // 100), 40.0 * rel)
    g, nu = program_conductance(target, MODEL, stream("cpu", "program", rel))
    for found, mean, std in ((g, 40.0 * rel, 0.8), (nu, 0.05, 0.01)):
        assert abs(float(found.double().mean()) - mean) < 4 * std / math.sqrt(DEVICES)
        assert abs(float(found.double().std()) - std) < 4 * std / math.sqrt(2 * DEVICES)
    read = read_conductance(g, g, 3600.0, MODEL, stream("cpu", "read", rel)) / g - 1
    assert abs(float(read.double().std()) - 0.03) < 4 * 0.03 / math.sqrt(2 * DEVICES)


def test_without_spread_a_year_is_the_power_law() -> None:
    model = device_model(StateIndependentDevice(programming_noise=0.0, drift_exponent=0.06, t_0_s=20.0))
    target = torch.tensor([[0.0, 5.0, 25.0]])
    g, nu = program_conductance(target, model, stream("cpu", 0))
    assert torch.equal(g, target)
    year = drift_conductance(g, nu, 31_536_000.0, model.t_0_s)
    torch.testing.assert_close(year, target * (31_536_000.0 / 20.0) ** -0.06)
    assert torch.equal(read_conductance(year, g, 31_536_000.0, model, stream("cpu", 1)), year)


def test_one_and_the_same_at_all_times() -> None:
    rel = torch.linspace(0, 1, 11)
    assert torch.equal(MODEL.sigma_read(rel, 1.0), MODEL.sigma_read(rel, 1e9))
    assert len(MODEL.sigma_programming(rel).unique()) == 1
