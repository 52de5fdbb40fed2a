"""The mapped base on disk: written once by ``map``, read by everything after it.

``tiles.safetensors`` holds, for block i of a layer, ``LAYER.i.g_plus`` and ``LAYER.i.g_minus`` (uS,
columns x rows) and ``LAYER.i.w_scale`` (one factor a column); ``tile_map.json`` says where each block sits;
``model.safetensors`` holds every other parameter.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedModel

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import write_json
from aimc_deploy.artifact.manifest import validated
from aimc_deploy.artifact.tensors import write_tensors
from aimc_deploy.artifact.tile_map import AnalogLayer, BlockEntry, DigitalLayer, TileMap, TileSide
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.mistakes import checked
from aimc_deploy.errors import ArtifactError
from aimc_deploy.models.checkpoint import brief
from aimc_deploy.models.select import LayerChoice
from aimc_deploy.models.trace import Traced
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import analog_layers, replace_layers, restore_layer
from aimc_deploy.nn.shared_tiles import set_places
from aimc_deploy.tile.blocks import Block, TilePlan, Unusable
from aimc_deploy.tile.grid import Layout
from aimc_deploy.tile.placement import place
from aimc_deploy.tile.tile import Tile


def tile_map(choices: list[LayerChoice], traced: Mapping[str, Traced], hardware: Hardware) -> dict[str, Any]:
    """Where every block sits, how full the tiles are, and why the other layers are digital.

    Raises:
        HardwareError: there are too few tiles.
    """
    layouts = {choice: Layout.of(choice.rows, choice.cols, hardware) for choice in choices if choice.analog}
    placement = _placement(layouts, traced, hardware)
    placed = iter(placement.blocks)
    analog = []
    for choice, layout in layouts.items():
        blocks = tuple(
            BlockEntry(
                tile=at.tile,
                at=(at.row, at.col),
                rows=(row.start, row.stop),
                cols=(col.start, col.stop),
                tensors=f"{choice.name}.{index}",
            )
            for index, ((row, col), at) in enumerate(zip(layout.blocks(), placed, strict=False))
        )
        own = traced[choice.name]
        cells = layout.tiles * hardware.tile.rows * hardware.tile.cols
        analog.append(
            AnalogLayer(
                layer=choice.name,
                rows=choice.rows,
                cols=choice.cols,
                reads=own.reads,
                stage=own.stage,
                group=own.group,
                utilisation=choice.rows * choice.cols / cells,
                blocks=blocks,
            )
        )
    found = TileMap(
        strategy=placement.strategy,
        tile=TileSide(rows=hardware.tile.rows, cols=hardware.tile.cols),
        g_max=hardware.device.g_max,
        tiles=placement.used,
        tiles_bound=placement.bound,
        initiation_interval=placement.interval,
        weights=sum(choice.rows * choice.cols for choice in layouts),
        utilisation=placement.utilisation,
        analog=tuple(analog),
        digital=tuple(
            DigitalLayer(layer=choice.name, rows=choice.rows, cols=choice.cols, reason=choice.reason)
            for choice in choices
            if not choice.analog
        ),
    )
    return found.model_dump(mode="json")


def _placement(
    layouts: Mapping[LayerChoice, Layout], traced: Mapping[str, Traced], hardware: Hardware
) -> TilePlan:
    """The blocks of all layers, in the order of the layers and of their blocks, in their places."""
    blocks = [
        Block(
            layer=choice.name,
            index=index,
            rows=row.stop - row.start,
            cols=col.stop - col.start,
            reads=f"{traced[choice.name].reads}[{row.start}:{row.stop}]",
            stage=traced[choice.name].stage,
            group=traced[choice.name].group,
        )
        for choice, layout in layouts.items()
        for index, (row, col) in enumerate(layout.blocks())
    ]
    asked = hardware.placement
    faults = {
        fault.tile: Unusable(not (fault.rows or fault.cols), fault.rows, fault.cols) for fault in asked.faults
    }
    size = hardware.tile
    return place(blocks, asked.strategy, size.rows, size.cols, tiles=asked.tiles, faults=faults)


def write_base(
    folder: Path, model: PreTrainedModel, tokenizer: Any, plan: Mapping[str, Any], hardware: Hardware
) -> None:
    """Write a mapped model: tiles, tile map, digital parameters, configuration and tokenizer."""
    layers = analog_layers(model)
    tiles: dict[str, Tensor] = {}
    for entry in plan["analog"]:
        grid = layers[entry["layer"]].grid
        for block, tile in zip(entry["blocks"], grid.tiles, strict=True):
            for part in ("g_plus", "g_minus", "w_scale"):
                tiles[f"{block['tensors']}.{part}"] = getattr(tile, part)
    meta_weights = {f"{name}.weight" for name in layers}
    digital = {name: value for name, value in model.state_dict().items() if name not in meta_weights}
    write_tensors(folder / "tiles.safetensors", tiles)
    write_tensors(folder / "model.safetensors", digital)
    write_json(folder / "tile_map.json", plan)
    write_json(folder / "hardware.json", hardware.model_dump(mode="json"))
    write_json(folder / "config.json", _portable_config(model))
    tokenizer.save_pretrained(folder)


def _portable_config(model: PreTrainedModel) -> dict[str, Any]:
    """The model's configuration without the path it was loaded from."""
    config = model.config.to_dict()
    config.pop("_name_or_path", None)
    return config


