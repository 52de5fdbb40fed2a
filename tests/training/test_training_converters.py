"""Converters and output noise around arrays that learn, forwards and backwards."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.in_memory import AdaptInMemory, Converters, InMemory
from aimc_deploy.training.layer import AnalogTrainLinear, train_in_memory
from aimc_deploy.training.optimizer import AnalogOptimizer, digital_parameters

IDEAL = {"dac_bits": None, "adc_bits": None, "output_noise": 0.0, "output_range": 1e4}
QUIET = {"output_noise": 0.0}


def layer(converters: dict[str, Any] | None, inputs: int = 48, outputs: int = 32) -> AnalogTrainLinear:
    torch.manual_seed(0)
    settings = InMemory.model_validate({"converters": converters, "algorithm": {"kind": "analog_sgd"}})
    return AnalogTrainLinear.of(nn.Linear(inputs, outputs), settings, 0, "layer")


def passes(converters: dict[str, Any] | None) -> tuple[Tensor, Tensor, Tensor]:
    """Outputs, gradient by the inputs, and the gradients that the array gets."""
    one = layer(converters)
    x = torch.randn(2, 100, 48, generator=torch.Generator().manual_seed(1), requires_grad=True)
    y = one(x)
    y.sin().sum().backward()
    assert x.grad is not None
    return y.detach(), x.grad, one.captured[0][1]


def test_ideal_converters_are_none() -> None:
    for found, expected in zip(passes(IDEAL), passes(None), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_eight_bits_are_near_and_two_are_not() -> None:
    """In units of (bound x largest input), a unit of an 8-bit ADC with a range of 4 is 0.03."""
    exact = passes(None)

    def errors(bits: int, output_range: float) -> list[float]:
        found = passes(QUIET | {"dac_bits": bits, "adc_bits": bits, "output_range": output_range})
        return [float((one - other).norm() / other.norm()) for one, other in zip(found, exact, strict=True)]

    forwards, backwards, _ = errors(8, 4.0)
    assert 1e-3 < forwards < 0.05
    assert 1e-3 < backwards < 0.05
    few = errors(2, 4.0)
    assert few[0] > 10 * forwards
    assert few[1] > 10 * backwards


def test_codes_are_whole_in_both_directions() -> None:
    one = layer(QUIET | {"dac_bits": None, "adc_bits": 3, "output_range": 2.0})
    x = torch.randn(20, 48, requires_grad=True)
    y = one(x)
    unit = 2.0 / 3 * 0.6 * x.detach().abs().amax(1, keepdim=True)
    codes = (y.detach() - one.bias.detach()) / one.out_scale.detach() / unit
    assert (codes - codes.round()).abs().max() < 1e-4
    assert set(codes.round().unique().tolist()) <= set(range(-3, 4))
    assert len(codes.round().unique()) > 3
    g = torch.randn(20, 32)
    y.backward(g)
    (_, d), unit = one.captured[0], 2.0 / 3 * 0.6
    codes = x.grad / d.abs().amax(1, keepdim=True) / unit  # type: ignore[operator]
    assert (codes - codes.round()).abs().max() < 1e-4
    assert len(codes.round().unique()) > 3


def test_gradients_stop_where_the_adc_is_out_of_its_range() -> None:
    one = layer(IDEAL | {"output_range": 0.5})
    x = torch.randn(50, 48)
    out = (x @ one.weight.detach().T).abs() > 0.5 * 0.6 * x.abs().amax(1, keepdim=True)
    assert 0.02 < out.double().mean() < 0.98
    one(x).sum().backward()
    _, d = one.captured[0]
    assert torch.equal(d == 0, out)


def test_output_noise_has_its_size_and_follows_torchs_generator() -> None:
    one = layer(IDEAL | {"output_noise": 0.05})
    x = torch.ones(4000, 48)
    with torch.no_grad():
        torch.manual_seed(3)
        first, second = one(x), one(x)
        torch.manual_seed(3)
        again = one(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    spread = (first / one.out_scale).std(0).mean().item()
    # 1.28e5 values: a standard error of 0.2 % of the standard deviation
    assert spread == pytest.approx(0.05 * 0.6, rel=0.01)


def loss_after_training(converters: dict[str, Any] | None) -> float:
    """Of a small network that learns a smooth function by residual learning; measured without converters."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 24), nn.Tanh(), nn.Linear(24, 4))
    settings = InMemory.model_validate({"converters": converters, "algorithm": {"columns": 8}})
    layers = train_in_memory(model, settings)
    optimizer = AnalogOptimizer(model, 0.05, torch.optim.SGD(digital_parameters(model), 0.05))
    draw = torch.Generator().manual_seed(0)
    target = torch.randn(16, 4, generator=draw) / 4
    for _ in range(400):
        x = torch.randn(16, 16, generator=draw)
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), (x @ target).sin()).backward()
        optimizer.step()
    for one in layers.values():
        one.borders = None
    x = torch.randn(500, 16, generator=draw)
    with torch.no_grad():
        return nn.functional.mse_loss(model(x), (x @ target).sin()).item()


def test_a_network_learns_through_eight_bits_and_worse_through_two() -> None:
    ideal, eight = loss_after_training(None), loss_after_training({"output_range": 4.0, "output_noise": 0.01})
    two = loss_after_training({"dac_bits": 2, "adc_bits": 2, "output_range": 4.0, "output_noise": 0.01})
    assert loss_after_training(IDEAL) == pytest.approx(ideal, rel=0.02)
    assert eight < 1.5 * ideal
    assert two > 3 * ideal


def test_those_of_the_tiles() -> None:
    hardware = Hardware.model_validate({"dac": {"bits": 6}, "adc": {"bits": 7, "output_range": 9.0}})
    assert Converters.of(hardware) == Converters(
        dac_bits=6, adc_bits=7, output_range=9.0, output_noise=hardware.output_noise
    )


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        (InMemory, {"dac_bits": 1}),
        (InMemory, {"output_range": 0.0}),
        (InMemory, {"output_noise": -0.1}),
        (InMemory, "hardware"),
        (AdaptInMemory, "tiles"),
    ],
)
def test_what_cannot_be_is_refused(settings: type[InMemory], wrong: object) -> None:
    with pytest.raises(ValidationError, match="converters"):
        settings.model_validate({"converters": wrong})
