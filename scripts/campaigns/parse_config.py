"""What people write: recipes, ``--set``, sweeps, hardware, devices, faults, tasks, times.

Each reader is called as the commands call it. What it takes is written and read again, and must be the same.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from aimc_deploy.config import load
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.mistakes import checked
from aimc_deploy.config.run import Run
from aimc_deploy.config.sweep import Sweep
from aimc_deploy.config.times import DEFAULT_TIMES, label, seconds
from aimc_deploy.config.training_presets import load_training_device
from aimc_deploy.config.yaml_file import parse_yaml, read_yaml
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows.sweep.points import read_sweep
from campaigns.mutations import Draft
from campaigns.parse_bundle import golden
from campaigns.parser import Parser, Unsound, as_yaml, encoded, same

CONFIGS = Path(__file__).parents[2] / "configs"

OWN_TASKS = (
    {"name": "stars", "text": ["review"], "labels": ["bad", "fine", "good"], "train": "a.csv", "dev": "b"},
    {"name": "like", "kind": "score", "text": ["one", "other"], "label": "of", "train": "a.tsv", "dev": "b"},
    {
        **{"name": "faq", "kind": "spans", "text": ["q", "c"], "label": "a", "train": "a.json", "dev": "b"},
        **{"metric": "exact_match", "epochs": 1.5, "max_length": 320, "description": "x"},
    },
)


def _recipe(path: Path) -> None:
    _run(load.load_run(path))


def _set(path: Path) -> None:
    texts = path.read_bytes().decode("utf-8", "surrogateescape").split("\0")
    _run(load.load_run(None, texts))


def _run(found: Run) -> None:
    data = found.model_dump(mode="json")
    again = checked(Run, data, {})
    same("the settings", found, again)
    same("their digest", load.config_digest(found), load.config_digest(again))


def _settings(draft: Draft) -> bytes:
    """``--set`` for each leaf of a few."""
    draw = draft.draw
    pairs = list(_leaves(draft.tree, ()))
    chosen = draw.sample(pairs, min(len(pairs), draw.choice((1, 1, 2, 3))))
    texts = [f"{'.'.join(keys)}={draft.resolved(json.dumps(value))}" for keys, value in chosen]
    return encoded("\0".join(texts))


def _leaves(tree: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, dict) and tree:
        for key, value in tree.items():
            yield from _leaves(value, (*keys, str(key)))
    else:
        yield keys, tree


def _sweep(path: Path) -> None:
    found = read_sweep(path).sweep
    same("the sweep", found, checked(Sweep, found.model_dump(), {}))


def _preset(path: Path) -> None:
    found = load.load_preset(str(path))
    same("the preset", found, checked(Hardware, found.model_dump(mode="json"), {}))


def _device(path: Path) -> None:
    found = load_training_device(str(path))
    same("the device", found, checked(type(found), found.model_dump(mode="json"), {}))


def _faults(path: Path) -> None:
    found = load.load_faults(path)
    same("the faults", found, checked(type(found), found.model_dump(mode="json"), {}))


def _task(path: Path) -> None:
    found = get_task(str(path))
    json.dumps(found.identity())
    if not found.metrics or found.outputs < 1 or len(found.text_columns) not in (1, 2):
        raise Unsound(f"a task with nothing to learn: {found}")


def _plain_yaml(path: Path) -> None:
    found = read_yaml(path)
    if () not in found.places and found.data is not None:
        raise Unsound("no line is told of what was taken")
    if path.stat().st_size < 2000:
        text = yaml.safe_dump(found.data, allow_unicode=False, sort_keys=False)
        same("the YAML", found.data, parse_yaml(text, "it").data)


def _time(path: Path) -> None:
    text = path.read_bytes().decode("utf-8", "replace")
    found = seconds(text)
    if not 0 <= found < math.inf:
        raise Unsound(f"{text!r:.100} is taken for {found} s")
    same("the time", found, seconds(label(found)))


def _bare(draft: Draft) -> bytes:
    """A text as it is."""
    return encoded(draft.resolved(draft.tree if isinstance(draft.tree, str) else json.dumps(draft.tree)))


def _searched(sweep: dict[str, Any]) -> dict[str, Any]:
    search = {"adapt.lora.r": {"low": 1, "high": 8, "step": 1}, "seed": [0, 1]}
    rate = {"adapt.learning_rate": {"low": 1.0e-4, "high": 1.0e-2, "log": True}}
    return {**sweep, "recipe": None, "grid": {}, "search": search | rate, "points": [{"seed": 3}], "batch": 4}


def parsers() -> Iterator[Parser]:
    """All of them."""
    files = [yaml.safe_load(path.read_text()) for path in sorted(CONFIGS.glob("*.yaml"))]
    recipes = tuple(content for content in files if "grid" not in content)
    (sweep,) = (content for content in files if "grid" in content)
    presets, devices = (
        tuple(yaml.safe_load(path.read_text()) for path in sorted((CONFIGS / folder).glob("*.yaml")))
        for folder in ("hardware", "training")
    )
    run = golden("run.json")
    faults = ({"faults": [{"tile": 0}, {"tile": 3, "rows": [0, 7], "cols": [1]}]},)
    anything = ({"a": [1, 2.5, None, True, "x"], "b": {"c": ""}}, [1, {"a": 2}], "x", 3)
    for name, share, file, samples, use in (
        ("recipe", 5, "r.yaml", (*recipes, *run), _recipe),
        ("hardware preset", 4, "p.yaml", presets, _preset),
        ("device for training", 6, "d.yaml", devices, _device),
        ("fault map", 8, "f.yaml", faults, _faults),
        ("task file", 8, "t.yaml", OWN_TASKS, _task),
        ("YAML", 8, "y.yaml", anything, _plain_yaml),
    ):
        yield Parser(name, share, file, samples, as_yaml, use, yaml=True)
    sweeps = ({**sweep, "recipe": None}, _searched(sweep))
    yield Parser("sweep", 6, "s.yaml", sweeps, as_yaml, _sweep, told="", yaml=True)  # a recipe may be wrong
    yield Parser("--set", 6, "set", (*run, *recipes), _settings, _set, told="", yaml=True)
    yield Parser("time", 16, "time", (*DEFAULT_TIMES, "2.5e3 min", "12"), _bare, _time, told="")
