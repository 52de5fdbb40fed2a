"""The algorithms, one a file, and which is meant by a configuration."""

from __future__ import annotations

import torch

from aimc_deploy.config import algorithm as config
from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.training.algorithm import Algorithm, Setup
from aimc_deploy.training.algorithms.analog_sgd import AnalogSGD
from aimc_deploy.training.algorithms.buffered import ResidualV2, TTv2
from aimc_deploy.training.algorithms.chopped import AGAD, ChoppedTTv2
from aimc_deploy.training.algorithms.e_rider import ERider
from aimc_deploy.training.algorithms.mixed_precision import MixedPrecision
from aimc_deploy.training.algorithms.multi_tile import MultiTile
from aimc_deploy.training.algorithms.residual import Residual

_KINDS: dict[str, type[Algorithm]] = {
    "analog_sgd": AnalogSGD,
    "residual": Residual,
    "residual_v2": ResidualV2,
    "tt_v2": TTv2,
    "chopped_tt_v2": ChoppedTTv2,
    "agad": AGAD,
    "e_rider": ERider,
    "multi_tile": MultiTile,
    "mixed_precision": MixedPrecision,
}


def build(
    described: config.Algorithm,
    device: TrainingDevice,
    shape: tuple[int, int],
    *names: str | int,
    residual_device: TrainingDevice | None = None,
    dtype: torch.dtype = torch.float32,
) -> Algorithm:
    """The algorithm with its arrays, all weights 0.

    Args:
        described: which, and its settings.
        device: of the array that holds the weight.
        shape: (outputs, inputs).
        names: of the layer and of all it is part of, a seed first; they seed devices and pulses.
        residual_device: of the array or arrays that take the gradient; None: the same.
    """
    setup = Setup(described, device, residual_device or device, shape, names, dtype)
    return _KINDS[described.kind](setup)
