"""Layers and hardware that the tests of analog layers share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import ADC, DAC, Hardware, IdealDevice, Mapping, NoClip, PCMDevice, TileSize
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import map_layer


@pytest.fixture
def hardware() -> Callable[..., Hardware]:
    """Builds a hardware without any error but what is asked for."""

    def build(**changes: Any) -> Hardware:
        ideal = {
            "tile": TileSize(rows=16, cols=8),
            "device": IdealDevice(),
            "mapping": Mapping(clip=NoClip()),
            "dac": DAC(bits=None),
            "adc": ADC(bits=None, output_range=1e6),
            "output_noise": 0.0,
        }
        return Hardware(**{**ideal, **changes})

    return build


@pytest.fixture
def noisy(hardware: Callable[..., Hardware]) -> Hardware:
    """The published device and periphery on small tiles."""
    return hardware(device=PCMDevice(), dac=DAC(), adc=ADC(output_range=10.0), output_noise=0.04)


@pytest.fixture
def linear() -> nn.Linear:
    """40 inputs, 20 outputs, with a bias: 3 by 3 tiles."""
    layer = nn.Linear(40, 20)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        layer.weight.normal_(0, 0.1, generator=generator)
        layer.bias.normal_(generator=generator)
    return layer


@pytest.fixture
def x() -> Tensor:
    """A batch of 2 sequences of 5 tokens."""
    return torch.randn(2, 5, 40, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def mapped(linear: nn.Linear) -> Callable[[Hardware], AnalogLinear]:
    """Maps the layer onto a hardware."""
    return lambda hardware: map_layer(linear, "encoder.query", hardware)
