"""Hardware-aware training: converters and noise around frozen meta-weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import (
    ADC,
    DAC,
    FixedClip,
    Hardware,
    LayerGaussianClip,
    Mapping,
    NoClip,
    TileSize,
)
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import map_layer

Build = Callable[..., Hardware]
MapTo = Callable[[Hardware], AnalogLinear]


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Training noise comes from torch's own generator, which the trainer saves."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        yield


def test_without_noise_and_converters_it_is_the_plain_product(
    mapped: MapTo, hardware: Build, linear: nn.Linear, x: Tensor
) -> None:
    layer = mapped(hardware())
    layer.simulate(0.0)
    assert torch.allclose(layer(x), linear(x), rtol=1e-4, atol=1e-5)


def test_weight_noise_is_injected_only_in_training_mode(mapped: MapTo, hardware: Build, x: Tensor) -> None:
    layer = mapped(hardware())
    layer.simulate(0.067)
    layer.eval()
    state = torch.get_rng_state()
    assert torch.allclose(layer(x), nn.functional.linear(x, layer.weight, layer.bias), rtol=1e-4, atol=1e-5)
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn in evaluation"
    layer.train()
    first, second = layer(x), layer(x)
    assert not torch.equal(first, second), "a fresh draw in every pass"
    assert not torch.allclose(first, layer.eval()(x), rtol=1e-2)


def test_weight_noise_is_one_draw_for_the_whole_batch(mapped: MapTo, hardware: Build) -> None:
    layer = mapped(hardware())
    layer.simulate(0.067)
    x = torch.randn(1, 40).expand(6, 40)
    y = layer.train()(x)
    assert torch.allclose(y, y[:1].expand_as(y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scale", ["column", "tile"])
def test_weight_noise_has_the_size_asked_for(scale: str, hardware: Build) -> None:
    """0.067 of the largest weight that the scale covers, on every cell, with zero mean."""
    rows, cols, std = 300, 200, 0.067
    linear = nn.Linear(rows, cols, bias=False)
    nn.init.normal_(linear.weight, std=0.05)
    tile, mapping = TileSize(rows=512, cols=512), Mapping(clip=NoClip(), scale=scale)
    layer = map_layer(linear, "noisy", hardware(tile=tile, mapping=mapping))
    layer.simulate(std)
    delta = (layer.train()(torch.eye(rows)).T - layer.weight).double()
    largest = linear.weight.detach().abs().amax(dim=1, keepdim=True)
    if scale == "tile":
        largest = largest.max()
    share = delta / largest
    count = rows * cols
    assert abs(float(share.std()) - std) < 4 * std / math.sqrt(2 * count)
    assert abs(float(share.mean())) < 4 * std / math.sqrt(count)
    assert abs(float((delta * layer.weight).mean() / delta.std() / layer.weight.std())) < 4 / math.sqrt(count)


def test_converters_and_output_noise_are_there_in_both_modes(
    mapped: MapTo, hardware: Build, x: Tensor
) -> None:
    coarse = hardware(dac=DAC(bits=4), adc=ADC(bits=4, output_range=4.0), output_noise=0.0)
    layer = mapped(coarse)
    layer.simulate(0.0)
    trained, evaluated = layer.train()(x), layer.eval()(x)
    assert torch.equal(trained, evaluated)
    plain = nn.functional.linear(x, layer.weight, layer.bias)
    assert float((trained - plain).norm() / plain.norm()) > 0.02
    layer.program(0, 0)
    layer.drift(0.0)
    assert torch.allclose(layer(x), trained, rtol=1e-4, atol=1e-4), "an ideal chip computes the same"
    loud = mapped(hardware(output_noise=0.04))
    loud.simulate(0.0)
    for training in (True, False):
        loud.train(training)
        assert not torch.equal(loud(x), loud(x))


def test_gradients_reach_the_inputs_and_leave_the_frozen_weights(
    mapped: MapTo, noisy: Hardware, x: Tensor
) -> None:
    layer = mapped(noisy)
    layer.simulate(0.067)
    layer.train()
    inputs = x.clone().requires_grad_()
    layer(inputs).sum().backward()
    assert inputs.grad is not None
    assert bool((inputs.grad != 0).any(dim=-1).all())
    assert layer.weight.grad is None
    assert layer.bias.grad is None


def test_an_optimiser_step_on_everything_leaves_the_frozen_weights(
    mapped: MapTo, noisy: Hardware, x: Tensor
) -> None:
    """Weight decay and momentum reach every parameter they are given, frozen ones included in the list."""
    model = nn.Sequential(nn.Linear(40, 40), mapped(noisy), nn.Linear(20, 2))
    layer = model[1]
    assert isinstance(layer, AnalogLinear)
    layer.simulate(0.067)
    before = [parameter.detach().clone() for parameter in (layer.weight, layer.bias)]
    digital = model[0].weight.detach().clone()
    for optimizer in (
        torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.5),
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.5),
    ):
        for _ in range(3):
            optimizer.zero_grad()
            model.train()(x).square().mean().backward()
            optimizer.step()
    assert torch.equal(layer.weight, before[0])
    assert torch.equal(layer.bias, before[1])
    assert torch.equal(layer.grid.weight(), before[0])
    assert not torch.equal(model[0].weight, digital), "the optimisers did something"


@pytest.mark.parametrize("scale", ["column", "tile"])
def test_weights_under_training_are_clipped_and_scaled_as_the_mapping_will(
    scale: str, hardware: Build, linear: nn.Linear, x: Tensor
) -> None:
    """The classic baseline retrains all weights: what is simulated is what would be mapped."""
    described = hardware(
        mapping=Mapping(clip=LayerGaussianClip(sigma=2.0), scale=scale),
        dac=DAC(bits=6),
        adc=ADC(bits=6, output_range=4.0),
        tile=TileSize(rows=16, cols=512),
    )
    layer = map_layer(linear, "retrained", described)
    layer.requires_grad_(True)
    with torch.no_grad():
        layer.weight.mul_(torch.linspace(0.5, 3.0, 20).unsqueeze(1))
    layer.simulate(0.0)
    simulated = layer(x)
    fresh = nn.Linear(40, 20)
    fresh.load_state_dict(layer.state_dict())
    again = map_layer(fresh, "again", described)
    again.simulate(0.0)
    assert torch.allclose(simulated, again(x), rtol=1e-4, atol=1e-4)
    simulated.square().sum().backward()
    assert layer.weight.grad is not None
    bound = 2.0 * float(layer.weight.detach().double().std(correction=0))
    clipped = layer.weight.detach().abs() > bound
    assert bool(clipped.any())
    assert not layer.weight.grad[clipped].any(), "a clipped weight has no slope"


def test_a_clip_changes_what_the_layer_is_asked_to_hold(hardware: Build, linear: nn.Linear) -> None:
    layer = map_layer(linear, "clipped", hardware(mapping=Mapping(clip=FixedClip(value=0.1))))
    assert torch.allclose(layer.weight, linear.weight.clamp(-0.1, 0.1), rtol=1e-6, atol=0)
