"""What is read of a bundle: manifest, journal, tile map, hardware, adapters, results, tensors.

Each reader is called as the commands call it. What it takes is written and read again, and must be the same.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel

from aimc_deploy.artifact.adapter import AdapterRecord
from aimc_deploy.artifact.card import card
from aimc_deploy.artifact.comparison import compare
from aimc_deploy.artifact.files import dump_json, parse_json, read_json
from aimc_deploy.artifact.gate import judge
from aimc_deploy.artifact.journal import PENDING, _read_journal
from aimc_deploy.artifact.manifest import MANIFEST, Manifest, _seal, read_manifest, validated
from aimc_deploy.artifact.noise_budget import losses
from aimc_deploy.artifact.results import from_file, from_json, to_csv, to_json
from aimc_deploy.artifact.sensitivity import LayerEffect, Sensitivity
from aimc_deploy.artifact.tensors import load_tensors, read_tensors
from aimc_deploy.artifact.tile_map import TileMap
from aimc_deploy.config import load
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.mistakes import checked
from aimc_deploy.config.run import Gate
from aimc_deploy.errors import AimcError, ArtifactError
from campaigns.mutations import Draft
from campaigns.parser import Parser, Unsound, as_json, same

GOLDEN = Path(__file__).parents[2] / "tests" / "golden" / "0.1.0" / "bundle"
STAGED = ".tmp-0123456789abcdef"


def golden(*names: str) -> tuple[Any, ...]:
    return tuple(json.loads((GOLDEN / name).read_bytes()) for name in names)


def _sealed(draft: Draft) -> bytes:
    """A manifest whose seal fits, most often: what somebody writes who knows the format."""
    if isinstance(draft.tree, dict) and draft.draw.random() < 0.8:
        draft.tree.pop("manifest_sha256", None)
        with contextlib.suppress(AimcError):  # the seal of what a reader understands
            content = parse_json(as_json(draft), MANIFEST)
            if isinstance(content, dict):
                draft.tree = {**content, "manifest_sha256": _seal(content)}
    return as_json(draft)


def _of_model(model: type[BaseModel], path: Path) -> Any:
    """Read, write and read what has a model."""
    found = validated(model, read_json(path), path)
    _written(model, found)
    return found


def _written(model: type[BaseModel], found: BaseModel) -> None:
    text = dump_json(found.model_dump(mode="json"), "it")
    same(model.__name__, found, validated(model, parse_json(text.encode(), "it"), "it"))


def _manifest(path: Path) -> None:
    found = read_manifest(path.parent)
    _written(Manifest, found)
    for name in found.files:
        if name.startswith("/") or ".." in name or "\\" in name or not name.isprintable():
            raise Unsound(f"a manifest may name the file {name!r}")


def _journal(path: Path) -> None:
    (path.parent / STAGED).mkdir(exist_ok=True)
    staged, targets = _read_journal(path.parent)
    for name in (staged.name, *targets):
        if name.startswith("/") or ".." in name:
            raise Unsound(f"a journal may name {name!r}")


def _hardware(path: Path) -> None:
    found = checked(Hardware, read_json(path), {(): str(path)})
    same("the hardware", found, checked(Hardware, found.model_dump(mode="json"), {}))
    same("its digest", found.digest(), load.load_hardware_json(path).digest())
    found.mapping_digest()


def _adapter(path: Path) -> None:
    found = _of_model(AdapterRecord, path)
    for told in (found.how, found.analog_head, found.trained_for("0" * 64), found.at_age(60.0)):
        repr(told)
    found.ranges_for(Hardware())


def _results(path: Path) -> None:
    found = from_file(path)
    same("the results", found, from_json(to_json(found)))
    to_csv(found)
    for ask in (partial(judge, gate=found.gate or Gate()), losses, partial(compare, found)):
        with contextlib.suppress(AimcError):
            ask(found)


def _card(path: Path) -> None:
    """One document of a bundle, in the place of the sound one that has the same name."""
    name, content = _one(read_json(path))
    manifest, files = _bundle()
    if name == MANIFEST:
        manifest = validated(Manifest, content, path)
    card(manifest, lambda asked: content if asked == name else files[asked])


def _one(tree: Any) -> tuple[str, Any]:
    if isinstance(tree, dict) and len(tree) == 1 and (name := next(iter(tree))) in (*CARDED, MANIFEST):
        return name, tree[name]
    raise ArtifactError("this is no document of a bundle")


@cache
def _bundle() -> tuple[Manifest, dict[str, Any]]:
    manifest = read_manifest(GOLDEN)
    return manifest, {name: golden(name)[0] for name in manifest.files if name.endswith(".json")}


CARDED = ("hardware.json", "tile_map.json", "adapters/sst2/adapter.json", "results/sst2.json")


HEADER = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
    "b": {"dtype": "BF16", "shape": [3], "data_offsets": [16, 22]},
    "c": {"dtype": "U8", "shape": [], "data_offsets": [22, 23]},
    "d": {"dtype": "F8_E4M3", "shape": [1, 0, 2], "data_offsets": [23, 23]},
}


def _tensors(draft: Draft) -> bytes:
    """A header and the bytes that it speaks of, most often as many as it says."""
    draw = draft.draw
    header = as_json(draft)
    header += b" " * (-len(header) % 8)
    length = len(header)
    if draw.random() < 0.1:
        length = draw.choice((0, 1, length - 1, length + 8, 2**25, 2**63, 2**64 - 1))
    sizes = [part.get("data_offsets") for part in _parts(draft.tree)]
    ends = [size[-1] for size in sizes if isinstance(size, list) and size and isinstance(size[-1], int)]
    count = max(0, max([end for end in ends if end <= 4096], default=0) + draw.choice((0,) * 12 + (1, -1, 8)))
    data = draw.randbytes(count) if draw.random() < 0.2 else bytes(count)
    return length.to_bytes(8, "little") + header + data


def _parts(tree: Any) -> list[dict[str, Any]]:
    return [part for part in tree.values() if isinstance(part, dict)] if isinstance(tree, dict) else []


def _safetensors(path: Path) -> None:
    found = read_tensors(path)
    data = safetensors.torch.save({name: tensor.clone() for name, tensor in found.items()})
    again = load_tensors(io.BytesIO(data), path)
    same("their names", sorted(found), sorted(again))
    for name, tensor in found.items():
        same(name, (tensor.dtype, tensor.shape), (again[name].dtype, again[name].shape))
        if tensor.numel() and not torch.equal(tensor.view(torch.uint8), again[name].view(torch.uint8)):
            raise Unsound(f"the tensor {name!r}, written and read again, is another")


def _schedules(record: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    stages = [{"since": "0s", "adapter": "one"}, {"since": "1y", "adapter": "two"}]
    pulses = {**record["training"], "in_memory": {"algorithm": {"kind": "residual"}}}
    return {**record, "stages": stages}, {**record, "training": pulses, "input_ranges": {"a": [1.0, 2.0]}}


def _several(results: dict[str, Any]) -> dict[str, Any]:
    """Results of three chips with everything that may be in them."""
    row = results["rows"][0]
    rows = [{**row, "chip": chip, "metrics": {"accuracy": 0.7 + chip / 100}} for chip in range(3)]
    alone = [{**part, "part": "read_noise"} for part in rows]
    gate = {"min_accuracy": 0.5, "max_drop": 0.1, "at": row["time"]}
    return {**results, "rows": rows, "noise_budget": alone, "gate": gate}


def parsers() -> Iterator[Parser]:
    """All of them."""
    (record,) = golden("adapters/sst2/adapter.json")
    (results,) = golden("results/sst2.json")
    effect = LayerEffect(layer="a.b", sqnr_db=20.0, error=0.1, alone=0.8, without=0.9)
    sensitivity = Sensitivity(
        **{"task": "sst2", "metric": "accuracy", "samples": 8, "chips": 2, "at": "1d", "seed": 0},
        **{"max_drop": 0.01, "exact": 0.9, "analog": 0.8, "chosen": 0.9, "layers": (effect, effect)},
        **{"digital": ("a.b",), "weights": 100, "digital_weights": 10},
    )
    sensitivities = (sensitivity.model_dump(mode="json"),)
    journal = {"staged": STAGED, "targets": ["adapters/sst2", "results/sst2.json", "README.md", MANIFEST]}
    cards = tuple({name: golden(name)[0]} for name in (*CARDED, MANIFEST))
    tile_map, sensitive = (partial(_of_model, model) for model in (TileMap, Sensitivity))
    for name, share, file, samples, render, use in (
        ("manifest", 12, MANIFEST, golden(MANIFEST), _sealed, _manifest),
        ("journal", 14, PENDING, (journal,), as_json, _journal),
        ("tile map", 12, "tile_map.json", golden("tile_map.json"), as_json, tile_map),
        ("hardware.json", 8, "hardware.json", golden("hardware.json"), as_json, _hardware),
        ("adapter.json", 12, "adapter.json", (record, *_schedules(record)), as_json, _adapter),
        ("results", 8, "sst2.json", (results, _several(results)), as_json, _results),
        ("sensitivity.json", 10, "sensitivity.json", sensitivities, as_json, sensitive),
        ("safetensors", 16, "a.safetensors", (HEADER,), _tensors, _safetensors),
    ):
        yield Parser(name, share, file, samples, render, use)
    yield Parser("what a card tells", 2, "card.json", cards, as_json, _card, told="", raw=0.0)
