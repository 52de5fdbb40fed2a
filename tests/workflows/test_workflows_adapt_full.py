"""Adapt with ``method: full``: all weights are retrained, mapped anew, and put into a bundle of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_deployment import files_of

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import adapt, evaluate
from aimc_deploy.workflows.deployed import load

Configure = Callable[..., Run]

FULL = {"method": "full", "learning_rate": 1.0e-3}


def test_it_writes_a_new_base_and_leaves_the_source_alone(
    tmp_path: Path, mapped: Path, configure: Configure
) -> None:
    before = files_of(mapped)
    result = adapt.run(configure(mapped, adapt=FULL))
    assert files_of(mapped) == before
    assert result.bundle.path == tmp_path / "bundle-sst2-full"
    new, old = Bundle.open(result.bundle.path), Bundle.open(mapped)
    assert new.verify() == []
    assert new.adapters() == (result.name,) == ("sst2-full",)
    assert result.base_before == old.manifest.base_sha256 != result.base_after
    assert new.manifest.base_sha256 == result.base_after == result.record.base_sha256
    assert new.manifest.mapping_digest == old.manifest.mapping_digest
    assert new.manifest.source == {**old.manifest.source, "retrained": "sst2-full"}
    assert new.read_json("tile_map.json") == old.read_json("tile_map.json")
    assert files_of(result.bundle.path).keys() - files_of(mapped).keys() == {
        "adapters/sst2-full/adapter.json",
        "adapters/sst2-full/head.safetensors",
    }


def test_every_weight_is_retrained_and_held_by_the_tiles(mapped: Path, configure: Configure) -> None:
    path = adapt.run(configure(mapped, adapt=FULL)).bundle.path
    old, new = load_file(mapped / "tiles.safetensors"), load_file(path / "tiles.safetensors")
    assert old.keys() == new.keys()
    scales = [name for name in old if name.endswith("w_scale")]
    assert not any(torch.equal(old[name], new[name]) for name in scales)
    digital_old, digital_new = (load_file(where / "model.safetensors") for where in (mapped, path))
    biases = [name for name in digital_old if name.endswith("dense.bias")]
    assert biases
    assert not any(torch.equal(digital_old[name], digital_new[name]) for name in biases)
    model = load(path).set_adapter("sst2-full")
    head = load_file(path / "adapters" / "sst2-full" / "head.safetensors")
    for name, value in head.items():
        assert torch.equal(model.model.state_dict()[name], value)
        assert torch.equal(digital_new[name], value)


def test_its_scores_are_what_evaluate_measures_and_it_has_no_unadapted_one(
    mapped: Path, configure: Configure
) -> None:
    result = adapt.run(configure(mapped, adapt={**FULL, "epochs": 8.0, "learning_rate": 5.0e-3}))
    config = configure(result.bundle.path, evaluate={"chips": 1, "times": ("0s",), "unadapted": True})
    results = evaluate.run(config).results
    assert [row.adapter for row in results.rows] == ["sst2-full"], "nothing is left with LoRA off"
    assert result.record.scores == {
        "digital": results.baselines[0].metrics["accuracy"],
        "adapted": results.rows[0].metrics["accuracy"],
        "unadapted": None,
    }
    assert result.record.scores["adapted"] > 0.6, "it learned nothing, and equal scores would mean nothing"


def test_one_seed_gives_the_same_bytes(tmp_path: Path, mapped: Path, configure: Configure) -> None:
    paths = [
        adapt.run(configure(mapped, adapt=FULL), out=tmp_path / name).bundle.path for name in ("one", "two")
    ]
    found = [
        {name: data for name, data in files_of(path).items() if name != "manifest.json"} for path in paths
    ]
    assert found[0] == found[1]
    first, second = (Bundle.open(path).manifest for path in paths)
    assert first.model_copy(update={"created": second.created}) == second


def test_a_bundle_that_is_there_is_refused_kept_or_replaced(mapped: Path, configure: Configure) -> None:
    config = configure(mapped, adapt={**FULL, "epochs": 0.3})
    path = adapt.run(config).bundle.path
    before = files_of(path)
    with pytest.raises(ArtifactError, match="adapter 'sst2-full' already"):
        adapt.run(config)
    assert adapt.run(config, existing="keep").kept
    assert files_of(path) == before
    other = configure(mapped, adapt={**FULL, "epochs": 0.3}, seed=1)
    with pytest.raises(ArtifactError, match="other settings"):
        adapt.run(other, existing="keep")
    assert files_of(path) == before
    assert adapt.run(other, existing="replace").bundle.path == path
    assert Bundle.open(path).manifest.seed == 1


def test_a_folder_that_is_no_bundle_is_refused_before_training(
    tmp_path: Path, mapped: Path, configure: Configure
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")

    class Never:
        def start(self, what: str, total: int | None) -> None:
            raise AssertionError(f"{what} began")

        def advance(self, steps: int = 1, note: str = "") -> None: ...

        def say(self, message: str) -> None: ...

    with pytest.raises(ArtifactError):
        adapt.run(configure(mapped, adapt=FULL), out=tmp_path / "mine", existing="replace", progress=Never())
    with pytest.raises(ArtifactError):
        adapt.run(configure(mapped, adapt=FULL), out=tmp_path / "mine", progress=Never())
    assert files_of(tmp_path / "mine") == {"letter.txt": b"dear"}


def test_static_ranges_of_the_retrained_layers_are_stored(mapped: Path, configure: Configure) -> None:
    config = configure(mapped, hardware="pcm-static", adapt={**FULL, "epochs": 0.3})
    result = adapt.run(config)
    layers = [entry["layer"] for entry in result.bundle.read_json("tile_map.json")["analog"]]
    assert sorted(result.record.input_ranges or {}) == sorted(layers)


def test_the_new_bundle_takes_adapters_itself(mapped: Path, configure: Configure) -> None:
    path = adapt.run(configure(mapped, adapt={**FULL, "epochs": 0.3})).bundle.path
    result = adapt.run(configure(path, adapt={"epochs": 0.3}))
    assert result.base_before == result.base_after == Bundle.open(path).manifest.base_sha256
    assert Bundle.open(path).adapters() == ("sst2", "sst2-full")
