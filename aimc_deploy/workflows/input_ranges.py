"""Input ranges of the DACs: part of an adapter, because they depend on what the layers see with it."""

from __future__ import annotations

from typing import Any

from torch import nn

from aimc_deploy.config.hardware import Hardware, StaticRange
from aimc_deploy.errors import ArtifactError
from aimc_deploy.nn.calibrate import calibrate
from aimc_deploy.nn.convert import analog_layers
from aimc_deploy.tasks.data import Split, sample
from aimc_deploy.tasks.kinds import prepare
from aimc_deploy.tasks.registry import Task
from aimc_deploy.workflows.logits import batches

BATCH_SIZE = 32  # of the calibration, whatever that of the training is

Ranges = dict[str, list[float]]


def calibrate_ranges(
    model: nn.Module,
    hardware: Hardware,
    task: Task,
    train: Split,
    tokenizer: Any,
    max_length: int,
    seed: int,
) -> None:
    """Calibrate static ranges on training samples drawn by ``seed``; nothing to do for dynamic ranges.

    The layers are left in digital mode.
    """
    settings = hardware.dac.input_range
    if not isinstance(settings, StaticRange):
        return
    few = sample(train, min(len(train), settings.batches * BATCH_SIZE), seed)
    features = prepare(task, few, tokenizer, max_length)
    model.eval()
    for layer in analog_layers(model).values():
        layer.digital()
    device = next(model.parameters()).device
    found = (batch for _, batch in batches(features, tokenizer, BATCH_SIZE))
    calibrate(model, ({key: value.to(device) for key, value in batch.items()} for batch in found), settings)


def get_ranges(model: nn.Module) -> Ranges | None:
    """The static ranges of every analog layer; None where each token has its own."""
    found = {name: layer.input_ranges for name, layer in analog_layers(model).items() if layer.input_ranges}
    return found or None


def set_ranges(model: nn.Module, ranges: Ranges | None) -> None:
    """Set the ranges of every analog layer, or let each token have its own.

    Raises:
        ArtifactError: a layer has none or another number of tiles, or there are ranges of other layers.
    """
    layers = analog_layers(model)
    if ranges is not None:
        other = sorted(ranges.keys() ^ layers.keys())
        if other:
            which = "has no range" if other[0] in layers else "is no analog layer of the model"
            raise ArtifactError(f"input ranges: '{other[0]}' {which}; adapt again")
        for name, layer in layers.items():
            asked, there = len(layer.grid.layout.row_slices), len(ranges[name])
            if there != asked:
                raise ArtifactError(
                    f"input ranges: layer '{name}' has {there} and its tiles need {asked}; adapt again"
                )
    for name, layer in layers.items():
        layer.input_ranges = None if ranges is None else ranges[name]
