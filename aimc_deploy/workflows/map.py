"""Map: a pretrained checkpoint onto tiles, once, as a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import write_json
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.load import config_digest
from aimc_deploy.config.run import Run, Source
from aimc_deploy.errors import ModelError
from aimc_deploy.models.checkpoint import load_checkpoint
from aimc_deploy.models.outliers import add_outlier_channels
from aimc_deploy.models.select import choose_layers
from aimc_deploy.models.skeleton import load_skeleton
from aimc_deploy.models.trace import trace
from aimc_deploy.nn.convert import analog_layers, base_sha256, map_layer, replace_layers
from aimc_deploy.nn.shared_tiles import largest_weights, set_places
from aimc_deploy.workflows.base import tile_map, write_base
from aimc_deploy.workflows.env import library_versions
from aimc_deploy.workflows.progress import Progress, Silent


@dataclass(frozen=True)
class MapResult:
    """What was mapped: ``plan`` is the content of ``tile_map.json``; ``bundle`` is None in a dry run."""

    hardware: Hardware
    plan: dict[str, Any]
    provenance: dict[str, Any]
    bundle: Bundle | None


def run(
    config: Run,
    out: Path,
    *,
    dry_run: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> MapResult:
    """Load the checkpoint, place every static matrix on tiles, and write the bundle.

    Raises:
        ModelError: the checkpoint cannot be had, or nothing of it can be analog.
        ArtifactError: ``out`` exists already.
    """
    progress = progress or Silent()
    progress.start("loading the model", None)
    checkpoint = load_checkpoint(config.source)
    model, hardware = checkpoint.model, config.hardware
    provenance = dict(checkpoint.provenance)
    if config.source.outlier_channels:
        add_outlier_channels(model, config.source.outlier_channels, config.source.outlier_factor, config.seed)
        provenance["synthetic_outliers"] = {
            "channels": config.source.outlier_channels,
            "factor": config.source.outlier_factor,
        }
    plan = plan_model(model, hardware)
    if dry_run:
        return MapResult(hardware, plan, provenance, None)
    progress.start("mapping layers", len(plan["analog"]))
    map_model(model, plan, hardware, progress.advance)
    progress.start("writing the bundle", None)
    bundle = create_bundle(config, out, model, checkpoint.tokenizer, plan, provenance, overwrite=overwrite)
    return MapResult(hardware, plan, provenance, bundle)


def plan(source: Source, hardware: Hardware) -> dict[str, Any]:
    """The content of ``tile_map.json`` for a model of which only the configuration is read.

    Raises:
        ModelError: there is no configuration, no model can be built from it, or nothing of it can be analog.
        HardwareError: there are too few tiles.
    """
    return plan_model(load_skeleton(source), hardware)


def plan_model(model: PreTrainedModel, hardware: Hardware) -> dict[str, Any]:
    """The content of ``tile_map.json`` for a model; see :func:`plan` for errors."""
    choices = choose_layers(model, hardware.mapping.digital)
    names = [choice.name for choice in choices if choice.analog]
    if not names:
        raise ModelError("no layer is left for the tiles: take patterns out of mapping.digital")
    return tile_map(choices, trace(model, names), hardware)


def map_model(
    model: nn.Module,
    plan: Mapping[str, Any],
    hardware: Hardware,
    advance: Callable[[int], None] | None = None,
) -> None:
    """Put the linear layers of a tile map onto tiles, in place; ``advance`` hears of each."""
    linear = {}
    for entry in plan["analog"]:
        layer = model.get_submodule(entry["layer"])
        assert isinstance(layer, nn.Linear)
        linear[entry["layer"]] = layer
    largest = largest_weights(linear, plan, hardware) if hardware.mapping.scale == "tile" else {}
    layers = {}
    for name, layer in linear.items():
        layers[name] = map_layer(layer, name, hardware, largest.get(name))
        if advance is not None:
            advance(1)
    set_places(layers, plan)
    replace_layers(model, layers)


def map_again(model: nn.Module, bundle: Bundle, hardware: Hardware) -> None:
    """Put retrained weights onto tiles of their own, layer by layer as in ``bundle``, in place."""
    for name, layer in analog_layers(model).items():
        linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        linear.weight, linear.bias = layer.weight, layer.bias
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, linear)
    model.cpu().requires_grad_(False)
    map_model(model, bundle.read_json("tile_map.json"), hardware)


def create_bundle(
    config: Run,
    out: Path,
    model: Any,
    tokenizer: Any,
    plan: dict[str, Any],
    provenance: dict[str, Any],
    *,
    overwrite: bool = False,
) -> Bundle:
    """Write a mapped model as a new bundle, which does not tell where it lies."""
    config = config.model_copy(update={"bundle": Run.model_fields["bundle"].default})

    def write(folder: Path) -> None:
        write_base(folder, model, tokenizer, plan, config.hardware)
        write_json(folder / "run.json", config.model_dump(mode="json"))

    return Bundle.create(
        out,
        write,
        overwrite=overwrite,
        libraries=library_versions(),
        source=provenance,
        config_sha256=config_digest(config),
        hardware_digest=config.hardware.digest(),
        mapping_digest=config.hardware.mapping_digest(),
        seed=config.seed,
        base_sha256=base_sha256(model),
    )
