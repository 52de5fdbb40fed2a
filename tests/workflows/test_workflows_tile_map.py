"""The tile map of the genuine MobileBERT, whose shapes need no weights."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForSequenceClassification, MobileBertConfig

from aimc_deploy.config.chip import Placement
from aimc_deploy.config.hardware import Hardware, TileSize
from aimc_deploy.models.select import LayerChoice, choose_layers
from aimc_deploy.models.trace import Traced, trace
from aimc_deploy.workflows.base import tile_map


@pytest.fixture(scope="module")
def mobilebert() -> tuple[list[LayerChoice], dict[str, Traced]]:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(MobileBertConfig())
    choices = choose_layers(model)
    return choices, trace(model, [choice.name for choice in choices if choice.analog])


@pytest.mark.parametrize(
    ("strategy", "side", "tiles", "interval"),
    [
        ("naive", 512, 361, 1),
        ("naive", 256, 652, 1),
        ("fused", 512, 289, 1),
        ("fused", 256, 580, 1),
        ("dense", 512, 78, 14),
        ("dense", 256, 310, 4),
        ("layer", 512, 97, 4),
        ("layer", 256, 316, 2),
        ("diagonal", 512, 259, 1),
        ("diagonal", 256, 568, 1),
    ],
)
def test_tiles_as_known_for_mobilebert(
    mobilebert: tuple[list[LayerChoice], dict[str, Traced]],
    strategy: str,
    side: int,
    tiles: int,
    interval: int,
) -> None:
    placement = Placement.model_validate({"strategy": strategy})
    plan = tile_map(*mobilebert, Hardware(tile=TileSize(rows=side, cols=side), placement=placement))
    assert plan["weights"] == 20_250_624
    assert (plan["tiles"], plan["initiation_interval"]) == (tiles, interval), "as docs/cost.md says"
    assert plan["tiles_bound"] == (78 if side == 512 else 309)
