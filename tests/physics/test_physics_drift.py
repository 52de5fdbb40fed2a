"""The drift law: its limits, its composition and its monotony."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.physics.drift import drift_conductance

DOUBLE = torch.float64
FEW = settings(max_examples=100)
exponents = st.floats(0, 0.3)
decades = st.floats(0, 9)


def drifted(g: float, nu: float, t_s: float, t_0_s: float = 20.0) -> float:
    value = drift_conductance(
        torch.tensor([[g]], dtype=DOUBLE), torch.tensor([[nu]], dtype=DOUBLE), t_s, t_0_s
    )
    return float(value)


def test_values_worked_out_by_hand() -> None:
    assert drifted(10.0, 0.5, 2000.0) == pytest.approx(1.0), "100 ** -0.5 is a tenth"
    assert drifted(25.0, 0.05, 20.0 + 3600.0) == pytest.approx(25.0 * 181.0**-0.05)
    assert drifted(8.0, 1.0, 600.0, t_0_s=300.0) == pytest.approx(4.0)


def test_nothing_has_drifted_at_the_start_of_the_law() -> None:
    generator = torch.Generator().manual_seed(0)
    g, nu = torch.rand(20, 20, generator=generator) * 25, torch.rand(20, 20, generator=generator)
    assert torch.equal(drift_conductance(g, nu, 20.0, 20.0), g)


def test_a_device_without_drift_stays() -> None:
    g = torch.rand(20, 20, generator=torch.Generator().manual_seed(0)) * 25
    assert torch.equal(drift_conductance(g, torch.zeros_like(g), 3e8, 20.0), g)


def test_every_device_drifts_by_its_own_exponent() -> None:
    g, nu = torch.tensor([[1.0, 1.0], [2.0, 2.0]]), torch.tensor([[0.1, 0.2], [0.1, 0.0]])
    expected = [[10**-0.1, 10**-0.2], [2 * 10**-0.1, 2.0]]
    assert drift_conductance(g, nu, 200.0, 20.0).tolist() == [pytest.approx(row) for row in expected]


@given(exponents, decades, decades)
@FEW
def test_two_stretches_of_time_multiply(nu: float, first: float, second: float) -> None:
    t_1, t_2 = 20.0 * 10**first, 20.0 * 10 ** (first + second)
    halfway = drifted(25.0, nu, t_1)
    assert drifted(halfway, nu, t_2, t_0_s=t_1) == pytest.approx(drifted(25.0, nu, t_2))


@given(exponents, exponents, decades, decades)
@FEW
def test_more_time_or_a_larger_exponent_never_leaves_more(
    nu_1: float, nu_2: float, decade_1: float, decade_2: float
) -> None:
    small, large = sorted((nu_1, nu_2))
    early, late = sorted((decade_1, decade_2))
    assert drifted(25.0, large, 20.0 * 10**late) <= drifted(25.0, small, 20.0 * 10**early) <= 25.0


@given(st.floats(0, 25), exponents, decades, st.floats(0.1, 10))
@FEW
def test_drift_is_proportional_to_the_conductance(g: float, nu: float, decade: float, factor: float) -> None:
    t_s = 20.0 * 10**decade
    assert drifted(factor * g, nu, t_s) == pytest.approx(factor * drifted(g, nu, t_s))


def test_the_logarithm_of_the_conductance_falls_linearly_with_that_of_the_time() -> None:
    values = [math.log10(drifted(25.0, 0.07, 20.0 * 10**decade)) for decade in range(9)]
    steps = [later - earlier for earlier, later in itertools.pairwise(values)]
    assert steps == pytest.approx([-0.07] * 8)
