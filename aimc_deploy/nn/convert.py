"""Put analog layers in the place of linear ones, and find them again."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.shared_tiles import share_compensation
from aimc_deploy.physics.conductance import clip_weights
from aimc_deploy.tile.grid import Grid, Layout
from aimc_deploy.tile.tile import Tile

HEAD = "head:"
"""Begins the name of an analog layer that belongs to a task and not to the base."""


def map_layer(
    layer: nn.Linear, name: str, hardware: Hardware, largest: Sequence[float] | None = None
) -> AnalogLinear:
    """A linear layer clipped and mapped onto tiles; the bias stays digital, and its mode stays.

    Args:
        largest: absolute weight on the tile of each block, whose scale the block takes; None for its own.
    """
    clipped = clip_weights(layer.weight.detach(), hardware.mapping.clip)
    grid = Grid.map(clipped, hardware, largest)
    return AnalogLinear(grid, layer.bias, name, hardware).train(layer.training)


def restore_layer(layer: nn.Linear, name: str, tiles: Iterable[Tile], hardware: Hardware) -> AnalogLinear:
    """A layer from tiles that were mapped before, in the mode of the one it replaces."""
    layout = Layout.of(layer.in_features, layer.out_features, hardware)
    return AnalogLinear(Grid(layout, tuple(tiles)), layer.bias, name, hardware).train(layer.training)


def replace_layers(model: nn.Module, layers: Mapping[str, nn.Module]) -> None:
    """Put each layer at its name in ``model``."""
    for name, layer in layers.items():
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer)


def analog_layers(model: nn.Module) -> dict[str, AnalogLinear]:
    """Every analog layer by the name it was mapped under, wherever PEFT has put it since."""
    return {module.name: module for module in model.modules() if isinstance(module, AnalogLinear)}


def _fixed_layers(model: nn.Module) -> list[AnalogLinear]:
    """The analog layers that can be on a chip: all whose weights are not being trained."""
    return [layer for layer in analog_layers(model).values() if not layer.weight.requires_grad]


def program(model: nn.Module, seed: int, chip: int) -> None:
    """Program every fixed analog layer as part of chip number ``chip``."""
    with torch.no_grad():
        for layer in _fixed_layers(model):
            layer.program(seed, chip)


def drift(model: nn.Module, t_inference_s: float, *reading: str | int) -> None:
    """Move every fixed analog layer to ``t_inference_s`` seconds after programming; see ``AnalogLinear``."""
    with torch.no_grad():
        layers = _fixed_layers(model)
        for layer in layers:
            layer.drift(t_inference_s, *reading)
        share_compensation(layers)


def sample_chip(
    model: nn.Module, youngest_s: float, oldest_s: float, *names: str | int, level: float = 1.0
) -> None:
    """Make ``model`` a chip of no further use, each layer at an age of its own; see ``AnalogLinear``."""
    with torch.no_grad():
        for layer in _fixed_layers(model):
            layer.sample_chip(youngest_s, oldest_s, *names, level=level)


@contextlib.contextmanager
def bypassed(model: nn.Module) -> Iterator[None]:
    """Inside this block every analog layer computes the plain product; the chip stays as it is."""
    layers = analog_layers(model).values()
    for layer in layers:
        layer.bypassed = True
    try:
        yield
    finally:
        for layer in layers:
            layer.bypassed = False


def base_sha256(model: nn.Module) -> str:
    """SHA-256 of everything the base's tiles were asked to hold: conductances and scales, in layer order."""
    digest = hashlib.sha256()
    for name, layer in sorted(analog_layers(model).items()):
        if name.startswith(HEAD):
            continue
        digest.update(name.encode())
        for tensor in (layer.weight, layer.w_scale, *_targets(layer)):
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _targets(layer: AnalogLinear) -> Iterable[Tensor]:
    for tile in layer.grid.tiles:
        yield from (tile.g_plus, tile.g_minus, tile.w_scale)
