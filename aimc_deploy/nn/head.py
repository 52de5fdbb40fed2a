"""A task head on tiles of its own, in the place of the digital head that adapters usually have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from peft.utils import ModulesToSaveWrapper
from torch import nn

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import HEAD, map_layer


@dataclass(frozen=True)
class Place:
    """A linear layer of a head: ``layer`` is what stood under ``key`` in ``holder``."""

    name: str
    holder: nn.Module
    key: str
    layer: nn.Linear

    def put(self, layer: nn.Linear) -> None:
        """Put another one there."""
        setattr(self.holder, self.key, layer)


def head_on_tiles(model: nn.Module, hardware: Hardware, *, train: bool = False) -> list[Place]:
    """Map every linear layer of the trained head of a PEFT model onto tiles, in place.

    Args:
        train: the weights are still to be learned: the layers can be simulated, not programmed.

    Returns:
        What stood there before, for :func:`restore_head`.
    """
    places = list(_places(model))
    for place in places:
        layer = map_layer(place.layer, f"{HEAD}{place.name}", hardware).to(place.layer.weight.device)
        if train:
            layer.weight = nn.Parameter(place.layer.weight.detach().clone())
            if layer.bias is not None:
                layer.bias.requires_grad_(True)
        place.put(layer)
    return places


def restore_head(places: list[Place]) -> None:
    """Put back what :func:`head_on_tiles` replaced."""
    for place in places:
        place.put(place.layer)


def head_layers(model: nn.Module) -> list[AnalogLinear]:
    """The layers of the head that are on tiles."""
    return [place.layer for place in _places(model) if isinstance(place.layer, AnalogLinear)]


def _places(model: nn.Module) -> Iterator[Place]:
    for path, wrapper in model.named_modules():
        if not isinstance(wrapper, ModulesToSaveWrapper):
            continue
        copies = wrapper.modules_to_save
        for name, module in copies.named_modules():
            if isinstance(module, nn.Linear):
                parent, _, key = name.rpartition(".")
                yield Place(f"{path}.{name}", copies.get_submodule(parent), key, module)
