"""The tile map for other programs: its schema, and a reader that knows nothing of this package."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny_deployment import recipe, write_checkpoint, write_task

import aimc_deploy
from aimc_deploy.artifact.manifest import validated
from aimc_deploy.artifact.tile_map import TileMap
from aimc_deploy.config.hardware import TileSize
from aimc_deploy.config.load import load_preset
from aimc_deploy.errors import ArtifactError
from aimc_deploy.nn.convert import analog_layers
from aimc_deploy.workflows import map

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module", params=["pcm", "hermes-1dev"])
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of layers that are cut into several blocks."""
    folder = tmp_path_factory.mktemp("tile-map")
    config = recipe(folder / "b", write_checkpoint(folder / "tiny"), write_task(folder / "data"))
    hardware = load_preset(request.param).model_copy(update={"tile": TileSize(rows=20, cols=24)})
    map.run(config.model_copy(update={"hardware": hardware}), folder / "b")
    return folder / "b"


def reader() -> Any:
    spec = importlib.util.spec_from_file_location("read_layer", DOCS / "read_layer.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_example_reads_every_layer_and_multiplies_alike(bundle: Path) -> None:
    read_layer = reader().read_layer
    x = np.random.default_rng(0).standard_normal(64).astype(np.float32)
    layers = analog_layers(aimc_deploy.load(bundle))
    for name, layer in layers.items():
        matrix, bias = read_layer(bundle, name)
        inputs = x[: layer.in_features]
        with torch.no_grad():
            expected = layer(torch.from_numpy(inputs)).numpy()
        np.testing.assert_allclose(matrix @ inputs + bias, expected, rtol=1e-5, atol=1e-5)
    cut = json.loads((bundle / "tile_map.json").read_text())
    assert max(len(entry["blocks"]) for entry in cut["analog"]) > 1


def test_the_example_needs_numpy_and_safetensors_alone_and_is_short() -> None:
    text = (DOCS / "read_layer.py").read_text()
    imported = {
        line.split()[1].split(".")[0] for line in text.splitlines() if line.startswith(("import ", "from "))
    }
    assert imported == {"json", "sys", "pathlib", "numpy", "safetensors"}
    body = [line for line in text.splitlines() if line.strip() and not line.strip().startswith(('"""', "#"))]
    assert len(body) <= 30


def test_what_is_written_is_as_the_models_say(bundle: Path) -> None:
    plan = json.loads((bundle / "tile_map.json").read_text())
    assert TileMap.model_validate(plan).model_dump(mode="json") == plan
    with pytest.raises(ValidationError, match="strategy"):
        TileMap.model_validate({**plan, "strategy": "elsewhere"})
    later = TileMap.model_validate({**plan, "added": 1})
    assert later.model_dump()["added"] == 1, "of a later minor version"


def test_the_published_schema_is_that_of_the_models() -> None:
    published = json.loads((DOCS / "tile_map.schema.json").read_text())
    assert published == TileMap.model_json_schema()


def test_a_number_beyond_every_float_is_refused_by_name() -> None:
    golden = Path(__file__).parents[1] / "golden" / "0.1.0" / "bundle" / "tile_map.json"
    content = json.loads(golden.read_bytes())
    assert validated(TileMap, content, "tile_map.json").g_max == content["g_max"]
    with pytest.raises(ArtifactError, match=r"tile_map\.json: g_max: Input should be a finite number"):
        validated(TileMap, {**content, "g_max": 10**400}, "tile_map.json")