def read_hardware(bundle: Bundle) -> Hardware:
    """The hardware the bundle was mapped for.

    Raises:
        ConfigError: the file describes none.
    """
    return checked(Hardware, bundle.read_json("hardware.json"), {(): str(bundle.path / "hardware.json")})


def read_tokenizer(bundle: Bundle) -> Any:
    """The tokenizer that came with the checkpoint.

    Raises:
        ArtifactError: its files are none.
    """
    for name in bundle.manifest.files:
        if "/" not in name and name.endswith((".json", ".txt", ".model")):
            bundle.file(name)
    with _errors_of(bundle, "tokenizer"):
        return AutoTokenizer.from_pretrained(bundle.path, local_files_only=True, trust_remote_code=False)


@contextlib.contextmanager
def _errors_of(bundle: Bundle, what: str) -> Iterator[None]:
    """Name the bundle whose files transformers cannot read; its errors have no common type."""
    try:
        yield
    except Exception as error:
        raise ArtifactError(
            f"{bundle.path}: the files of the {what} cannot be read ({brief(error)}); map the model again"
        ) from None


def read_model(
    bundle: Bundle, hardware: Hardware, *, seed: int = 0, **config_changes: Any
) -> PreTrainedModel:
    """The mapped model, in digital mode, with a fresh head.

    Args:
        hardware: the bundle's own, or another with the same mapping.
        seed: of the head's initial weights; torch's global generator is left as it was.
        config_changes: such as ``num_labels``.

    Raises:
        ArtifactError: the hardware would map the weights differently, or the files do not fit together.
    """
    if hardware.mapping_digest() != bundle.manifest.mapping_digest:
        raise ArtifactError(
            f"{bundle.path}: the weights are mapped for other tiles, clipping, scales or g_max than the "
            "hardware asked for; map again with `aimc-deploy map MODEL OUT --hardware ...`"
        )
    bundle.file("config.json")
    plan = bundle.read_json("tile_map.json")
    validated(TileMap, plan, bundle.path / "tile_map.json")
    tiles = bundle.read_tensors("tiles.safetensors")
    digital = bundle.read_tensors("model.safetensors")
    with _errors_of(bundle, "model"), torch.device("meta"):
        config = AutoConfig.from_pretrained(
            bundle.path, local_files_only=True, trust_remote_code=False, **config_changes
        )
        skeleton = AutoModelForSequenceClassification.from_config(config)
    # Checked before any memory is taken for the sizes that config.json claims.
    fits = _fitting(bundle, skeleton, digital, {entry["layer"] for entry in plan["analog"]})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config).eval()
    layers = {entry["layer"]: _restore(bundle, model, entry, tiles, hardware) for entry in plan["analog"]}
    model.load_state_dict(fits, strict=False)
    for name, layer in layers.items():
        layer.bias = model.get_submodule(name).bias  # loaded a line above
    set_places(layers, plan)
    replace_layers(model, layers)
    return model.requires_grad_(False)


