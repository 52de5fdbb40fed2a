"""The analog layer: a plain linear layer until it is programmed, then a chip."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import Hardware, HermesDevice, PCMDevice, TileSize
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import map_layer

Build = Callable[..., Hardware]
MapTo = Callable[[Hardware], AnalogLinear]
YEAR = 31_536_000.0


def on_chip(layer: AnalogLinear, x: Tensor, t_s: float = 0.0, *, seed: int = 0, chip: int = 0) -> Tensor:
    layer.program(seed, chip)
    layer.drift(t_s)
    with torch.no_grad():
        return layer(x)


def test_it_is_a_linear_layer_to_everyone_who_asks(mapped: MapTo, noisy: Hardware) -> None:
    layer = mapped(noisy)
    assert isinstance(layer, nn.Linear)
    assert (layer.in_features, layer.out_features) == (40, 20)
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == {
        "weight": (20, 40),
        "bias": (20,),
    }, "a checkpoint looks like that of the layer it replaces"
    assert not any(parameter.requires_grad for parameter in layer.parameters())
    assert not any(parameter.is_meta for parameter in layer.parameters())


def test_before_it_is_programmed_it_is_the_plain_product(
    mapped: MapTo, noisy: Hardware, linear: nn.Linear, x: Tensor
) -> None:
    layer = mapped(noisy)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    assert torch.allclose(layer(x), linear(x), rtol=1e-5, atol=1e-6)


def test_an_ideal_chip_is_the_plain_product(
    mapped: MapTo, hardware: Build, linear: nn.Linear, x: Tensor
) -> None:
    for size in (16, 7, 512):
        layer = mapped(hardware(tile=TileSize(rows=size, cols=size)))
        assert torch.allclose(on_chip(layer, x, YEAR), linear(x), rtol=1e-4, atol=1e-5)


def test_the_bias_is_added_digitally_and_once(
    hardware: Build, noisy: Hardware, linear: nn.Linear, x: Tensor
) -> None:
    without = nn.Linear(40, 20, bias=False)
    without.weight = linear.weight
    bare, full = (map_layer(layer, "same", noisy) for layer in (without, linear))
    assert bare.bias is None
    with_bias = on_chip(full, x)
    # Summed in another order, so that the last digit may differ.
    assert torch.allclose(with_bias, on_chip(bare, x) + linear.bias, rtol=1e-6, atol=1e-6), (
        "three segments, one bias, no noise on it"
    )
    for layer in (bare, full):
        layer.simulate(0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        simulated = full(x)
        torch.manual_seed(0)
        assert torch.allclose(simulated, bare(x) + linear.bias, rtol=1e-6, atol=1e-6)


def test_segments_have_their_own_converters(mapped: MapTo, noisy: Hardware, x: Tensor) -> None:
    """Loud inputs to one tile do not coarsen the DAC of another."""
    layer = mapped(noisy.model_copy(update={"output_noise": 0.0}))
    first = layer.grid.layout.row_slices[0]
    alone, rest = x.clone(), 1000 * x
    alone[..., first.stop :] = 0
    rest[..., first] = 0
    together = on_chip(layer, alone + rest)
    assert torch.allclose(
        together, on_chip(layer, alone) + on_chip(layer, rest) - layer.bias, rtol=1e-6, atol=1e-4
    )
    assert float((together - on_chip(layer, rest)).abs().mean()) > 0.1, "the quiet tile says something"


def test_static_ranges_reach_the_converter_of_their_segment(mapped: MapTo, hardware: Build) -> None:
    layer = mapped(hardware())
    segments = [(part.stop - part.start) for part in layer.grid.layout.row_slices]
    layer.input_ranges = [0.5, 1.0, 2.0]
    found = on_chip(layer, torch.full((1, 40), 10.0))
    limits = torch.cat(
        [torch.full((size,), limit) for size, limit in zip(segments, layer.input_ranges, strict=True)]
    )
    assert torch.allclose(found, layer.weight @ limits + layer.bias, rtol=1e-4, atol=1e-5)
    layer.simulate(0.0)
    assert torch.allclose(layer(torch.full((1, 40), 10.0)), found, rtol=1e-4, atol=1e-5)


def test_a_chip_is_noisy_and_repeats(mapped: MapTo, noisy: Hardware, x: Tensor) -> None:
    layer = mapped(noisy)
    first = on_chip(layer, x, YEAR)
    assert torch.equal(on_chip(layer, x, YEAR), first)
    assert torch.equal(on_chip(mapped(noisy), x, YEAR), first), "nor does it depend on the object"
    digital = layer.weight
    error = float((first - nn.functional.linear(x, digital, layer.bias)).norm() / first.norm())
    assert 0.05 < error < 0.5
    for other in (on_chip(layer, x, YEAR, chip=1), on_chip(layer, x, YEAR, seed=1)):
        assert not torch.equal(other, first)


def test_output_noise_is_drawn_anew_in_every_pass(mapped: MapTo, hardware: Build, x: Tensor) -> None:
    layer = mapped(hardware(output_noise=0.04))
    first = on_chip(layer, x)
    with torch.no_grad():
        assert not torch.equal(layer(x), first)
    layer.drift(0.0)
    with torch.no_grad():
        assert torch.equal(layer(x), first), "coming to a time starts its noise again"


def test_read_noise_per_product_is_the_same_with_and_without_gradients(
    mapped: MapTo, hardware: Build, x: Tensor
) -> None:
    layer = mapped(hardware(device=PCMDevice(), read_noise_per="mvm"))
    without = on_chip(layer, x, YEAR)
    layer.drift(YEAR)
    assert torch.equal(layer(x.clone().requires_grad_()).detach(), without)


def test_drifting_needs_a_chip(mapped: MapTo, noisy: Hardware) -> None:
    with pytest.raises(RuntimeError, match=r"layer 'encoder.query' is not programmed: call program"):
        mapped(noisy).drift(0.0)


def test_programming_alone_leaves_the_layer_digital(mapped: MapTo, noisy: Hardware, x: Tensor) -> None:
    layer = mapped(noisy)
    layer.program(0, 0)
    assert torch.equal(layer(x), nn.functional.linear(x, layer.weight, layer.bias))


def test_going_digital_forgets_the_chip(mapped: MapTo, noisy: Hardware, x: Tensor) -> None:
    layer = mapped(noisy)
    plain = layer(x)
    for forget in (layer.digital, lambda: layer.set_hardware(noisy)):
        on_chip(layer, x)
        forget()
        assert torch.equal(layer(x), plain)
        with pytest.raises(RuntimeError, match="is not programmed"):
            layer.drift(0.0)


def test_other_converters_are_taken_and_another_g_max_is_refused(
    mapped: MapTo, hardware: Build, noisy: Hardware, x: Tensor
) -> None:
    layer = mapped(noisy)
    layer.set_hardware(hardware())
    plain = nn.functional.linear(x, layer.weight, layer.bias)
    assert torch.allclose(on_chip(layer, x), plain, rtol=1e-4, atol=1e-5), "the ideal device now"
    with pytest.raises(ValueError, match=r"'encoder.query' is mapped for g_max 25 uS, not 20.7 uS"):
        layer.set_hardware(hardware(device=HermesDevice()))


def test_programming_and_drifting_never_touch_the_meta_weights(
    mapped: MapTo, noisy: Hardware, x: Tensor
) -> None:
    layer = mapped(noisy)
    before = copy.deepcopy(layer.state_dict())
    for t_s in (0.0, 3600.0, YEAR):
        on_chip(layer, x, t_s)
    layer.simulate(0.067)
    layer.train()(x)
    for name, value in layer.state_dict().items():
        assert torch.equal(value, before[name])
    assert torch.equal(layer.grid.weight(), before["weight"])


def test_targets_go_where_the_layer_is(
    mapped: MapTo, noisy: Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The meta device stands for a GPU; it has no generators, so that only the move is seen.
    layer = mapped(noisy).to("meta")
    seen: list[set[str]] = []
    monkeypatch.setattr(
        "aimc_deploy.tile.grid.Grid.program",
        lambda grid, model, *names, hardware: seen.append({tile.g_plus.device.type for tile in grid.tiles}),
    )
    layer.program(0, 0)
    assert seen == [{"meta"}]


def test_the_error_after_programming_is_that_of_the_devices(hardware: Build) -> None:
    """One layer, many devices of one level: the spread of the outputs is the device's own."""
    count = 4000
    linear = nn.Linear(1, count, bias=False)
    nn.init.ones_(linear.weight)
    quiet = PCMDevice(read_noise_scale=0.0)
    layer = map_layer(linear, "one", hardware(device=quiet, tile=TileSize(rows=1, cols=count)))
    y = on_chip(layer, torch.ones(1, 1)).double().flatten()
    # g_plus at 25 uS, g_minus off: 1.05538 uS, and a rectified normal of 0.26348 uS.
    std = math.sqrt(1.05538**2 + 0.26348**2 * (0.5 - 0.5 / math.pi)) / 25
    mean = 1 - 0.26348 / 25 / math.sqrt(2 * math.pi)
    assert abs(float(y.std()) - std) < 4 * std / math.sqrt(2 * count)
    assert abs(float(y.mean()) - mean) < 4 * std / math.sqrt(count)
