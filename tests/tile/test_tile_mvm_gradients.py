"""Straight-through gradients of the product, against finite differences of its expectation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from aimc_deploy.physics.random import stream
from aimc_deploy.tile.mvm import mvm
from aimc_deploy.tile.periphery import Periphery

IDEAL = Periphery(dac_bits=None, adc_bits=None, output_range=1e6, output_noise=0.0)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def gradients(
    x: Tensor, weight: Tensor, out: Tensor, periphery: Periphery, **settings: object
) -> tuple[Tensor, Tensor]:
    """Gradients of ``(mvm(x, weight) * out).sum()`` for both arguments."""
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    y = mvm(x, weight, periphery, **settings)  # type: ignore[arg-type]
    found = torch.autograd.grad((y * out).sum(), (x, weight))
    return found[0], found[1]


@pytest.mark.parametrize("batch", [(6,), (2, 3), (2, 1, 3)])
@pytest.mark.parametrize("input_range", [None, 50.0])
def test_without_errors_the_gradients_are_those_of_the_product(
    batch: tuple[int, ...], input_range: float | None
) -> None:
    x, weight, out = normal(*batch, 5), normal(4, 5, seed=1), normal(*batch, 4, seed=2)
    grad_x, grad_weight = gradients(x, weight, out, IDEAL, input_range=input_range)
    assert torch.allclose(grad_x, out @ weight)
    assert torch.allclose(grad_weight, out.reshape(-1, 4).T @ x.reshape(-1, 5))


def test_the_forward_pass_is_the_same_with_and_without_gradients() -> None:
    x, weight = normal(7, 12), normal(4, 12, seed=1)
    variance = torch.full_like(weight, 0.02)
    for noisy in (Periphery(6, 6, 10.0, 0.04), Periphery(None, 8, 2.0, 0.0)):
        for input_range in (None, 1.5):
            for read_variance in (None, variance):
                outputs = [
                    mvm(
                        x.clone().requires_grad_(needs),
                        weight,
                        noisy,
                        input_range=input_range,
                        read_variance=read_variance,
                        noise=stream("cpu", 5),
                    )
                    for needs in (False, True)
                ]
                assert torch.equal(outputs[0], outputs[1].detach())
                assert outputs[1].requires_grad


def test_read_noise_per_product_is_not_lost_when_gradients_are_recorded() -> None:
    count, variance = 20_000, 0.04
    x = torch.ones(count, 1, dtype=torch.float64).requires_grad_()
    y = mvm(
        x,
        torch.ones(1, 1, dtype=torch.float64),
        IDEAL,
        read_variance=torch.full((1, 1), variance, dtype=torch.float64),
        noise=stream("cpu", 0),
    )
    assert abs(float(y.detach().var()) - variance) < 4 * variance * math.sqrt(2 / count)
    y.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x)), "the noise is constant for the gradient"


def test_inputs_beyond_a_static_range_get_no_gradient() -> None:
    x = torch.tensor([[0.5, -2.0, 1.0, 3.0, -1.0]], dtype=torch.float64)
    weight, out = normal(3, 5), normal(1, 3, seed=1)
    for bits in (None, 8):
        grad_x, grad_weight = gradients(x, weight, out, Periphery(bits, None, 1e6, 0.0), input_range=1.0)
        inside = torch.tensor([[1.0, 0.0, 1.0, 0.0, 1.0]], dtype=torch.float64)
        assert torch.allclose(grad_x, inside * (out @ weight))
        # The weights see what the DAC lets through: the clamped, rounded inputs.
        seen = x.clamp(-1, 1) if bits is None else (x.clamp(-1, 1) * 127).round() / 127
        assert torch.allclose(grad_weight, out.T @ seen)


def test_no_input_is_beyond_a_dynamic_range() -> None:
    x, weight, out = normal(4, 5), normal(3, 5, seed=1), normal(4, 3, seed=2)
    grad_x, grad_weight = gradients(x, weight, out, Periphery(4, None, 1e6, 0.0))
    assert torch.allclose(grad_x, out @ weight)
    full_scale = x.abs().amax(dim=1, keepdim=True)
    assert torch.allclose(grad_weight, out.T @ ((x / full_scale * 7).round() / 7 * full_scale))


def test_outputs_beyond_the_adc_get_no_gradient() -> None:
    x = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    weight = torch.tensor([[1.0, 0.6], [1.0, -1.0]], dtype=torch.float64)  # outputs 1.3 and 0.5
    out = torch.tensor([[3.0, 5.0]], dtype=torch.float64)
    for bits in (None, 6):
        grad_x, grad_weight = gradients(x, weight, out, Periphery(None, bits, 1.0, 0.0))
        assert torch.allclose(grad_x, 5.0 * weight[1])
        assert torch.allclose(grad_weight, torch.stack([torch.zeros_like(x[0]), 5.0 * x[0]]))


@pytest.mark.parametrize("value", [0.2, 0.8, 1.1])
def test_the_mean_gradient_is_the_slope_of_the_mean_output_near_saturation(value: float) -> None:
    """``E clamp(w x + s N)`` has the slope ``w P(|w x + s N| < range)``."""
    count, slope, sigma, bound = 40_000, 0.7, 0.3, 1.0
    periphery = Periphery(None, None, bound, sigma)
    weight = torch.full((1, 1), slope, dtype=torch.float64)
    range_ = 1.0

    def outputs(x: float) -> Tensor:
        batch = torch.full((count, 1), x, dtype=torch.float64)
        return mvm(batch, weight, periphery, input_range=range_, noise=stream("cpu", 1))

    # Inputs inside the DAC's range; the weight alone brings the output near the ADC's.
    weight = weight * (value / slope)
    x = torch.full((count, 1), 0.9, dtype=torch.float64).requires_grad_()
    y = mvm(x, weight, periphery, input_range=range_, noise=stream("cpu", 2))
    (gradient,) = torch.autograd.grad(y.sum(), x)

    centre, factor = 0.9 * value, float(weight)
    inside = 0.5 * (
        math.erf((bound - centre) / sigma / math.sqrt(2)) + math.erf((bound + centre) / sigma / math.sqrt(2))
    )
    standard_error = factor * math.sqrt(inside * (1 - inside) / count)
    assert abs(float(gradient.mean()) - factor * inside) < 4 * standard_error
    # The same draws on both sides: a row's quotient is the slope or zero, but for those at the edge.
    step = 1e-3
    quotient = (outputs(0.9 + step) - outputs(0.9 - step)) / (2 * step)
    difference = float(quotient.mean() - gradient.mean())
    assert abs(difference) < 4 * math.sqrt(2) * standard_error


def test_the_gradient_is_the_slope_of_the_staircase_over_the_range() -> None:
    """Between the ends of the range a DAC of few bits rises by what its straight-through slope says."""
    weight = torch.tensor([[0.8]], dtype=torch.float64)
    points = torch.linspace(-1, 1, 2001, dtype=torch.float64).unsqueeze(1).requires_grad_()
    three_bits = Periphery(3, None, 1e6, 0.0)
    y = mvm(points, weight, three_bits, input_range=1.0)
    (slope,) = torch.autograd.grad(y.sum(), points)
    rise = float((y[-1] - y[0]).detach())
    assert rise == pytest.approx(float(torch.trapezoid(slope[:, 0], points[:, 0].detach())))
    assert len(y.detach().unique()) == 7


def test_only_what_needs_a_gradient_gets_one() -> None:
    x, weight = normal(4, 5).requires_grad_(), normal(3, 5, seed=1)
    mvm(x, weight, Periphery(8, 8, 10.0, 0.04)).sum().backward()
    assert x.grad is not None
    assert weight.grad is None
    frozen, trained = normal(4, 5), normal(3, 5, seed=1).requires_grad_()
    mvm(frozen, trained, Periphery(8, 8, 10.0, 0.04)).sum().backward()
    assert frozen.grad is None
    assert trained.grad is not None
    with torch.no_grad():
        assert not mvm(x, weight, IDEAL).requires_grad
