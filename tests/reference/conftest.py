"""Numbers computed with aihwkit 1.2.0, where a checkout has them beside it, and how to compare with them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import ADC, DAC, Hardware, IdealDevice, Mapping, NoClip
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import map_layer

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = Path("..", "shared", "reference", "aihwkit_reference.json")


@pytest.fixture(scope="session")
def reference() -> dict[str, Any]:
    """The reference numbers."""
    path = ROOT / REFERENCE
    if not path.is_file():
        pytest.skip(f"the reference numbers are not there: {REFERENCE} from the repository root")
    return json.loads(path.read_text())


@pytest.fixture(scope="session")
def matrices() -> tuple[Tensor, Tensor]:
    """Weights (128, 512) and inputs (1024, 512) of the reference's fixture."""
    rng = np.random.default_rng(2024)
    weight = torch.from_numpy((rng.standard_normal((128, 512)) * 0.05).astype(np.float32))
    return weight, torch.from_numpy(rng.standard_normal((1024, 512)).astype(np.float32))


@pytest.fixture(scope="session")
def layer_on() -> Callable[..., AnalogLinear]:
    """Maps a matrix onto hardware without any error but what is asked for."""

    def build(weight: Tensor, **hardware: Any) -> AnalogLinear:
        described = {
            "mapping": Mapping(clip=NoClip()),
            "device": IdealDevice(),
            "dac": DAC(bits=None),
            "adc": ADC(bits=None, output_range=1e9),
            "output_noise": 0.0,
        }
        linear = nn.Linear(*weight.T.shape, bias=False)
        linear.weight = nn.Parameter(weight.clone())
        return map_layer(linear, "fixture", Hardware(**{**described, **hardware}))

    return build


@pytest.fixture(scope="session")
def sigmas() -> Callable[[float, float, float, float], float]:
    """A difference in standard errors of the difference, from the variances of both sides."""

    def compare(found: float, expected: float, variance: float, variance_expected: float) -> float:
        error = math.sqrt(variance + variance_expected)
        if error == 0:  # neither side has any spread: they must be equal
            return 0.0 if found == expected else math.inf
        return (found - expected) / error

    return compare


@pytest.fixture(scope="session")
def chip_sigmas(sigmas: Callable[..., float]) -> Callable[[list[float], float, float, int], float]:
    """The same for a mean over chips, against a mean and a deviation over a number of chips."""

    def compare(values: list[float], mean: float, std: float, chips: int) -> float:
        mine = torch.tensor(values, dtype=torch.float64)
        return sigmas(float(mine.mean()), mean, float(mine.var()) / len(values), std**2 / chips)

    return compare
