"""The JSON Schema that editors check a recipe by, against the recipes that come with the package."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from aimc_deploy.config.load import recipe_schema

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted({*CONFIGS.glob("*.yaml")} - {CONFIGS / "sweep.yaml"})
PRESETS = sorted((Path(__file__).parents[2] / "configs" / "hardware").glob("*.yaml"))
SCHEMA = recipe_schema()
TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}
BOUNDS = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "minItems": lambda value, bound: len(value) >= bound,
    "enum": lambda value, bound: value in bound,
    "const": lambda value, bound: value == bound,
    "pattern": lambda value, bound: re.search(bound, value) is not None,
}
PROSE = {"title", "description", "default", "$defs", "$schema", "discriminator"}
UNDERSTOOD = {"$ref", "anyOf", "oneOf", "type", "properties", "additionalProperties", "required", "items"}


def problems(schema: dict[str, Any], data: Any, key: str = "recipe") -> Iterator[str]:
    """Why data is not what a schema says; knows the words that our schema uses and no other."""
    assert set(schema) <= {*PROSE, *UNDERSTOOD, *BOUNDS}
    if "$ref" in schema:
        yield from problems(SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")], data, key)
    for word in ("anyOf", "oneOf"):
        if word in schema and all(list(problems(part, data, key)) for part in schema[word]):
            yield f"{key}: none of {word}"
    if "type" in schema:
        allowed = TYPES[schema["type"]]
        if not isinstance(data, allowed) or (isinstance(data, bool) and bool not in allowed):
            yield f"{key}: no {schema['type']}"
            return
    yield from (
        f"{key}: {word}" for word in BOUNDS if word in schema and not BOUNDS[word](data, schema[word])
    )
    if isinstance(data, dict):
        yield from (f"{key}.{name}: missing" for name in schema.get("required", []) if name not in data)
        for name, value in data.items():
            if name in schema.get("properties", {}):
                yield from problems(schema["properties"][name], value, f"{key}.{name}")
            elif schema.get("additionalProperties") is False:
                yield f"{key}.{name}: unknown"
    if isinstance(data, list):
        for at, value in enumerate(data):
            yield from problems(schema.get("items", {}), value, f"{key}.{at}")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_is_valid(path: Path) -> None:
    assert list(problems(SCHEMA, yaml.safe_load(path.read_text()))) == []
    line = path.read_text().splitlines()[0]
    assert line == "# yaml-language-server: $schema=recipe.schema.json"
    assert (path.parent / "recipe.schema.json").is_file()


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_preset_written_into_a_recipe_is_valid(path: Path) -> None:
    assert list(problems(SCHEMA, {"hardware": yaml.safe_load(path.read_text())})) == []


@pytest.mark.parametrize(
    ("key", "value", "found"),
    [
        ("sede", 1, ["recipe.sede: unknown"]),
        ("seed", -1, ["recipe.seed: minimum"]),
        ("seed", "one", ["recipe.seed: no integer"]),
        ("task", None, ["recipe.task: no string"]),
        ("hardware", 3, ["recipe.hardware: none of anyOf"]),
        ("hardware", {"adcs": {}}, ["recipe.hardware: none of anyOf"]),
        ("hardware", {"device": {"kind": "pmc"}}, ["recipe.hardware: none of anyOf"]),
        ("hardware", {"preset": "pcm", "adc": {"bits": 1}}, ["recipe.hardware: none of anyOf"]),
        (
            "adapt",
            {"method": "lore", "lora": {"r": 0}},
            ["recipe.adapt.method: enum", "recipe.adapt.lora.r: minimum"],
        ),
        (
            "evaluate",
            {"times": [], "chips": 0},
            ["recipe.evaluate.times: minItems", "recipe.evaluate.chips: minimum"],
        ),
        ("baselines", ["digital", "none"], ["recipe.baselines.1: enum"]),
    ],
)
def test_a_mistake_is_found(key: str, value: Any, found: list[str]) -> None:
    assert list(problems(SCHEMA, {key: value})) == found


def test_every_key_is_described_where_its_name_does_not_say_it_all() -> None:
    """Editors show these texts: a definition without one would leave a reader with a bare word."""
    assert [name for name, part in SCHEMA["$defs"].items() if not part.get("description")] == []
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["title"] == "aimc-deploy recipe"


def test_each_call_gives_a_schema_of_its_own() -> None:
    before = copy.deepcopy(SCHEMA)
    recipe_schema()["properties"].clear()
    assert recipe_schema() == before
