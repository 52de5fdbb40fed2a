"""Putting analog layers in place, finding them, and moving all of them through time."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import Hardware, LayerGaussianClip, Mapping
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import (
    analog_layers,
    base_sha256,
    drift,
    map_layer,
    program,
    replace_layers,
    restore_layer,
)

Build = Callable[..., Hardware]


def tree() -> nn.Module:
    """Layers at several depths, one of which is repeated in shape and weights."""
    model = nn.Sequential()
    model.add_module("head", nn.Linear(6, 2))
    body = nn.Module()
    body.layers = nn.ModuleList([nn.Linear(6, 6), nn.Linear(6, 6, bias=False)])
    model.add_module("body", body)
    for index, parameter in enumerate(model.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(index))
    body.layers[1].weight = nn.Parameter(body.layers[0].weight.detach().clone())
    return model


def convert(model: nn.Module, hardware: Hardware) -> dict[str, AnalogLinear]:
    names = ("head", "body.layers.0", "body.layers.1")
    layers = {name: map_layer(model.get_submodule(name), name, hardware) for name in names}  # type: ignore[arg-type]
    replace_layers(model, layers)
    return layers


@pytest.fixture
def model(noisy: Hardware) -> nn.Module:
    model = tree()
    convert(model, noisy)
    return model


def test_layers_are_put_where_the_linear_ones_were(noisy: Hardware) -> None:
    model = tree()
    before = copy.deepcopy(model.state_dict())
    layers = convert(model, noisy)
    for name, layer in layers.items():
        assert model.get_submodule(name) is layer
    assert list(model.state_dict()) == list(before)
    for name, value in model.state_dict().items():
        assert torch.allclose(value, before[name], rtol=1e-6, atol=0)
    assert analog_layers(model) == layers


def test_layers_are_found_by_the_name_they_were_mapped_under(model: nn.Module) -> None:
    wrapped = nn.ModuleDict({"base_model": nn.ModuleDict({"model": model})})
    assert list(analog_layers(wrapped)) == ["head", "body.layers.0", "body.layers.1"]
    assert not analog_layers(tree())


def test_mapping_clips_and_takes_a_copy_of_the_bias(hardware: Build, linear: nn.Linear) -> None:
    original = copy.deepcopy(linear.state_dict())
    layer = map_layer(linear, "clipped", hardware(mapping=Mapping(clip=LayerGaussianClip(sigma=1.0))))
    bound = float(linear.weight.detach().double().std(correction=0))
    assert torch.allclose(layer.weight, linear.weight.clamp(-bound, bound), rtol=1e-6, atol=0)
    with torch.no_grad():
        layer.bias.zero_()
    for name, value in linear.state_dict().items():
        assert torch.equal(value, original[name]), "the layer that was mapped is untouched"


def test_a_layer_is_restored_from_its_tiles_bit_for_bit(
    noisy: Hardware, linear: nn.Linear, x: Tensor
) -> None:
    layer = map_layer(linear, "stored", noisy)
    empty = nn.Linear(40, 20)
    with torch.no_grad():
        empty.bias.copy_(linear.bias)
    restored = restore_layer(empty, "stored", layer.grid.tiles, noisy)
    assert torch.equal(restored.weight, layer.weight)
    assert torch.equal(restored.w_scale, layer.w_scale)
    outputs = []
    for each in (layer, restored):
        each.program(3, 1)
        each.drift(3600.0)
        outputs.append(each(x))
    assert torch.equal(outputs[0], outputs[1])


@pytest.mark.parametrize("training", [False, True])
def test_a_layer_keeps_the_mode_of_the_one_it_replaces(
    noisy: Hardware, linear: nn.Linear, training: bool
) -> None:
    """A model that was in evaluation mode gets no weight noise through its new layers."""
    linear.train(training)
    layer = map_layer(linear, "mode", noisy)
    assert layer.training is training
    assert restore_layer(linear, "mode", layer.grid.tiles, noisy).training is training


def test_all_layers_move_together_and_each_has_its_own_chip(model: nn.Module) -> None:
    program(model, seed=0, chip=0)
    drift(model, 3600.0)
    x = torch.eye(6)
    first, second = (model.get_submodule(f"body.layers.{index}") for index in (0, 1))
    assert torch.equal(first.weight, second.weight)
    responses = [layer(x) for layer in (first, second)]
    responses[0] = responses[0] - first.bias
    assert not torch.allclose(responses[0], responses[1], rtol=1e-2), "equal weights on other devices"
    assert not model.get_submodule("head")(x).requires_grad


def test_a_layers_chip_does_not_depend_on_the_other_layers(model: nn.Module, noisy: Hardware) -> None:
    program(model, seed=5, chip=2)
    drift(model, 60.0)
    expected = model.get_submodule("head")(torch.eye(6))
    alone = map_layer(tree().get_submodule("head"), "head", noisy)  # type: ignore[arg-type]
    alone.program(5, 2)
    alone.drift(60.0)
    assert torch.equal(alone(torch.eye(6)), expected)


def test_the_digest_is_of_what_the_tiles_were_asked_to_hold(model: nn.Module, noisy: Hardware) -> None:
    digest = base_sha256(model)
    program(model, seed=0, chip=0)
    drift(model, 3600.0)
    assert base_sha256(model) == digest, "not of what one chip holds"
    with torch.no_grad():
        model.get_submodule("head").bias.add_(1)
    assert base_sha256(model) == digest, "nor of what is digital"
    again = tree()
    convert(again, noisy)
    assert base_sha256(again) == digest, "the same weights give the same digest"


@pytest.mark.parametrize("what", ["weight", "w_scale", "g_plus", "g_minus"])
def test_the_digest_notices_the_smallest_change(model: nn.Module, what: str) -> None:
    digest = base_sha256(model)
    layer = model.get_submodule("body.layers.1")
    assert isinstance(layer, AnalogLinear)
    tensor = getattr(layer.grid.tiles[0] if what.startswith("g_") else layer, what)
    with torch.no_grad():
        tensor.view(-1)[0] = torch.nextafter(tensor.view(-1)[0], torch.tensor(100.0))
    assert base_sha256(model) != digest
