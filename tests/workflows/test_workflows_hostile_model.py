"""Bundles whose hashes fit and whose files describe no model: one clear refusal, and no memory for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import AimcError
from aimc_deploy.workflows.base import read_tokenizer
from aimc_deploy.workflows.deployed import load

Tensors = dict[str, torch.Tensor]


def refusal(bundle: Path) -> str:
    with pytest.raises(AimcError) as caught:
        read_tokenizer(load(bundle).bundle)
    assert caught.value.exit_code == 2
    return str(caught.value)


def put(bundle: Path, name: str, content: Any) -> None:
    """Into a bundle, with its SHA-256 and with a card that asks nothing of it."""
    Bundle.open(bundle).put_files({name: json.dumps(content).encode(), "README.md": b"a card"})


def first(tensors: Tensors, ending: str) -> str:
    return next(name for name in sorted(tensors) if name.endswith(ending))


def shifted(ending: str, value: float) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        tensors[first(tensors, ending)][0, 0] = value

    return change


def replaced(ending: str, make: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], None]:
    def change(tensors: Tensors) -> None:
        name = first(tensors, ending)
        tensors[name] = make(tensors[name])

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shifted("g_plus", -0.01), "outside of the conductances, [0, 25] uS"),
        (shifted("g_minus", -0.01), "outside of the conductances, [0, 25] uS"),
        (shifted("g_plus", 25.1), "outside of the conductances, [0, 25] uS"),
        (shifted("g_minus", 1e30), "outside of the conductances, [0, 25] uS"),
        (replaced("g_minus", lambda part: part.t().contiguous()), "the tile map says float32 of"),
        (replaced("g_plus", lambda part: part.to(torch.int32)), "has torch.int32 of shape"),
        (replaced("w_scale", lambda part: part[:1].clone()), "the tile map says float32 of"),
        (lambda tensors: tensors.pop(first(tensors, "w_scale")), "do not describe the same model"),
    ],
)
def test_tiles_that_no_chip_could_hold(mapped: Path, change: Callable[[Tensors], None], message: str) -> None:
    bundle = Bundle.open(mapped)
    tensors = bundle.read_tensors("tiles.safetensors")
    change(tensors)
    bundle.put_files({"tiles.safetensors": safetensors.torch.save(tensors)})
    told = refusal(mapped)
    assert message in told
    assert "tiles.safetensors" in told


def with_layer(name: str) -> Callable[[dict[str, Any]], None]:
    return lambda plan: plan["analog"].append({**plan["analog"][0], "layer": name})


def of_first_layer(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda plan: plan["analog"][0].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda plan: plan.update(analog=3), "analog: "),
        (lambda plan: plan["analog"][0].pop("blocks"), "analog.0.blocks: "),
        (of_first_layer(blocks=[]), "analog.0.blocks: "),
        (lambda plan: plan["analog"][0]["blocks"][0].update(tile=-1), "analog.0.blocks.0.tile: "),
        (lambda plan: plan["analog"][0]["blocks"].append(plan["analog"][0]["blocks"][0]), "needs 1"),
        (with_layer("nowhere"), "(layer 'nowhere': "),
        (with_layer("mobilebert.embeddings.LayerNorm"), "is no layer of weights"),
        (lambda plan: plan["analog"].pop(0), "model.safetensors lacks "),
    ],
)
def test_a_tile_map_of_another_model(
    mapped: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    bundle = Bundle.open(mapped)
    plan = bundle.read_json("tile_map.json")
    change(plan)
    put(mapped, "tile_map.json", plan)
    assert message in refusal(mapped)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "evil"}, "the files of the model cannot be read"),
        ({"hidden_size": "many"}, "the files of the model cannot be read"),
        ({"hidden_size": 2**20}, "does not fit the model in config.json"),
        ({"vocab_size": 2**50}, "does not fit the model in config.json"),
        ({"num_hidden_layers": 40}, "model.safetensors lacks "),
    ],
)
def test_a_configuration_of_another_model(mapped: Path, changes: dict[str, Any], message: str) -> None:
    bundle = Bundle.open(mapped)
    content = {**bundle.read_json("config.json"), **changes}
    put(mapped, "config.json", content)
    assert message in refusal(mapped)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("hardware.json", "hardware.json: evil: unknown key"),
        ("tokenizer.json", "the files of the tokenizer cannot be read"),
        ("config.json", "the files of the model cannot be read"),
    ],
)
def test_a_file_that_describes_something_else(mapped: Path, name: str, message: str) -> None:
    put(mapped, name, {"evil": 1})
    assert message in refusal(mapped)


def test_a_tile_map_that_no_card_can_tell_of_is_no_internal_error(mapped: Path) -> None:
    put(mapped, "tile_map.json", {"analog": 3})
    with pytest.raises(AimcError, match=r"no card can be made .*tile_map.json"):
        Bundle.open(mapped).put_files({"tokenizer.json": b"{}"})
