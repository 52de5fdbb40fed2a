"""Training on chips: another one whenever it is asked for, each layer at an age of its own."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import Hardware, PCMDevice
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import bypassed, map_layer, sample_chip

Build = Callable[..., Hardware]
MapTo = Callable[[Hardware], AnalogLinear]

TEN_YEARS_S = 3.1536e8


def test_the_same_names_give_the_same_chip_and_others_another(
    mapped: MapTo, noisy: Hardware, x: Tensor
) -> None:
    layer = mapped(noisy)
    found = []
    for names in ((0, "training", 0), (0, "training", 0), (0, "training", 1), (1, "training", 0)):
        layer.sample_chip(0.0, TEN_YEARS_S, *names)
        found.append(layer(x))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[3])


def test_no_training_chip_is_one_that_is_evaluated(mapped: MapTo, hardware: Build, x: Tensor) -> None:
    layer = mapped(hardware(device=PCMDevice()))
    layer.sample_chip(0.0, 0.0, 0, "training", 0)
    sampled = layer(x)
    layer.program(0, 0)
    layer.drift(0.0)
    assert not torch.allclose(layer(x), sampled, rtol=1e-2)


def test_layers_have_ages_of_their_own(noisy: Hardware) -> None:
    """The compensation undoes the mean loss, so that it tells the age."""
    linear = nn.Linear(40, 20)
    model = nn.Sequential(*[map_layer(linear, f"layer.{index}", noisy) for index in range(4)])
    sample_chip(model, 0.0, TEN_YEARS_S, 0, "training", 3)
    factors = {float((layer._segments[0].out_scale / layer.w_scale[0]).mean()) for layer in model}
    assert len(factors) == 4


def test_ages_are_uniform_in_the_logarithm_of_time(
    mapped: MapTo, hardware: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = mapped(hardware(device=PCMDevice()))
    ages: list[float] = []
    monkeypatch.setattr(
        "aimc_deploy.tile.grid.ProgrammedGrid.drift", lambda grid, age_s, hardware: ages.append(age_s)
    )
    count = 300
    for step in range(count):
        layer.sample_chip(0.0, TEN_YEARS_S, 0, "training", step)
    shares = torch.tensor([math.log(age / 20 + 1) / math.log(TEN_YEARS_S / 20 + 1) for age in ages])
    assert 0 <= float(shares.min()) < 0.05
    assert 0.95 < float(shares.max()) <= 1
    assert abs(float(shares.mean()) - 0.5) < 4 / math.sqrt(12 * count)
    # Fourth moment of the uniform distribution about its middle: 1/80.
    error = math.sqrt((1 / 80 - 1 / 144) / count)
    assert abs(float((shares - 0.5).square().mean()) - 1 / 12) < 4 * error


def test_it_is_the_chip_that_programming_and_drifting_give(mapped: MapTo, hardware: Build, x: Tensor) -> None:
    """At the age of zero: the same statistics as a chip that is evaluated."""
    layer = mapped(hardware(device=PCMDevice(), drift_compensation="global"))
    plain = nn.functional.linear(x, layer.weight, layer.bias)
    errors: dict[str, list[float]] = {"sampled": [], "programmed": []}
    chips = 60
    for chip in range(chips):
        layer.sample_chip(0.0, 0.0, 0, "training", chip)
        errors["sampled"].append(float((layer(x) - plain).norm() / plain.norm()))
        layer.program(0, chip)
        layer.drift(0.0)
        errors["programmed"].append(float((layer(x) - plain).norm() / plain.norm()))
    sampled, programmed = (torch.tensor(values) for values in errors.values())
    error = math.sqrt(float(sampled.var() + programmed.var()) / chips)
    assert abs(float(sampled.mean() - programmed.mean())) < 4 * error


def test_gradients_reach_the_inputs_through_a_sampled_chip(mapped: MapTo, noisy: Hardware, x: Tensor) -> None:
    layer = mapped(noisy)
    layer.sample_chip(0.0, TEN_YEARS_S, 0, "training", 0)
    inputs = x.clone().requires_grad_()
    layer(inputs).sum().backward()
    assert inputs.grad is not None
    assert bool((inputs.grad != 0).any(dim=-1).all())
    assert layer.weight.grad is None


def test_a_sampled_chip_cannot_be_moved_to_another_time(mapped: MapTo, noisy: Hardware) -> None:
    layer = mapped(noisy)
    layer.program(0, 0)
    layer.sample_chip(0.0, TEN_YEARS_S, 0, "training", 0)
    with pytest.raises(RuntimeError, match="is not programmed"):
        layer.drift(60.0)


def test_the_level_moves_a_chip_from_its_target_to_itself_and_beyond(mapped: MapTo, noisy: Hardware) -> None:
    layer = mapped(noisy)
    weights = {}
    for level in (0.0, 0.5, 1.0, 2.0):
        layer.sample_chip(0.0, TEN_YEARS_S, 0, "training", 0, level=level)
        segment = layer._segments[0]
        weights[level] = (segment.weight, segment.out_scale)
    rows = layer.grid.layout.row_slices[0]
    target = layer.weight[:, rows]
    torch.testing.assert_close(weights[0.0][0] * weights[0.0][1].unsqueeze(1), target)
    for part in (0, 1):
        whole = weights[1.0][part] - weights[0.0][part]
        for level in (0.5, 2.0):
            torch.testing.assert_close(weights[level][part] - weights[0.0][part], level * whole)


def test_a_span_of_ages_is_kept(mapped: MapTo, hardware: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = mapped(hardware(device=PCMDevice()))
    ages: list[float] = []
    monkeypatch.setattr(
        "aimc_deploy.tile.grid.ProgrammedGrid.drift", lambda grid, age_s, hardware: ages.append(age_s)
    )
    for step in range(400):
        layer.sample_chip(86_400.0, TEN_YEARS_S, 0, "training", step)
    assert 86_400 <= min(ages) < 100_000
    assert 2.8e8 < max(ages) <= TEN_YEARS_S
    # Half of them below the geometric mean: 400 draws, a standard error of 0.025.
    middle = math.sqrt((86_400 + 20) * (TEN_YEARS_S + 20)) - 20
    assert abs(sum(age < middle for age in ages) / 400 - 0.5) < 4 * 0.025


def test_what_is_bypassed_is_the_plain_product_and_the_chip_is_there_afterwards(
    mapped: MapTo, noisy: Hardware, x: Tensor
) -> None:
    layer = mapped(noisy)
    layer.sample_chip(0.0, TEN_YEARS_S, 0, "training", 0)
    before = layer._segments
    with bypassed(layer):
        torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
    assert layer._segments is before
    assert not torch.allclose(layer(x), nn.functional.linear(x, layer.weight, layer.bias))
