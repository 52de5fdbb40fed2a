"""The settings of an adapter: kinds of LoRA, ranks of their own, some layers only; and the gap loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.adapt import Lora
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ConfigError
from aimc_deploy.nn.convert import analog_layers
from aimc_deploy.workflows import adapt
from aimc_deploy.workflows.adapters import WEIGHTS
from aimc_deploy.workflows.attach import lora_switched_off
from aimc_deploy.workflows.deployed import load

Configure = Callable[..., Run]

FEW = {"epochs": 0.3, "learning_rate": 1.0e-2}
INPUTS = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]])}


def adapted_by(configure: Configure, bundle: Path, lora: dict[str, Any], **changes: Any) -> Bundle:
    return adapt.run(configure(bundle, adapt={**FEW, "lora": Lora(**lora), **changes})).bundle


def settings_of(bundle: Bundle) -> dict[str, Any]:
    return json.loads(bundle.file("adapters/sst2/adapter_config.json").read_text())


def test_layers_and_ranks_by_pattern(mapped: Path, configure: Configure) -> None:
    ranks = ({"layers": "*.query", "r": 2}, {"layers": "*self*", "r": 3})
    bundle = adapted_by(configure, mapped, {"r": 5, "layers": ("*attention*",), "ranks": ranks})
    tensors = bundle.read_tensors(f"adapters/sst2/{WEIGHTS}")
    found = {name: value.shape[0] for name, value in tensors.items() if name.endswith("lora_A.weight")}
    names = [name for name in analog_layers(load(mapped)) if "attention" in name]
    assert len(found) == len(names) < len(analog_layers(load(mapped)))
    for name, rank in found.items():
        wanted = 2 if ".query." in name else 3 if ".self." in name else 5
        assert rank == wanted, name
    load(mapped).set_adapter("sst2")


@pytest.mark.parametrize("kind", ["rslora", "dora"])
def test_kinds_of_lora_are_those_of_peft(mapped: Path, configure: Configure, kind: str) -> None:
    bundle = adapted_by(configure, mapped, {kind: True, "dropout": 0.0})
    assert settings_of(bundle)[f"use_{kind}"] is True
    model = load(mapped).set_adapter("sst2")
    with torch.no_grad():
        with_lora = model(**INPUTS).logits
        with lora_switched_off(model.model):
            off = model(**INPUTS).logits
        assert torch.equal(model(**INPUTS).logits, with_lora)
    assert not torch.allclose(with_lora, off)


def test_dora_trains_through_the_hardware_only_without_dropout() -> None:
    with pytest.raises(ValidationError, match=r"dora: needs dropout 0 \(adapt.lora.dropout=0\)"):
        Lora(dora=True)
    assert Lora(dora=True, dropout=0.0).dora


@pytest.mark.parametrize("key", ["layers", "ranks"])
def test_a_pattern_that_fits_nothing_is_told(mapped: Path, configure: Configure, key: str) -> None:
    value: Any = ("*.nobody",) if key == "layers" else ({"layers": "*.nobody", "r": 2},)
    with pytest.raises(ConfigError, match=rf"adapt.lora.{key}: '\*.nobody' fits no analog layer"):
        adapted_by(configure, mapped, {key: value})


def test_the_gap_loss_brings_the_logits_with_and_without_hardware_together(
    mapped: Path, configure: Configure
) -> None:
    """On the chips of training, measured on one that is none of them."""
    gaps = []
    for weight in (0.0, 30.0):
        name = f"gap-{weight:g}"
        adapt.run(
            configure(
                mapped,
                adapt={"epochs": 3.0, "learning_rate": 1.0e-2, "gap_weight": weight, "name": name},
            )
        )
        model = load(mapped).set_adapter(name).program(0).drift("1y")
        inputs = {"input_ids": torch.randint(5, 15, (64, 10), generator=torch.Generator().manual_seed(0))}
        with torch.no_grad():
            noisy = model(**inputs).logits
            gaps.append(float((noisy - model.digital()(**inputs).logits).pow(2).mean()))
    assert gaps[1] < gaps[0]
