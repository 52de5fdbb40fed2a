"""The small bundle that campaigns attack: every kind of file that a bundle has, without a model behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import small_bundle
import torch

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import write_json
from aimc_deploy.artifact.results import Baseline, Results, Row, to_csv, to_json
from aimc_deploy.artifact.tensors import write_tensors
from aimc_deploy.artifact.tile_map import AnalogLayer, BlockEntry, DigitalLayer, TileMap, TileSide
from aimc_deploy.config.hardware import Hardware

LAYER = "encoder.layer.0.query"


def create(path: Path, version: int = 1, *, overwrite: bool = False) -> Bundle:
    """Write a bundle whose every file tells ``version``."""
    return small_bundle.create(
        path,
        version,
        _write_base,
        source={"source": "small", "version": version},
        hardware_digest=Hardware().digest(),
        mapping_digest=Hardware().mapping_digest(),
        seed=version,
        overwrite=overwrite,
    )


def complete(path: Path, version: int = 1) -> Bundle:
    """The same with two adapters of equal size and with results."""
    bundle = create(path, version)
    bundle.put("adapters/one", small_bundle.write_adapter(version))
    bundle.put("adapters/two", small_bundle.write_adapter(version + 1))
    bundle.put_files(results(version))
    return bundle


def results(version: int) -> dict[str, bytes]:
    """The files of an evaluation."""
    rows = tuple(
        Row(adapter="one", chip=chip, time="0s", t_s=0.0, metrics={"accuracy": version / 1024})
        for chip in range(2)
    )
    found = Results(
        task="sst2",
        metric="accuracy",
        samples=8,
        seed=version,
        hardware_digest=Hardware().digest(),
        settings={"times": ["0s"], "trained_for_other_hardware": []},
        baselines=(Baseline(adapter="one", metrics={"accuracy": 1.0}),),
        rows=rows,
    )
    return {"results/sst2.json": to_json(found).encode(), "results/sst2.csv": to_csv(found).encode()}


def use(path: Path) -> dict[str, Any]:
    """Open a bundle and read every file of it, as the commands do; its JSON by name.

    Raises:
        ArtifactError: something is wrong with it.
    """
    bundle = Bundle.open(path)
    found: dict[str, Any] = {}
    for name in bundle.manifest.files:
        if name.endswith(".json"):
            found[name] = bundle.read_json(name)
        elif name.endswith(".safetensors"):
            bundle.read_tensors(name)
        else:
            bundle.file(name)
    return found


def _write_base(folder: Path, version: int) -> None:
    blocks = tuple(
        BlockEntry(tile=0, at=(4 * at, 0), rows=(4 * at, 4 * at + 4), cols=(0, 4), tensors=f"{LAYER}.{at}")
        for at in range(2)
    )
    plan = TileMap(
        strategy="layer",
        tile=TileSide(rows=8, cols=8),
        g_max=25.0,
        tiles=1,
        tiles_bound=1,
        initiation_interval=1,
        weights=32,
        utilisation=0.5,
        analog=(
            AnalogLayer(
                layer=LAYER, rows=8, cols=4, reads="x", stage=0, group="0", utilisation=0.5, blocks=blocks
            ),
        ),
        digital=(DigitalLayer(layer="classifier", rows=4, cols=2, reason="it is the head"),),
    )
    tiles = {
        f"{LAYER}.{at}.{part}": torch.arange(size).reshape(shape).float() + version
        for at in range(2)
        for part, size, shape in (("g_plus", 16, (4, 4)), ("g_minus", 16, (4, 4)), ("w_scale", 4, (4,)))
    }
    write_tensors(folder / "tiles.safetensors", tiles)
    write_tensors(folder / "model.safetensors", {"bias": torch.full((8,), float(version))})
    write_json(folder / "tile_map.json", plan.model_dump(mode="json"))
    write_json(folder / "hardware.json", Hardware().model_dump(mode="json"))
    write_json(folder / "config.json", {"hidden_size": 4, "version": version})
    (folder / "vocab.txt").write_text("[PAD]\nword\n")
