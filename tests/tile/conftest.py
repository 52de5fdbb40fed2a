"""Hardware and weights that the tests of tiles share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from aimc_deploy.config.hardware import ADC, DAC, Hardware, IdealDevice, Mapping, NoClip


@pytest.fixture
def hardware() -> Callable[..., Hardware]:
    """Builds a hardware without any error but what is asked for."""

    def build(**changes: Any) -> Hardware:
        ideal = {
            "device": IdealDevice(),
            "mapping": Mapping(clip=NoClip()),
            "dac": DAC(bits=None),
            "adc": ADC(bits=None, output_range=1e6),
            "output_noise": 0.0,
        }
        return Hardware(**{**ideal, **changes})

    return build


@pytest.fixture
def weight() -> Tensor:
    """A layer's weights, 24 outputs by 40 inputs."""
    return torch.randn(24, 40, generator=torch.Generator().manual_seed(1)) * 0.05
