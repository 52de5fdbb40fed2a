"""What an adaptation trains, learned by pulses: into memory before training, out of it after."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.in_memory import AdaptInMemory, Converters
from aimc_deploy.training.diagnostics import advise, diagnose
from aimc_deploy.training.layer import analog_layers, take_from_memory, train_in_memory
from aimc_deploy.training.optimizer import AnalogOptimizer, digital_parameters
from aimc_deploy.workflows.progress import Progress

LEARNING_RATE = {"mixed_precision": 5.0e-3, "tt_v2": 30.0, "chopped_tt_v2": 30.0, "agad": 30.0}
OTHERS = 50.0
"""Of the pulses, in weight units: with these LoRA on a BERT-like encoder learned, on soft bounds of 1200
states. Adam's steps do not depend on the size of a gradient; gradients by the weights of an array are small.
"""


def put_into_memory(
    model: nn.Module, settings: AdaptInMemory, hardware: Hardware, seed: int, progress: Progress
) -> None:
    """Put every matrix that is to be trained onto arrays; scales and biases stay digital.

    Args:
        hardware: of the tiles, whose converters arrays have where that is asked for.
    """
    if settings.converters == "hardware":
        settings = settings.model_copy(update={"converters": Converters.of(hardware)})
    for warned in advise(settings):
        progress.say(f"warning: {warned.reason}; better: {warned.change}")
    train_in_memory(model, settings, seed=seed)


def optimizer(model: nn.Module, adapt: Adapt, learning_rate: float) -> AnalogOptimizer:
    """Pulses for what is in memory, Adam for the rest, as where all is digital."""
    settings = adapt.in_memory
    assert settings is not None
    lr = settings.learning_rate or LEARNING_RATE.get(settings.algorithm.kind, OTHERS)
    digital = torch.optim.AdamW(digital_parameters(model), learning_rate, weight_decay=adapt.weight_decay)
    return AnalogOptimizer(model, lr, digital)


def out_of_memory(model: nn.Module) -> dict[str, Any]:
    """Put ordinary layers back; what the devices have been through, by layer."""
    found = {name: diagnose(layer.algorithm) for name, layer in analog_layers(model).items()}
    take_from_memory(model)
    return found
