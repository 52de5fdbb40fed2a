"""A layer that learns in memory: forward, backward, what it captures, its place in a model."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.errors import ModelError
from aimc_deploy.training.layer import AnalogTrainLinear, analog_layers, train_in_memory

IDEAL = {"response": {"kind": "ideal"}, "tau": 100.0, "dw_min": 1e-3}


def settings(**changes: object) -> InMemory:
    return InMemory.model_validate({"device": IDEAL, "algorithm": {"kind": "analog_sgd"}, **changes})


@pytest.fixture
def linear() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(6, 4)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 5, 6)], ids=str)
def test_it_computes_what_the_layer_did(linear: nn.Linear, shape: tuple[int, ...]) -> None:
    layer = AnalogTrainLinear.of(linear, settings(), 0, "layer")
    x = torch.randn(shape, requires_grad=True)
    y = layer(x)
    torch.testing.assert_close(y, linear(x), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(layer.effective_weight(), linear.weight.detach(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(layer.digital()(x), linear(x), rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(y.square().sum(), x)
    (expected,) = torch.autograd.grad(linear(x).square().sum(), x)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 5, 6)], ids=str)
def test_a_step_on_ideal_devices_is_one_of_sgd(linear: nn.Linear, shape: tuple[int, ...]) -> None:
    layer = AnalogTrainLinear.of(linear, settings(learn_scale=False), 0, "layer")
    x = torch.randn(shape)
    layer(x).square().sum().backward()
    assert layer.weight.grad is None
    assert layer.out_scale.grad is None
    linear(x).square().sum().backward()
    assert linear.weight.grad is not None
    assert layer.bias.grad is not None
    torch.testing.assert_close(layer.bias.grad, linear.bias.grad, rtol=1e-5, atol=1e-6)
    before, lr = layer.effective_weight(), 1e-3
    layer.learn(lr)
    # The scale stands before and behind the array: the step of the weight has its square.
    expected = -lr * layer.out_scale.item() ** 2 * linear.weight.grad
    torch.testing.assert_close(layer.effective_weight() - before, expected, rtol=1e-3, atol=1e-7)
    assert not layer.captured


def test_passes_add_up_until_a_step(linear: nn.Linear) -> None:
    one = AnalogTrainLinear.of(linear, settings(), 0, "layer")
    two = AnalogTrainLinear.of(linear, settings(), 0, "layer")
    x = torch.randn(8, 6)
    one(x).square().sum().backward()
    two(x[:3]).square().sum().backward()
    two(x[3:]).square().sum().backward()
    assert len(two.captured) == 2
    one.learn(1e-3)
    two.learn(1e-3)
    torch.testing.assert_close(one.weight, two.weight, rtol=1e-6, atol=1e-7)


def test_the_gradient_flows_through_the_mixed_weight(linear: nn.Linear) -> None:
    algorithm = {"kind": "residual", "gamma": 0.5}
    layer = AnalogTrainLinear.of(linear, settings(algorithm=algorithm), 0, "layer")
    x = torch.randn(3, 6, requires_grad=True)
    for _ in range(3):
        layer(x).square().sum().backward()
        layer.learn(0.01)
    part = layer.algorithm
    mixed = part.w.weight() + 0.5 * part.p.weight()  # type: ignore[union-attr]
    torch.testing.assert_close(layer.weight.detach(), mixed)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    expected = (mixed * layer.out_scale).sum(0).detach().expand(3, 6)
    torch.testing.assert_close(gradient, expected, rtol=1e-5, atol=1e-6)


def test_the_scale_is_learned_where_it_is_to_be(linear: nn.Linear) -> None:
    layer = AnalogTrainLinear.of(linear, settings(), 0, "layer")
    x = torch.randn(5, 6)
    layer(x).sum().backward()
    assert layer.out_scale.grad is not None
    expected = (x @ layer.weight.detach().T).sum()
    torch.testing.assert_close(layer.out_scale.grad, expected, rtol=1e-4, atol=1e-4)


def test_weights_are_brought_to_their_range_and_no_further(linear: nn.Linear) -> None:
    soft = settings(device={"tau": 0.6}, rms=0.25)
    layer = AnalogTrainLinear.of(linear, soft, 0, "layer")
    assert layer.weight.square().mean().sqrt().item() == pytest.approx(0.15, rel=1e-4)
    tight = AnalogTrainLinear.of(linear, settings(device={"tau": 0.6}, rms=0.9), 0, "layer")
    assert tight.weight.abs().max().item() == pytest.approx(0.6)


def test_zeros_stay_zeros(linear: nn.Linear) -> None:
    nn.init.zeros_(linear.weight)
    layer = AnalogTrainLinear.of(linear, settings(device={"tau": 0.6}), 0, "layer")
    assert layer.weight.abs().max() == 0
    assert 0 < layer.out_scale < 10


def test_without_gradients_nothing_is_captured(linear: nn.Linear) -> None:
    layer = AnalogTrainLinear.of(linear, settings(), 0, "layer")
    with torch.no_grad():
        layer(torch.randn(3, 6))
    layer(torch.randn(3, 6))  # no backward pass
    layer.learn(0.1)
    assert layer.algorithm.steps == 0


def test_only_the_weight_is_in_the_state_of_a_model(linear: nn.Linear) -> None:
    layer = AnalogTrainLinear.of(linear, settings(algorithm={"kind": "tt_v2"}), 0, "layer")
    assert sorted(layer.state_dict()) == ["bias", "out_scale", "weight"]
    other = AnalogTrainLinear.of(nn.Linear(6, 4), settings(algorithm={"kind": "tt_v2"}), 1, "layer")
    other.load_state_dict(layer.state_dict())
    x = torch.randn(2, 6)
    assert torch.equal(layer(x), other(x))


@pytest.mark.parametrize(
    "kind",
    ["residual", "residual_v2", "tt_v2", "chopped_tt_v2", "agad", "e_rider", "multi_tile", "mixed_precision"],
)
def test_merging_keeps_what_the_layer_computes(linear: nn.Linear, kind: str) -> None:
    algorithm: dict[str, object] = {"kind": kind}
    if kind not in ("multi_tile", "mixed_precision"):
        algorithm |= {"columns": 6, "gamma": 0.3, "calibration": {"kind": "oracle"}}
    device = {"tau": 1.0, "states": 1200, "bias": 0.1}
    layer = AnalogTrainLinear.of(linear, settings(algorithm=algorithm, device=device), 0, "layer")
    x = torch.randn(16, 6)
    for _ in range(5):
        (layer(x).square().mean()).backward()
        layer.learn(0.05)
    before = layer.weight.detach().clone()
    layer.merge()
    torch.testing.assert_close(layer.weight.detach(), before, rtol=0, atol=1e-6)
    first = next(array for _, array in layer.algorithm.arrays())
    torch.testing.assert_close(first.weight(), before, rtol=0, atol=1e-6)


def test_layers_are_chosen_by_their_names() -> None:
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.ModuleDict({"head": nn.Linear(5, 2)}))
    found = train_in_memory(model, settings(), "*head")
    assert list(found) == list(analog_layers(model)) == ["2.head"]
    assert type(model[0]) is nn.Linear
    with pytest.raises(ModelError, match=r"no linear layer that is trained .* fits '9\*': the names are 0"):
        train_in_memory(model, settings(), "9*")
    assert list(train_in_memory(model, settings())) == ["0"]
