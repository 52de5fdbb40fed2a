"""Response functions, against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aimc_deploy.config.training_device import LinearResponse
from aimc_deploy.physics.random import Stream
from aimc_deploy.physics.response import CycleNoise, Response
from aimc_deploy.physics.response_families import (
    Exponential,
    ExponentialStep,
    Ideal,
    Linear,
    Piecewise,
    Power,
    response,
)

ONE = torch.ones((), dtype=torch.float64)
FAMILIES = ["ideal", "linear", "part linear", "power", "exponential", "exp_step", "piecewise"]


def family(kind: str, high: float = 1.0, low: float = -1.0, up: float = 1.0, down: float = 1.0) -> Response:
    bounds = (low * ONE, high * ONE, up * ONE, down * ONE)
    return {
        "ideal": lambda: Ideal(*bounds),
        "linear": lambda: Linear(*bounds),
        "part linear": lambda: Linear(*bounds, 0.3, 0.6),
        "power": lambda: Power(*bounds, 2.5),
        "exponential": lambda: Exponential(*bounds, 4.0),
        "exp_step": lambda: ExponentialStep(*bounds, -1.2, -0.08, 5.0, 5.0, -0.5, -0.5),
        "piecewise": lambda: Piecewise(*bounds, (2.0, 1.5, 1.0, 0.1), (0.2, 0.9, 1.4, 1.5)),
    }[kind]()


def test_the_families_are_what_the_paper_writes() -> None:
    w, tau, g = torch.linspace(-0.59, 0.59, 41, dtype=torch.float64), 0.6, 2.5
    assert torch.equal(family("ideal", tau, -tau).q_plus(w), torch.ones_like(w))
    linear = family("linear", tau, -tau)
    torch.testing.assert_close(linear.q_plus(w), 1 - w / tau, rtol=1e-13, atol=0)
    torch.testing.assert_close(linear.q_minus(w), 1 + w / tau, rtol=1e-13, atol=0)
    power = family("power", tau, -tau)
    torch.testing.assert_close(power.q_plus(w), (1 - w / tau) ** g, rtol=1e-13, atol=0)
    torch.testing.assert_close(power.q_minus(w), (1 + w / tau) ** g, rtol=1e-13, atol=0)
    exponential, g = family("exponential", tau, -tau), 4.0
    expected = (torch.exp(g * (1 - w / tau)) - 1) / (math.exp(g) - 1)
    torch.testing.assert_close(exponential.q_plus(w), expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(exponential.q_minus(w), expected.flip(0), rtol=1e-12, atol=0)


def test_a_power_of_one_is_linear_and_so_is_a_table_of_two() -> None:
    w = torch.linspace(-1, 1, 33, dtype=torch.float64)
    linear = family("linear")
    for other in (Power(-ONE, ONE, ONE, ONE, 1.0), Piecewise(-ONE, ONE, ONE, ONE, (2.0, 0.0), (0.0, 2.0))):
        torch.testing.assert_close(other.q_plus(w), linear.q_plus(w), rtol=0, atol=1e-15)
        torch.testing.assert_close(other.q_minus(w), linear.q_minus(w), rtol=0, atol=1e-15)


def test_a_table_is_met_at_its_points() -> None:
    table = family("piecewise")
    at = torch.linspace(-1, 1, 4, dtype=torch.float64)
    up = torch.tensor([2.0, 1.5, 1.0, 0.1], dtype=torch.float64)
    down = torch.tensor([0.2, 0.9, 1.4, 1.5], dtype=torch.float64)
    torch.testing.assert_close(table.q_plus(at), up, rtol=0, atol=1e-14)
    torch.testing.assert_close(table.q_minus(at), down, rtol=0, atol=1e-14)


@given(
    kind=st.sampled_from(FAMILIES),
    high=st.floats(0.1, 3),
    low=st.floats(-3, -0.1),
    up=st.floats(0.2, 3),
    down=st.floats(0.2, 3),
    at=st.floats(0, 1),
)
def test_parts_add_up_and_the_symmetric_point_is_a_zero(
    kind: str, high: float, low: float, up: float, down: float, at: float
) -> None:
    found = family(kind, high, low, up, down)
    v = torch.tensor(low + (high - low) * at, dtype=torch.float64)
    assert found.q_plus(v) >= -1e-12
    assert found.q_minus(v) >= -1e-12
    f, g = found.symmetric(v), found.asymmetric(v)
    rounding = 1e-14 * float(f.abs() + g.abs())
    torch.testing.assert_close(f - g, found.q_plus(v), rtol=1e-12, atol=rounding)
    torch.testing.assert_close(f + g, found.q_minus(v), rtol=1e-12, atol=rounding)
    # What saturation is made of: M = F^2 - G^2 = q_plus q_minus.
    torch.testing.assert_close(
        f**2 - g**2, found.q_plus(v) * found.q_minus(v), rtol=1e-10, atol=4 * rounding * float(f)
    )
    net, total = torch.tensor(0.02).double(), torch.tensor(0.05).double()
    torch.testing.assert_close(found.moved(v, net, total), v + net * f - total * g, rtol=1e-12, atol=rounding)
    point = found.symmetric_point()
    assert low - 1e-12 <= point <= high + 1e-12
    if low + 1e-9 < point < high - 1e-9:
        torch.testing.assert_close(found.asymmetric(point), torch.zeros_like(point), rtol=0, atol=1e-9)
    elif up != down or kind == "piecewise":  # driven to a bound
        outwards = -found.asymmetric(point) if point > 0 else found.asymmetric(point)
        assert outwards >= -1e-9


@pytest.mark.parametrize("c", [0.0, 0.1, 0.2, 0.3])
def test_generic_linear(c: float) -> None:
    tau = 3.5
    found = family("linear", tau, -tau, 1 + c, 1 - c)
    torch.testing.assert_close(found.symmetric_point(), c * tau * ONE, rtol=1e-13, atol=1e-13)
    w = torch.linspace(-tau, tau, 9, dtype=torch.float64)
    torch.testing.assert_close(found.symmetric(w), 1 - c * w / tau, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(found.asymmetric(w), w / tau - c, rtol=1e-13, atol=1e-13)


def test_asymmetric_bounds() -> None:
    found = family("linear", 1.25, -0.75, 1.1, 0.9)
    expected = (1.1 - 0.9) / (1.1 / 1.25 + 0.9 / 0.75)
    torch.testing.assert_close(found.symmetric_point(), expected * ONE, rtol=1e-13, atol=0)
    torch.testing.assert_close(Response.symmetric_point(found), expected * ONE, rtol=1e-13, atol=0)


def test_one_sided_bias_is_not_the_papers() -> None:
    """aihwkit's ``up_down`` makes pulses of one direction smaller only: tau c / (2 - c), not c tau."""
    found = family("linear", 0.6, -0.6, 1.0, 0.7)
    torch.testing.assert_close(found.symmetric_point(), 0.6 * 0.3 / 1.7 * ONE, rtol=1e-13, atol=0)


