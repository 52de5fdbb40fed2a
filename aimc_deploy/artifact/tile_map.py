"""``tile_map.json``: which part of which matrix is where on which tile, for programs that write chips.

``docs/tile_map.schema.json`` is made from these models, and ``docs/read_layer.py`` reads a layer from them.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from aimc_deploy.config.chip import Strategy

Span = Annotated[tuple[int, int], Field(description="from the first to before the last")]


class Entry(BaseModel):
    """Base of all parts; what a later minor version adds is kept."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class BlockEntry(Entry):
    """A part of a matrix on one tile; its tensors are ``TENSORS.g_plus``, ``.g_minus`` and ``.w_scale``."""

    tile: Annotated[int, Field(ge=0, description="number of the tile")]
    at: Annotated[tuple[int, int], Field(description="first row and first column on the tile")]
    rows: Annotated[Span, Field(description="inputs of the layer that this block reads")]
    cols: Annotated[Span, Field(description="outputs of the layer that this block adds to")]
    tensors: Annotated[str, Field(description="beginning of their names in tiles.safetensors")]


class AnalogLayer(Entry):
    """A matrix on tiles. Blocks of the same columns are summed digitally."""

    layer: Annotated[str, Field(description="module path in the model")]
    rows: Annotated[int, Field(ge=1, description="inputs")]
    cols: Annotated[int, Field(ge=1, description="outputs")]
    reads: Annotated[str, Field(description="layers with the same name here are given the same tensor")]
    stage: Annotated[int, Field(ge=0, description="length of the longest chain of layers up to this one")]
    group: Annotated[str, Field(description="part of the model, such as one encoder layer")]
    utilisation: Annotated[float, Field(ge=0, le=1, description="of its tiles, if no other layer used them")]
    blocks: Annotated[tuple[BlockEntry, ...], Field(min_length=1)]


class DigitalLayer(Entry):
    """A layer that stays digital, and why."""

    layer: str
    rows: int
    cols: int
    reason: str


class TileSide(Entry):
    """Size of a tile in weights."""

    rows: Annotated[int, Field(ge=1, description="inputs")]
    cols: Annotated[int, Field(ge=1, description="outputs")]


class TileMap(Entry):
    """The whole of ``tile_map.json``."""

    schema_version: Literal["1.0"] = "1.0"
    strategy: Strategy
    tile: TileSide
    g_max: Annotated[float, Field(gt=0, description="conductance that stands for a weight of w_scale, uS")]
    tiles: Annotated[int, Field(ge=0, description="that hold something")]
    tiles_bound: Annotated[int, Field(ge=0, description="that the area alone would need")]
    initiation_interval: Annotated[
        int, Field(ge=0, description="largest number of products that a tile makes for one token")
    ]
    weights: Annotated[int, Field(ge=0)]
    utilisation: Annotated[float, Field(ge=0, le=1, description="share of the cells of these tiles")]
    analog: tuple[AnalogLayer, ...]
    digital: tuple[DigitalLayer, ...]
