"""The digital factor that undoes the loss of conductance."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.physics.compensation import compensation_factor, read_out
from aimc_deploy.physics.converters import quantise_

REFERENCE = torch.tensor([2.0, 1.0, 3.0])
NOW = torch.tensor([1.0, 0.25, 0.75])


def test_read_out_is_the_mean_absolute_response_of_each_column() -> None:
    weight = torch.tensor([[0.5, -0.25, 0.0], [-1.0, 1.0, 1.0]])
    assert read_out(weight).tolist() == pytest.approx([0.25, 1.0])
    through_identity = (torch.eye(3) @ weight.T).abs().mean(dim=0)
    assert torch.equal(read_out(weight), through_identity)


def test_factors_worked_out_by_hand() -> None:
    assert compensation_factor(REFERENCE, NOW, "none").tolist() == [1.0, 1.0, 1.0]
    assert compensation_factor(REFERENCE, NOW, "global").tolist() == pytest.approx([3.0, 3.0, 3.0])
    assert compensation_factor(REFERENCE, NOW, "per_column").tolist() == pytest.approx([2.0, 4.0, 4.0])


def test_columns_that_conduct_nothing_keep_their_scale() -> None:
    nothing = torch.zeros(2)
    for kind in ("none", "global", "per_column"):
        assert compensation_factor(nothing, nothing, kind).tolist() == [1.0, 1.0]
        assert compensation_factor(torch.ones(2), nothing, kind).tolist() == [1.0, 1.0]
    half = compensation_factor(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 0.0]), "per_column")
    assert half.tolist() == [2.0, 1.0]


@given(st.floats(0.01, 1), st.integers(0, 2**31))
@settings(max_examples=60)
def test_a_loss_shared_by_all_devices_is_undone(left: float, seed: int) -> None:
    weight = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    for kind in ("global", "per_column"):
        factor = compensation_factor(read_out(weight), read_out(left * weight), kind)
        assert torch.allclose(factor, torch.full((5,), 1 / left), rtol=1e-5)


@given(st.lists(st.floats(0.01, 1), min_size=4, max_size=4), st.integers(0, 2**31))
@settings(max_examples=60)
def test_a_loss_of_each_column_is_undone_column_by_column(left: list[float], seed: int) -> None:
    weight = torch.randn(4, 6, generator=torch.Generator().manual_seed(seed))
    now = weight * torch.tensor(left).unsqueeze(1)
    factor = compensation_factor(read_out(weight), read_out(now), "per_column")
    assert torch.allclose(now * factor.unsqueeze(1), weight, rtol=1e-5)
    shared = compensation_factor(read_out(weight), read_out(now), "global")
    assert float(shared[0]) == pytest.approx(float(weight.abs().mean() / now.abs().mean()), rel=1e-5)


def test_the_read_out_is_what_a_noisy_converter_says_on_average_and_not_what_it_says_once() -> None:
    """A single pass rectifies its noise, which makes a drifted tile look stronger than it is."""
    generator = torch.Generator().manual_seed(0)
    rows = 64
    weight = torch.rand(32, rows, generator=generator) - 0.5
    drifted = 0.5 * weight
    noise, passes = 0.04, 400

    def passed(matrix: torch.Tensor) -> torch.Tensor:
        """Signed read-outs of the identity through output noise and an 8-bit ADC, one a pass."""
        currents = matrix.expand(passes, -1, -1)
        return quantise_(currents + noise * torch.randn(currents.shape, generator=generator), 8, 10.0)

    def factor(read: torch.Tensor, now: torch.Tensor) -> float:
        return float(compensation_factor(read, now, "global")[0])

    once = torch.tensor(
        [
            factor(first.abs().mean(dim=1), second.abs().mean(dim=1))
            for first, second in zip(passed(weight), passed(drifted), strict=True)
        ]
    ).double()
    averaged = factor(
        passed(weight).mean(dim=0).abs().mean(dim=1), passed(drifted).mean(dim=0).abs().mean(dim=1)
    )
    exact = factor(read_out(weight), read_out(drifted))
    assert exact == pytest.approx(2.0, rel=1e-6)
    # Noise and quantisation of one entry of the averages, against mean entries of 1/4 and 1/8; an error
    # is rectified only where an entry is smaller than it, which is second order.
    entry = math.sqrt(noise**2 + (10 / 127) ** 2 / 12) / math.sqrt(passes * drifted.numel())
    standard_error = 2.0 * math.hypot(entry / 0.25, entry / 0.125)
    assert abs(averaged - exact) < 4 * standard_error
    assert float(once.mean()) < exact - 20 * float(once.std()) / math.sqrt(passes), "the bias to avoid"
