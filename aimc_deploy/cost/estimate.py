"""Latency, energy and throughput of a mapped model with its adapters, from its tile map.

What is counted: the products of the tiles and the adapters beside them. What is not: attention, normalisation
and moving data between tiles, so that a time is a lower bound. Each layer's adapter has a cluster of its own.
What depends on a figure that the chip's makers have not published is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from aimc_deploy.config.chip import Quantity
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.cost import adapters
from aimc_deploy.tile.blocks import Block, Placed, TilePlan

_Part = TypeVar("_Part", bound=Hashable)

RANK, TOKENS, LENGTH = 8, 8, 128
"""What is reckoned with where nothing is said: of an adapter, handed to it together, of a sequence."""

RANKS = (64, 32, 16, 8, 4, 2, 1)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(frozen=True)
class LayerCost:
    """One layer and its adapter.

    Attributes:
        turns: products that its tiles make for one token, one after the other.
        tile_ns: time of these; None if the chip's is not known.
        adapter_ns: time of the adapter for one token.
        adapter_bytes: memory for its factors and a batch of tokens.
        pipelined, serial: overhead as a share of ``tile_ns``, with the adapter at work beside the tiles, and
            with both waiting for each other.
    """

    layer: str
    rows: int
    cols: int
    stage: int
    turns: int
    tile_ns: float | None
    adapter_ns: float
    adapter_bytes: int
    pipelined: float | None
    serial: float | None


@dataclass(frozen=True)
class Cost:
    """A model on a chip; times in ns, energies in nJ, areas in mm2.

    Attributes:
        tokens: that are handed to an adapter together.
        length: tokens of a sequence.
        segments: parts between attentions, which need every token of the part before.
        token_ns: a token through all stages, alone.
        sequence_ns: a sequence in a pipeline, ``sequence_serial_ns`` one token after the other.
    """

    rank: int
    tokens: int
    length: int
    tiles: int
    chips: int | None
    area_mm2: float | None
    segments: int
    products: int
    interval: int
    token_ns: float | None
    token_with_adapters_ns: float | None
    sequence_ns: float | None
    sequence_with_adapters_ns: float | None
    sequence_serial_ns: float | None
    tokens_per_s: float | None
    tokens_per_s_with_adapters: float | None
    tile_nj: float | None
    adapter_nj: float
    layers: tuple[LayerCost, ...]

    @property
    def token_nj(self) -> float | None:
        """Energy of a token on the tiles and in the adapters; None if the chip's is not known."""
        return None if self.tile_nj is None else self.tile_nj + self.adapter_nj


def estimate(plan: Mapping[str, Any], hardware: Hardware, *, rank: int, tokens: int, length: int) -> Cost:
    """The cost of a tile map on ``hardware``'s chip.

    Args:
        plan: the content of ``tile_map.json``.
        rank: of the adapter of every layer.
        tokens: handed to an adapter together.
        length: of a sequence.
    """
    chip, cluster = hardware.chip, hardware.cluster
    mvm_ns = _value(chip.mvm_ns)
    placement = _placement(plan)
    turns = _busiest(placement, lambda block: block.layer)
    layers = tuple(_layer(entry, turns[entry["layer"]], hardware, rank, tokens) for entry in plan["analog"])
    products = sum(placement.products().values())
    segments = 1 + len({entry["group"] for entry in plan["analog"] if entry["group"][-1].isdigit()})
    interval = plan["initiation_interval"]
    token_ns = with_adapters_ns = step_ns = adapted_step_ns = None
    if mvm_ns is not None:
        token_ns = mvm_ns * sum(_busiest(placement, lambda block: block.stage).values())
        slowed: dict[int, float] = {}
        for layer in layers:
            assert layer.tile_ns is not None
            alone = layer.tile_ns + layer.adapter_ns + cluster.sync_ns.value / tokens
            slowed[layer.stage] = max(slowed.get(layer.stage, 0.0), alone)
        with_adapters_ns = sum(slowed.values())
        step_ns = interval * mvm_ns
        adapted_step_ns = (
            max(step_ns, *(layer.adapter_ns for layer in layers)) + cluster.sync_ns.value / tokens
        )
    return Cost(
        rank=rank,
        tokens=tokens,
        length=length,
        tiles=plan["tiles"],
        chips=None if chip.tiles is None else math.ceil(plan["tiles"] / chip.tiles.value),
        area_mm2=None if chip.tile_mm2 is None else plan["tiles"] * chip.tile_mm2.value,
        segments=segments,
        products=products,
        interval=interval,
        token_ns=token_ns,
        token_with_adapters_ns=with_adapters_ns,
        sequence_ns=_sequence(token_ns, step_ns, segments, length),
        sequence_with_adapters_ns=_sequence(with_adapters_ns, adapted_step_ns, segments, length),
        sequence_serial_ns=None if token_ns is None else length * token_ns,
        tokens_per_s=None if step_ns is None else 1e9 / step_ns,
        tokens_per_s_with_adapters=None if adapted_step_ns is None else 1e9 / adapted_step_ns,
        tile_nj=None if chip.mvm_nj is None else products * chip.mvm_nj.value,
        adapter_nj=sum(adapters.energy_nj(layer.rows, layer.cols, rank, cluster) for layer in layers),
        layers=layers,
    )