def _restore(
    bundle: Bundle,
    model: nn.Module,
    entry: Mapping[str, Any],
    tiles: Mapping[str, Tensor],
    hardware: Hardware,
) -> AnalogLinear:
    name = entry["layer"]
    g_max = hardware.device.g_max
    try:
        linear = model.get_submodule(name)
        parts = [
            Tile(
                tiles[f"{block['tensors']}.g_plus"],
                tiles[f"{block['tensors']}.g_minus"],
                tiles[f"{block['tensors']}.w_scale"],
                g_max,
            )
            for block in entry["blocks"]
        ]
    except (AttributeError, KeyError) as error:
        raise ArtifactError(
            f"{bundle.path}: tile_map.json, tiles.safetensors and config.json do not describe the same model "
            f"(layer '{name}': {error}); map the model again"
        ) from None
    if not isinstance(linear, nn.Linear):
        raise ArtifactError(
            f"{bundle.path}: tile_map.json: '{name}' is no layer of weights; map the model again"
        )
    expected = list(Layout.of(linear.in_features, linear.out_features, hardware).blocks())
    if len(expected) != len(parts):
        raise ArtifactError(
            f"{bundle.path}: tile_map.json: layer '{name}' has {len(parts)} blocks, and its size in "
            f"config.json needs {len(expected)}; map the model again"
        )
    for (row, col), tile, block in zip(expected, parts, entry["blocks"], strict=True):
        size = (col.stop - col.start, row.stop - row.start)
        for part, shape in (("g_plus", size), ("g_minus", size), ("w_scale", size[:1])):
            values = getattr(tile, part)
            problem = _problem(values, shape, None if part == "w_scale" else g_max)
            if problem is not None:
                raise ArtifactError(
                    f"{bundle.path}: tiles.safetensors: '{block['tensors']}.{part}' {problem}; map the model "
                    "again"
                )
    return restore_layer(linear, name, parts, hardware)


def _problem(values: Tensor, shape: tuple[int, ...], g_max: float | None) -> str | None:
    """What is wrong with the conductances of a block, or with its scales where ``g_max`` is None."""
    if tuple(values.shape) != shape or values.dtype != torch.float32:
        return f"has {values.dtype} of shape {tuple(values.shape)}, the tile map says float32 of {shape}"
    if g_max is None:
        outside, allowed = values < torch.finfo(values.dtype).tiny, "the scales above 0"
    else:
        outside = (values < 0) | (values > g_max * (1 + 1e-6))
        allowed = f"the conductances, [0, {g_max:g}] uS"
    if not bool(outside.any()):
        return None
    index = outside.nonzero()[0].tolist()
    return f"holds {float(values[tuple(index)]):g} at {index}, outside of {allowed}"


def _fitting(
    bundle: Bundle, model: nn.Module, digital: Mapping[str, Tensor], analog: set[str]
) -> dict[str, Tensor]:
    """What is loaded beside the meta-weights: everything; a head of another size keeps its fresh weights."""
    own = model.state_dict()
    encoder = f"{getattr(model, 'base_model_prefix', '')}."
    fits = {}
    for name, value in digital.items():
        if value.dtype != (own[name].dtype if name in own else torch.float32):
            raise ArtifactError(
                f"{bundle.path}: model.safetensors: '{name}' is {value.dtype}, and the model is in other "
                "numbers; map it again"
            )
        if name in own and own[name].shape == value.shape:
            fits[name] = value
        elif name.startswith(encoder):
            raise ArtifactError(
                f"{bundle.path}: model.safetensors: '{name}' does not fit the model in config.json; map again"
            )
    missing = [
        name
        for name in own
        if name.startswith(encoder) and name not in fits and name.removesuffix(".weight") not in analog
    ]
    if missing:
        raise ArtifactError(f"{bundle.path}: model.safetensors lacks '{missing[0]}'; map the model again")
    return fits
