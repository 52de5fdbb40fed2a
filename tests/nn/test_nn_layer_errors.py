"""The SQNR of layers on a chip."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from aimc_deploy.config.hardware import Hardware, IdealDevice
from aimc_deploy.nn.convert import drift, map_layer, program
from aimc_deploy.nn.layer_errors import EXACT_DB, layer_errors

Build = Callable[..., Hardware]


def chain(hardware: Hardware) -> nn.Sequential:
    generator = torch.Generator().manual_seed(0)
    layers = []
    for name in ("first", "second"):
        linear = nn.Linear(16, 16)
        with torch.no_grad():
            linear.weight.copy_(torch.randn(16, 16, generator=generator))
        layers.append(map_layer(linear, name, hardware))
    model = nn.Sequential(*layers)
    program(model, 0, 0)
    drift(model, 0.0)
    return model


def test_noise_of_a_known_size_gives_a_known_ratio(hardware: Build) -> None:
    """Only output noise: its power is that of the noise, in units of each column's and token's largest."""
    model = chain(hardware(device=IdealDevice(), output_noise=0.05))
    x = torch.randn(5000, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), layer_errors(model) as found:
        model(x)
    layer = model[0]
    exact = x @ layer.weight.detach().T
    scale = layer.grid.w_scale()[0]
    noise = (0.05 * x.abs().amax(1, keepdim=True) * scale).square().sum()
    expected = 10 * math.log10(float(exact.square().sum() / noise))
    # 80,000 errors: their power is known to half a percent, 0.02 dB, for one standard error.
    assert found["first"] == pytest.approx(expected, abs=4 * 0.02)
    assert set(found) == {"first", "second"}


def test_the_errors_of_earlier_layers_do_not_count(hardware: Build) -> None:
    model = chain(hardware(device=IdealDevice(), output_noise=0.0))
    model[0] = chain(hardware(device=IdealDevice(), output_noise=0.5))[0]
    with torch.no_grad(), layer_errors(model) as found:
        model(torch.randn(50, 16))
    assert found["first"] < 20
    assert found["second"] > 100


def test_nothing_is_left_behind(hardware: Build) -> None:
    model = chain(hardware(device=IdealDevice()))
    with torch.no_grad(), layer_errors(model) as found:
        pass
    model(torch.randn(2, 16))
    assert found == {}
    assert not model[0]._forward_hooks
    for layer in model:
        layer.digital()
    with torch.no_grad(), layer_errors(model) as exact:
        model(torch.randn(2, 16))
    assert exact["second"] >= 100 or exact["second"] == EXACT_DB
