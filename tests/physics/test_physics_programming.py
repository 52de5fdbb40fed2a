"""Statistics of programming, against the closed forms of a (rectified) normal."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.config.hardware import HermesDevice, PCMDevice
from aimc_deploy.physics.device import DeviceModel, device_model
from aimc_deploy.physics.programming import program_conductance
from aimc_deploy.physics.random import Stream, stream

DEVICES = 100_000


@pytest.mark.parametrize("rel", [0.3, 0.6, 1.0])
def test_targets_far_from_zero_are_met_on_average(
    rel: float, noisy_model: DeviceModel, noise: Stream
) -> None:
    # From 0.3 g_max on the target is more than 6 standard deviations from zero: a plain normal.
    g_target = torch.full((DEVICES,), rel * noisy_model.g_max)
    sigma = float(noisy_model.sigma_programming(torch.tensor(rel)))
    g, _ = program_conductance(g_target, noisy_model, noise)
    mean_error, std_error = sigma / math.sqrt(DEVICES), sigma / math.sqrt(2 * DEVICES)
    assert abs(float(g.double().mean()) - rel * noisy_model.g_max) < 4 * mean_error
    assert abs(float(g.double().std()) - sigma) < 4 * std_error


def test_a_device_asked_to_be_off_holds_a_rectified_normal(noisy_model: DeviceModel, noise: Stream) -> None:
    sigma = float(noisy_model.sigma_programming(torch.tensor(0.0)))
    g, _ = program_conductance(torch.zeros(DEVICES), noisy_model, noise)
    g = g.double()
    mean, variance = sigma / math.sqrt(2 * math.pi), sigma**2 * (0.5 - 0.5 / math.pi)
    assert abs(float(g.mean()) - mean) < 4 * math.sqrt(variance / DEVICES)
    # Variance of the mean of g^2: E g^4 - (E g^2)^2 = (3/2 - 1/4) sigma^4.
    assert abs(float(g.square().mean()) - sigma**2 / 2) < 4 * math.sqrt(1.25 / DEVICES) * sigma**2
    off = float((g == 0).double().mean())
    assert abs(off - 0.5) < 4 * 0.5 / math.sqrt(DEVICES), "every second device cannot go below zero"


def test_the_drift_exponent_does_not_follow_the_programming_error(
    noisy_model: DeviceModel, noise: Stream
) -> None:
    g_target = torch.full((DEVICES,), 0.5 * noisy_model.g_max)
    g, nu = program_conductance(g_target, noisy_model, noise)
    correlation = float(torch.corrcoef(torch.stack([g, nu]).double())[0, 1])
    assert abs(correlation) < 4 / math.sqrt(DEVICES)


def test_neighbouring_devices_are_independent(noisy_model: DeviceModel, noise: Stream) -> None:
    g_target = torch.full((400, 400), 0.5 * noisy_model.g_max)
    g, _ = program_conductance(g_target, noisy_model, noise)
    error = (g - g_target).double()
    for first, second in [(error[1:], error[:-1]), (error[:, 1:], error[:, :-1])]:
        pairs = torch.stack([first.flatten(), second.flatten()])
        assert abs(float(torch.corrcoef(pairs)[0, 1])) < 4 / math.sqrt(pairs.shape[1])


def test_the_exponent_follows_the_target_and_not_what_was_written() -> None:
    # Without programming noise in the way, targets of one level have one distribution of exponents,
    # whatever the noise made of them: the same normals give the same exponents.
    quiet, loud = (device_model(PCMDevice(programming_noise_scale=scale)) for scale in (0.0, 5.0))
    g_target = torch.linspace(0, 25, 1000)
    g_quiet, nu_quiet = program_conductance(g_target, quiet, stream("cpu", 1))
    g_loud, nu_loud = program_conductance(g_target, loud, stream("cpu", 1))
    assert torch.equal(nu_quiet, nu_loud)
    assert torch.equal(g_quiet, g_target)
    assert not torch.equal(g_loud, g_target)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_the_noise_scale_multiplies_the_error(scale: float) -> None:
    g_target = torch.full((1000,), 20.0)
    errors = [
        program_conductance(
            g_target,
            device_model(PCMDevice(programming_noise_scale=factor)),
            stream("cpu", 3),
        )[0]
        - g_target
        for factor in (1.0, scale)
    ]
    assert torch.allclose(errors[1], scale * errors[0], atol=1e-5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(0, 2**31))
@settings(max_examples=60)
def test_conductances_and_exponents_are_never_negative(rels: list[float], seed: int) -> None:
    for device in (PCMDevice(programming_noise_scale=10), HermesDevice(), HermesDevice(num_devices=1)):
        model = device_model(device)
        g_target = torch.tensor(rels) * model.g_max
        g, nu = program_conductance(g_target, model, stream("cpu", seed))
        assert bool((g >= 0).all())
        assert bool((nu >= 0).all())
        assert g.shape == nu.shape == g_target.shape


def test_an_ideal_device_holds_exactly_what_was_written(ideal_model: DeviceModel, noise: Stream) -> None:
    g_target = torch.rand(50, 50, generator=torch.Generator().manual_seed(9)) * 25
    g, nu = program_conductance(g_target, ideal_model, noise)
    assert torch.equal(g, g_target)
    assert not nu.any()


def test_a_seed_is_a_chip() -> None:
    model, g_target = device_model(PCMDevice()), torch.full((100,), 10.0)
    first, again, other = (program_conductance(g_target, model, stream("cpu", seed)) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not (first[0] == other[0]).any()
    assert not (first[1] == other[1]).any()
