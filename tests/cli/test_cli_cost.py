"""``aimc-deploy cost``: totals, what is not available, and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import call

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.load import load_preset
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import cost


def test_it_tells_totals_layers_and_sources(tmp_path: Path, checkpoint_once: Path) -> None:
    bundle = str(tmp_path / "b")
    assert call("map", checkpoint_once, bundle, "--set", "hardware.placement.strategy=layer").code == 0
    ended = call("cost", "-b", bundle, "--hardware", "analog-fabric", "--rank", "4")
    assert ended.code == 0, ended.err
    assert "with adapters of rank 4" in ended.out
    assert "mvm_ns    40 (simulated; Jain et al., TVLSI 31, 114 (2023); Burr, CICC 2025)" in ended.out
    assert "tiles     not available" in ended.out
    assert "attention, normalisation and data movement are not counted" in ended.out
    found = call("cost", "-b", bundle, "--hardware", "analog-fabric", "--format", "json").json()
    assert found["hardware"] == "analog-fabric"
    assert found["token_ns"] > 0
    assert found["chips"] is None
    assert found["area_mm2"] == found["tiles"] * 1.2
    assert found["chip"]["mvm_nj"]["kind"] == "derived"
    assert {"layer", "tile_ns", "adapter_ns", "adapter_bytes", "pipelined"} <= set(found["layers"][0])


def test_a_chip_without_figures_is_told(bundle: Path) -> None:
    ended = call("cost", "-b", bundle)
    assert ended.code == 0
    assert (
        "no time is known of this chip: choose one with --hardware, or set hardware.chip.mvm_ns" in ended.out
    )
    assert call("cost", "-b", bundle, "--format", "json").json()["token_ns"] is None


def test_a_model_is_planned_from_its_configuration_alone(tmp_path: Path, checkpoint_once: Path) -> None:
    folder = tmp_path / "shapes"
    folder.mkdir()
    (folder / "config.json").write_bytes((checkpoint_once / "config.json").read_bytes())
    asked = ("--hardware", "analog-fabric", "--format", "json")
    found = call("cost", folder, *asked).json()
    bundle = str(tmp_path / "b")
    assert call("map", checkpoint_once, bundle, "--hardware", "analog-fabric").code == 0
    assert found == call("cost", "-b", bundle, *asked).json()
    assert f"map {folder} --hardware analog-fabric" in call("cost", folder, "--hardware", "analog-fabric").err
    assert "no config.json" in call("cost", tmp_path).message
    (folder / "config.json").write_text('{"model_type": "no-such-family"}')
    assert "no model can be planned from the configuration of" in call("cost", folder).message
    assert "leave one of them out" in call("cost", folder, "-b", bundle).err


def test_mistakes(bundle: Path, tmp_path: Path) -> None:
    assert "no bundle" in call("cost", "-b", tmp_path / "nobody").message
    assert "mapped on tiles of 512 x 512, and 'hermes64-1p' has 256 x 256" in (
        call("cost", "-b", bundle, "--hardware", "hermes64-1p").message
    )
    ended = call("cost", "-b", bundle, "--budget", "much")
    assert ended.code == 2
    assert "'much' is no share: write 5% or 0.05" in ended.err


def test_a_bundle_of_an_earlier_version_is_to_be_mapped_again(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = json.loads((bundle / "tile_map.json").read_text())
    del plan["initiation_interval"]
    monkeypatch.setattr(Bundle, "read_json", lambda self, name: plan)
    with pytest.raises(ArtifactError, match="map again with `aimc-deploy map --overwrite`"):
        cost.run(bundle, load_preset("pcm"), rank=8, tokens=8, length=8, budget=0.05)
