"""The HERMES chip: branches, constants and limits; its statistics are tested against aihwkit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.config.hardware import HermesDevice
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.hermes import DRIFT_MEAN, Branch, HermesModel, polynomial

FEW = settings(max_examples=100)
ONE, TWO = HermesDevice(num_devices=1), HermesDevice(num_devices=2)


def exact(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_conductance_and_times_of_both_variants() -> None:
    assert isinstance(device_model(TWO), HermesModel)
    assert [(device_model(device).g_max, device_model(device).t_0_s) for device in (ONE, TWO)] == [
        (10.35, 200.0),
        (20.7, 300.0),
    ]


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=5), st.floats(0, 1))
@FEW
def test_the_polynomial_starts_with_its_constant(coefficients: list[float], rel: float) -> None:
    expected = np.polynomial.polynomial.polyval(rel, coefficients)
    assert float(polynomial(tuple(coefficients), exact(rel))) == pytest.approx(expected, abs=1e-12)


def test_a_branch_is_a_bounded_logarithm_and_then_a_polynomial() -> None:
    branch = Branch(split=0.5, log=(-1.0, 0.0), bounds=(1.0, 3.0), polynomial=(10.0, 4.0))
    found = branch(torch.tensor([0.0, math.exp(-2), 0.49, 0.5, 1.0], dtype=torch.float64))
    assert found.tolist() == pytest.approx([3.0, 2.0, 1.0, 12.0, 14.0])


@pytest.mark.parametrize(
    ("rel", "expected"),
    [
        (0.0, 0.13),  # upper bound
        (0.05, -0.0387 * math.log(0.05) - 0.0182),
        (0.0944, -0.0387 * math.log(0.0944) - 0.0182),
        (0.0945, 0.0736 - 0.0126 * 0.0945 - 0.0436 * 0.0945**2),
        (1.0, 0.0736 - 0.0126 - 0.0436),
    ],
)
def test_mean_drift_exponent_of_the_specification(rel: float, expected: float) -> None:
    assert float(DRIFT_MEAN(exact(rel))) == pytest.approx(expected)
    for device in (ONE, TWO):
        assert float(HermesModel(device).drift_exponent(exact(rel), exact(0.0))) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("device", "coefficients"),
    [
        (ONE, (0.15781817, 2.32443916, -2.16310839, 0.68841818)),
        (TWO, (0.16603222, 4.71806468, -8.48101252, 4.68961419)),
    ],
)
@pytest.mark.parametrize("rel", [0.0, 0.3, 1.0])
def test_programming_noise_of_the_specification(
    device: HermesDevice, coefficients: tuple[float, ...], rel: float
) -> None:
    expected = sum(factor * rel**power for power, factor in enumerate(coefficients))
    assert float(HermesModel(device).sigma_programming(exact(rel))) == pytest.approx(expected)
    scaled = device.model_copy(update={"programming_noise_scale": 2.0})
    assert float(HermesModel(scaled).sigma_programming(exact(rel))) == pytest.approx(2 * expected)


@given(st.floats(0, 1), st.floats(-5, 5), st.floats(200, 4e8))
@FEW
def test_every_statistic_is_finite_and_not_negative(rel: float, normal: float, t_s: float) -> None:
    for device in (ONE, TWO):
        model = HermesModel(device)
        values = [
            model.sigma_programming(exact(rel)),
            model.drift_exponent(exact(rel), exact(normal)),
            model.sigma_read(exact(rel), t_s),
        ]
        assert all(math.isfinite(float(value)) and float(value) >= 0 for value in values)


@pytest.mark.parametrize("device", [ONE, TWO])
def test_read_noise_grows_with_the_root_of_the_logarithm_of_time(device: HermesDevice) -> None:
    model = HermesModel(device)
    rel = torch.linspace(0, 1, 21, dtype=torch.float64)
    early, late = model.sigma_read(rel, 300.0), model.sigma_read(rel, 3e8)
    growth = math.sqrt(math.log((3e8 + 512e-9) / 1024e-9) / math.log((300.0 + 512e-9) / 1024e-9))
    assert torch.allclose(late, growth * early, rtol=1e-12)
    assert bool((early > 0).all())
    silent = HermesModel(device.model_copy(update={"read_noise_scale": 0.0}))
    assert not silent.sigma_read(rel, 3e8).any()


@pytest.mark.parametrize("device", [ONE, TWO])
def test_the_drift_scale_multiplies_the_exponent(device: HermesDevice) -> None:
    rel, normal = torch.linspace(0, 1, 21), torch.linspace(-3, 3, 21)
    half = HermesModel(device.model_copy(update={"drift_scale": 0.5}))
    assert torch.allclose(
        half.drift_exponent(rel, normal), HermesModel(device).drift_exponent(rel, normal) / 2
    )
