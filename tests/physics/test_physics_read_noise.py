"""Statistics of one reading and the variance used when every product reads anew."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.config.hardware import PCMDevice
from aimc_deploy.physics.device import DeviceModel, device_model
from aimc_deploy.physics.random import Stream, stream
from aimc_deploy.physics.read_noise import read_conductance, read_variance

DEVICES = 100_000
YEAR = 31_536_000.0


def density(x: float) -> float:
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def below(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


@pytest.mark.parametrize("t_s", [300.0, YEAR])
@pytest.mark.parametrize("rel", [0.3, 1.0])
def test_a_reading_scatters_about_the_drifted_conductance(
    rel: float, t_s: float, noisy_model: DeviceModel, noise: Stream
) -> None:
    g_programmed = torch.full((DEVICES,), rel * noisy_model.g_max)
    g_drifted = 0.5 * g_programmed
    # Relative to the drifted conductance, but with the share that the programmed one sets.
    sigma = 0.5 * rel * noisy_model.g_max * float(noisy_model.sigma_read(torch.tensor(rel), t_s))
    g = read_conductance(g_drifted, g_programmed, t_s, noisy_model, noise).double()
    assert abs(float(g.mean() - g_drifted[0])) < 4 * sigma / math.sqrt(DEVICES)
    assert abs(float(g.std()) - sigma) < 4 * sigma / math.sqrt(2 * DEVICES)


def test_a_reading_is_never_negative_and_a_weak_device_is_a_rectified_normal(
    noise: Stream,
) -> None:
    model = device_model(PCMDevice())
    g_programmed = torch.full((DEVICES,), 0.25)  # 1 % of g_max, where the noise is as large as the value
    sigma = float(model.sigma_read(torch.tensor(0.01), YEAR))
    g = read_conductance(g_programmed, g_programmed, YEAR, model, noise).double() / 0.25
    bound = 1 / sigma
    mean = below(bound) + sigma * density(bound)
    square = (1 + sigma**2) * below(bound) + sigma * density(bound)
    assert float(g.min()) == 0.0
    assert abs(float(g.mean()) - mean) < 4 * math.sqrt((square - mean**2) / DEVICES)
    at_zero, expected = float((g == 0).double().mean()), below(-bound)
    assert abs(at_zero - expected) < 4 * math.sqrt(expected * (1 - expected) / DEVICES)


@pytest.mark.parametrize("rel", [0.1, 0.5])
def test_the_variance_is_that_of_the_readings(rel: float, noise: Stream) -> None:
    # From 10 % of g_max on zero is more than 4 standard deviations away and does not matter.
    model = device_model(PCMDevice())
    g_programmed = torch.full((DEVICES,), rel * 25)
    g_drifted = 0.6 * g_programmed
    readings = read_conductance(g_drifted, g_programmed, YEAR, model, noise)
    expected = read_variance(g_drifted, g_programmed, YEAR, model)
    assert torch.equal(expected, expected[:1].expand_as(expected))
    standard_error = float(expected[0]) * math.sqrt(2 / DEVICES)
    assert abs(float(readings.double().var()) - float(expected[0])) < 4 * standard_error


def test_readings_of_the_same_devices_are_independent(noise: Stream) -> None:
    model = device_model(PCMDevice())
    g = torch.full((DEVICES,), 12.5)
    first, second = (read_conductance(g, g, YEAR, model, noise).double() for _ in range(2))
    correlation = float(torch.corrcoef(torch.stack([first, second]))[0, 1])
    assert abs(correlation) < 4 / math.sqrt(DEVICES)


def test_a_quiet_reading_is_exact(ideal_model: DeviceModel, noise: Stream) -> None:
    g = torch.rand(30, 30, generator=torch.Generator().manual_seed(9)) * 25
    for model in (ideal_model, device_model(PCMDevice(read_noise_scale=0.0))):
        assert torch.equal(read_conductance(g, g, YEAR, model, noise), g)
        assert not read_variance(g, g, YEAR, model).any()


def test_the_reading_at_zero_seconds_is_not_free_of_noise(noisy_model: DeviceModel, noise: Stream) -> None:
    g = torch.full((1000,), 0.5 * noisy_model.g_max)
    reading = read_conductance(g, g, noisy_model.t_0_s, noisy_model, noise)
    assert bool((reading != g).any())
    assert 0.005 < float((reading / g).std()) < 0.1


@given(
    st.lists(st.floats(0, 1.2), min_size=1, max_size=20),
    st.floats(1, 4e8),
    st.floats(0, 20),
    st.integers(0, 2**31),
)
@settings(max_examples=60)
def test_readings_are_finite_and_never_negative(
    rels: list[float], t_s: float, scale: float, seed: int
) -> None:
    model = device_model(PCMDevice(read_noise_scale=scale))
    g = torch.tensor(rels) * 25
    reading = read_conductance(g, g, t_s, model, stream("cpu", seed))
    assert bool((reading >= 0).all())
    assert bool(reading.isfinite().all())
    assert bool((reading[g == 0] == 0).all()), "the noise is relative: a device that is off reads off"