def hide(plan: Mapping[str, Any], hardware: Hardware, budget: float) -> tuple[int, int] | None:
    """The largest rank, and for it the smallest batch, with which no adapter costs more than ``budget``.

    Args:
        budget: largest overhead of any layer in a pipeline, as a share.

    Returns:
        Rank and tokens; None where no rank fits, or the chip's time is not known.
    """
    memory = hardware.cluster.memory_kib.value * 1024
    turns = _busiest(_placement(plan), lambda block: block.layer)
    kinds = {(entry["rows"], entry["cols"], turns[entry["layer"]]): entry for entry in plan["analog"]}
    for rank in RANKS:
        for tokens in BATCHES:
            layers = [_layer(entry, kind[2], hardware, rank, tokens) for kind, entry in kinds.items()]
            shares = [layer.pipelined for layer in layers if layer.pipelined is not None]
            fits = all(layer.adapter_bytes <= memory for layer in layers)
            if fits and len(shares) == len(layers) and max(shares, default=0.0) <= budget:
                return rank, tokens
    return None


def _value(quantity: Quantity | None) -> float | None:
    return None if quantity is None else quantity.value


def _sequence(token_ns: float | None, step_ns: float | None, segments: int, length: int) -> float | None:
    """Every segment is filled once, and then gives a token a step."""
    return None if token_ns is None or step_ns is None else token_ns + segments * (length - 1) * step_ns


def _layer(entry: Mapping[str, Any], turns: int, hardware: Hardware, rank: int, tokens: int) -> LayerCost:
    rows, cols, cluster = entry["rows"], entry["cols"], hardware.cluster
    mvm_ns = _value(hardware.chip.mvm_ns)
    tile_ns = None if mvm_ns is None else turns * mvm_ns

    def share(pipelined: bool) -> float | None:
        if tile_ns is None:
            return None
        return adapters.overhead(rows, cols, rank, tokens, tile_ns, cluster, pipelined=pipelined)

    return LayerCost(
        layer=entry["layer"],
        rows=rows,
        cols=cols,
        stage=entry["stage"],
        turns=turns,
        tile_ns=tile_ns,
        adapter_ns=adapters.busy_ns(rows, cols, rank, tokens, cluster) / tokens,
        adapter_bytes=adapters.memory_bytes(rows, cols, rank, tokens),
        pipelined=share(True),
        serial=share(False),
    )


def _placement(plan: Mapping[str, Any]) -> TilePlan:
    """The blocks of a tile map in their places."""
    blocks = []
    for entry in plan["analog"]:
        for index, block in enumerate(entry["blocks"]):
            (first, end), (left, right) = block["rows"], block["cols"]
            reads = f"{entry['reads']}[{first}:{end}]"
            size = end - first, right - left
            own = Block(entry["layer"], index, *size, reads, entry["stage"], entry["group"])
            blocks.append(Placed(own, block["tile"], *block["at"]))
    return TilePlan(plan["strategy"], plan["tile"]["rows"], plan["tile"]["cols"], tuple(blocks))


def _busiest(placement: TilePlan, part: Callable[[Block], _Part]) -> dict[_Part, int]:
    """For each part of the model, how many turns the busiest tile makes for it."""
    turns: dict[tuple[_Part, int], set[Hashable]] = {}
    for placed in placement.blocks:
        turns.setdefault((part(placed.block), placed.tile), set()).add(placement.turn(placed))
    found: dict[_Part, int] = {}
    for (own, _), different in turns.items():
        found[own] = max(found.get(own, 0), len(different))
    return found