def test_devices_that_differ_have_symmetric_points_of_their_own() -> None:
    up = torch.tensor([1.2, 1.0, 0.7], dtype=torch.float64)
    down = torch.tensor([0.8, 1.0, 1.0], dtype=torch.float64)
    linear = Linear(-ONE, ONE, up, down)
    torch.testing.assert_close(linear.symmetric_point(), (up - down) / (up + down))
    power = Power(-ONE, ONE, up, down, 2.0)
    root = ((up / down).sqrt() - 1) / ((up / down).sqrt() + 1)
    torch.testing.assert_close(power.symmetric_point(), root, rtol=1e-12, atol=1e-12)


def test_without_a_symmetric_point_it_is_where_pairs_of_pulses_end() -> None:
    assert family("ideal", up=1.1).symmetric_point() == 1
    assert family("ideal", down=1.1).symmetric_point() == -1
    assert family("ideal").symmetric_point() == 0
    flat = Linear(-ONE, ONE, 1.2 * ONE, ONE, 0.05, 0.05)
    assert flat.symmetric_point() == 1  # the lines cross beyond the bound


@pytest.mark.parametrize("noise", [None, CycleNoise(0.01, False), CycleNoise(0.01, True)], ids=str)
@pytest.mark.parametrize("cols", [6, 7])
def test_one_pass_over_devices_that_differ_does_the_same(noise: CycleNoise | None, cols: int) -> None:
    """The compiled loop against the operations one by one; one device is stuck, some steps go to a bound."""
    draw = torch.Generator().manual_seed(0)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(5, cols, generator=draw)

    low, high, up, down = uniform(-0.8, -0.4), uniform(0.4, 0.8), uniform(0.7, 1.3), uniform(0.7, 1.3)
    up[2, 3] = down[2, 3] = 0
    q = response(LinearResponse(slope_down=0.5), low, high, up, down)
    v, net = uniform(-0.4, 0.4), uniform(-1.5, 1.5)
    total = net.abs() + uniform(0, 0.3) * (uniform(0, 1) > 0.5)
    one, each = Stream("cpu", 1), Stream("cpu", 1)
    found, expected = (
        kind.pulsed(q, v, net, total, noise, draws) for kind, draws in ((Linear, one), (Response, each))
    )
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert found[2, 3] == v[2, 3]
    assert bool((found == low).any() | (found == high).any())
    assert not torch.equal(found, q.moved(v, net, total)), "bounds were met"
