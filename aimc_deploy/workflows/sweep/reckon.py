"""One point, only planned and reckoned."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from aimc_deploy.config.adapt import Lora
from aimc_deploy.config.run import Run
from aimc_deploy.cost.adapters import memory_bytes
from aimc_deploy.cost.estimate import TOKENS, estimate
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows.map import plan
from aimc_deploy.workflows.sweep.row import Row

_plans: dict[str, dict[str, Any]] = {}
"""The last tile map of this process, by its group."""


def reckon(config: Run, group: str, key: str) -> Row:
    """Plan the model from its configuration and reckon what it costs.

    Raises:
        ModelError: no model can be planned.
        HardwareError: there are too few tiles.
    """
    if group not in _plans:
        _plans.clear()
        _plans[group] = plan(config.source, config.hardware)
    return Row(key=key, **costs(config, _plans[group]))


def costs(config: Run, tile_map: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a row that follows from a tile map, by its keys there."""
    lora = config.adapt.lora
    length = config.max_length or get_task(config.task).max_length
    cost = estimate(tile_map, config.hardware, rank=lora.r, tokens=TOKENS, length=length)
    shared = {"tiles": cost.tiles, "utilisation": tile_map["utilisation"]}
    if config.adapt.method != "lora":  # nothing is beside the tiles
        return {
            **shared,
            "token_ns": cost.token_ns,
            "sequence_ns": cost.sequence_ns,
            "token_nj": cost.tile_nj,
            "adapter_parameters": 0,
            "adapter_bytes": 0,
        }
    sizes = [(entry["rows"], entry["cols"], _rank(lora, entry["layer"])) for entry in tile_map["analog"]]
    return {
        **shared,
        "token_ns": cost.token_with_adapters_ns,
        "sequence_ns": cost.sequence_with_adapters_ns,
        "token_nj": cost.token_nj,
        "adapter_parameters": sum(
            rank * (rows + cols) + (cols if lora.dora else 0) for rows, cols, rank in sizes if rank
        ),
        "adapter_bytes": sum(memory_bytes(rows, cols, rank, TOKENS) for rows, cols, rank in sizes if rank),
    }


def _rank(lora: Lora, layer: str) -> int:
    """The rank of a layer's adapter; 0 where it has none."""
    if not any(fnmatchcase(layer, pattern) for pattern in lora.layers):
        return 0
    return next((own.r for own in lora.ranks if fnmatchcase(layer, own.layers)), lora.r)
