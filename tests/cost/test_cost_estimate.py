"""The cost of MobileBERT, worked out by hand, and what nobody has published."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, MobileBertConfig

from aimc_deploy.config.chip import Placement
from aimc_deploy.config.load import load_preset
from aimc_deploy.cost.estimate import estimate, hide
from aimc_deploy.models.select import choose_layers
from aimc_deploy.models.trace import trace
from aimc_deploy.workflows.base import tile_map


def plan_of(preset: str, strategy: str) -> dict[str, Any]:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(MobileBertConfig())
    choices = choose_layers(model)
    traced = trace(model, [choice.name for choice in choices if choice.analog])
    hardware = load_preset(preset).model_copy(
        update={"placement": Placement.model_validate({"strategy": strategy})}
    )
    return tile_map(choices, traced, hardware)


@pytest.fixture(scope="module")
def naive() -> dict[str, Any]:
    return plan_of("hermes64-1p", "naive")


def test_a_token_and_a_sequence_on_hermes(naive: dict[str, Any]) -> None:
    """289 stages one after the other, 652 products, rank 8: 38.4 us and 8.76 uJ, adapters 4.74 uJ."""
    hardware = load_preset("hermes64-1p")
    cost = estimate(naive, hardware, rank=8, tokens=8, length=128)
    assert cost.products == cost.tiles == 652
    assert cost.chips == math.ceil(652 / 64) == 11
    assert cost.token_ns == pytest.approx(289 * 132.9)
    assert cost.tile_nj == pytest.approx(652 * 13.43)
    assert cost.adapter_nj == pytest.approx(2 * 1_629_184 / 688)
    assert cost.segments == 25, "attention in each of 24 layers needs every token"
    assert cost.interval == 1
    assert cost.sequence_ns == pytest.approx((289 + 25 * 127) * 132.9)
    assert cost.sequence_serial_ns == pytest.approx(128 * 289 * 132.9)
    assert cost.tokens_per_s == pytest.approx(1e9 / 132.9)
    assert cost.token_with_adapters_ns is not None
    assert cost.token_with_adapters_ns > cost.token_ns
    assert len(cost.layers) == 361
    layer = next(part for part in cost.layers if part.layer.endswith("0.output.bottleneck.dense"))
    assert (layer.rows, layer.cols, layer.turns, layer.tile_ns) == (128, 512, 1, 132.9)


def test_fewer_tiles_are_paid_for_in_time() -> None:
    hardware = load_preset("ahwa-lora-128")
    costs = {
        strategy: estimate(plan_of("ahwa-lora-128", strategy), hardware, rank=8, tokens=8, length=128)
        for strategy in ("naive", "fused", "layer", "dense", "diagonal")
    }
    assert [costs[name].tiles for name in ("naive", "fused", "layer")] == [361, 289, 97]
    assert {costs[name].token_ns for name in ("naive", "fused", "layer", "diagonal")} == {289 * 128.0}, (
        "a token alone never waits: blocks of one stage are on tiles of their own"
    )
    assert costs["layer"].sequence_ns == pytest.approx((289 + 25 * 127 * 4) * 128)
    assert costs["naive"].products == 361
    assert costs["fused"].products == costs["layer"].products == 289
    dense, layer = costs["dense"], costs["layer"]
    assert dense.sequence_ns is not None
    assert layer.sequence_ns is not None
    assert dense.sequence_ns > layer.sequence_ns


def test_what_is_not_published_is_none_and_never_nothing(naive: dict[str, Any]) -> None:
    unknown = load_preset("hermes-2dev")
    cost = estimate(naive, unknown, rank=8, tokens=8, length=128)
    assert (cost.token_ns, cost.sequence_ns, cost.tokens_per_s, cost.tile_nj) == (None, None, None, None)
    assert (cost.chips, cost.area_mm2) == (None, None)
    assert all((layer.tile_ns, layer.pipelined, layer.serial) == (None, None, None) for layer in cost.layers)
    assert cost.adapter_nj > 0, "the cluster is known"
    assert hide(naive, unknown, 0.05) is None


def test_the_largest_rank_that_a_budget_allows() -> None:
    plan = plan_of("ahwa-lora-256", "naive")
    hardware = load_preset("ahwa-lora-256")
    rank, tokens = hide(plan, hardware, 0.05) or (0, 0)
    assert rank > 0
    kept = estimate(plan, hardware, rank=rank, tokens=tokens, length=1)
    assert max(layer.pipelined or 0.0 for layer in kept.layers) <= 0.05
    assert max(layer.adapter_bytes for layer in kept.layers) <= 128 * 1024
    more = estimate(plan, hardware, rank=2 * rank, tokens=tokens, length=1)
    assert max(layer.pipelined or 0.0 for layer in more.layers) > 0.05
    assert hide(plan, hardware, 100.0) == (64, 1), "whatever it costs"
    # To hand a batch over always takes some time.
    assert hide(plan_of("ahwa-lora-128", "naive"), hardware, 0.0) is None


def test_a_diagonal_tile_makes_one_product_whatever_is_on_it() -> None:
    """Two matrices of one stage, and two row parts of one matrix, on rows and columns of their own."""

    def layer(name: str, stage: int, blocks: list[tuple[tuple[int, int], int]]) -> dict[str, Any]:
        placed = [{"tile": 0, "at": [at, at], "rows": list(rows), "cols": [0, 8]} for rows, at in blocks]
        own = {"layer": name, "reads": name, "stage": stage, "group": "enc.0"}
        return {**own, "rows": blocks[-1][0][1], "cols": 8, "blocks": placed}

    plan = {
        "strategy": "diagonal",
        "tile": {"rows": 512, "cols": 512},
        "tiles": 1,
        "initiation_interval": 1,
        "analog": [
            layer("a", 0, [((0, 8), 0)]),
            layer("b", 0, [((0, 8), 8)]),
            layer("c", 1, [((0, 8), 16), ((8, 16), 24)]),
        ],
    }
    cost = estimate(plan, load_preset("ahwa-lora-128"), rank=8, tokens=8, length=1)
    assert cost.products == 1
    assert cost.token_ns == 2 * 128, "one stage after the other"
    assert [part.turns for part in cost.layers] == [1, 1, 1]
