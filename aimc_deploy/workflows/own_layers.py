"""Layers of the base that an adapter trains itself (``method: layers``): off the tiles, and back.

The tiles stay as they were programmed; while the adapter is in use, other arrays compute these layers.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from torch import Tensor, nn

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.tensors import write_tensors
from aimc_deploy.errors import ArtifactError
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import analog_layers, replace_layers
from aimc_deploy.workflows.attach import check_same

FILE = "layers.safetensors"
"""Weights and biases of the layers by their names in the model."""


def take_off_tiles(model: nn.Module, names: Iterable[str]) -> dict[str, AnalogLinear]:
    """Put ordinary layers with the same weights, to be trained, in the place of analog ones.

    Returns:
        What stood there, to be put back by ``replace_layers``.
    """
    there = analog_layers(model)
    taken = {name: there[name] for name in names}
    replace_layers(model, {name: _ordinary(layer) for name, layer in taken.items()})
    return taken


def write_layers(folder: Path, model: nn.Module, names: Iterable[str]) -> None:
    """The file of the layers in the folder of an adapter."""
    write_tensors(folder / FILE, _state(model, names))


def put_layers(bundle: Bundle, model: nn.Module, adapter: str) -> dict[str, AnalogLinear]:
    """Put an adapter's own layers into a model of the base.

    Returns:
        What stood there, to be put back by ``replace_layers``.

    Raises:
        ArtifactError: the file is missing or damaged, or does not fit the model.
    """
    file = f"adapters/{adapter}/{FILE}"
    tensors = bundle.read_tensors(file)
    names = sorted({name.rpartition(".")[0] for name in tensors})
    strange = [name for name in names if name not in analog_layers(model)]
    if strange:
        raise ArtifactError(f"{bundle.path}/{file}: '{strange[0]}' is no layer on the tiles; adapt again")
    taken = take_off_tiles(model, names)
    try:
        check_same(tensors, _state(model, names), bundle.path / file)
    except ArtifactError:
        replace_layers(model, taken)
        raise
    model.load_state_dict(tensors, strict=False)
    return taken


def _ordinary(layer: AnalogLinear) -> nn.Linear:
    linear = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None)
    linear.weight.data = layer.weight.detach().clone()
    if layer.bias is not None:
        linear.bias.data = layer.bias.detach().clone()
    return linear.to(layer.weight.device).train(layer.training)


def _state(model: nn.Module, names: Iterable[str]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.detach().clone()
        for name in names
        for key, value in model.get_submodule(name).state_dict().items()
    }
