"""Shapes from a configuration alone."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.run import Source
from aimc_deploy.errors import ModelError
from aimc_deploy.models.skeleton import load_skeleton
from aimc_deploy.workflows.map import plan

SEVEN_BILLION = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}


def write(folder: Path, **config: object) -> Source:
    (folder / "config.json").write_text(json.dumps(config))
    return Source(path=str(folder))


def test_a_decoder_of_seven_billion_parameters_is_planned_in_a_minute(tmp_path: Path) -> None:
    start = time.perf_counter()
    found = plan(write(tmp_path, **SEVEN_BILLION), Hardware())
    assert time.perf_counter() - start < 60
    assert found["weights"] == 32 * (4 * 4096**2 + 3 * 4096 * 11008) == 6_476_005_376
    # Four matrices of 8 x 8 tiles and three of 8 x 22, none of which can share one.
    assert found["tiles"] == 32 * (4 * 64 + 3 * 176)
    entries = {entry["layer"]: entry for entry in found["analog"]}
    first = {name.rpartition(".")[2]: entry for name, entry in entries.items() if "layers.0." in name}
    assert first["q_proj"]["reads"] == first["k_proj"]["reads"] == first["v_proj"]["reads"]
    assert first["gate_proj"]["reads"] == first["up_proj"]["reads"] != first["down_proj"]["reads"]
    assert [first[name]["stage"] for name in ("q_proj", "o_proj", "up_proj", "down_proj")] == [0, 1, 2, 3]


def test_nothing_takes_memory(tmp_path: Path) -> None:
    model = load_skeleton(write(tmp_path, **SEVEN_BILLION))
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_the_bundled_model_is_the_default() -> None:
    assert load_skeleton(Source()).config.model_type == "mobilebert"


@pytest.mark.parametrize(
    "config", [{}, {"model_type": "none"}, {"model_type": "bert", "hidden_size": -1}, {"model_type": "clip"}]
)
def test_what_no_model_can_be_built_from(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="no model can be planned from the configuration of"):
        load_skeleton(write(tmp_path, **config))


def test_a_folder_without_a_configuration(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json, which is all that a plan needs"):
        load_skeleton(Source(path=str(tmp_path)))
