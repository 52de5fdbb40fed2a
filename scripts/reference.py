"""Write docs/reference from the code: the commands, the keys of a recipe, and the fields of results.

python scripts/reference.py
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import BaseModel
from typer.cli import get_docs_for_click

from aimc_deploy.artifact import results
from aimc_deploy.cli.app import app
from aimc_deploy.config.load import load_preset, presets, recipe_schema

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
GENERATED = "<!-- Written by scripts/reference.py: change the code and run it again. -->\n\n"
Schema = Mapping[str, Any]


def pages() -> dict[str, str]:
    """Every generated page by its name in docs/reference."""
    found = {"cli.md": cli(), "recipe.md": recipe(), "results.md": fields_of_results()}
    return {name: f"{GENERATED}{text.rstrip()}\n" for name, text in found.items()}


def cli() -> str:
    """Every command with its options, as typer documents it."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(
        obj=command, ctx=typer.Context(command), name="aimc-deploy", title="The command line"
    )
    # Usage is nothing to run.
    text = re.sub(r"```console\n\$ (.*)\n```", r"```text\n\1\n```", text)
    for name, first in _first_lines(command):  # typer cuts them off
        text = re.sub(rf"^\* `{name}`: .*\.\.\.$", f"* `{name}`: {first}", text, flags=re.MULTILINE)
    words = (
        "Results go to standard output and all else to standard error. Exit codes: 0 success, 1 internal "
        "error, 2 usage, configuration, data or artifact error, 3 accuracy gate failed, 130 interrupted."
    )
    return text.replace("**Usage**", f"{words}\n\n**Usage**", 1)


def _first_lines(command: Any) -> Iterator[tuple[str, str]]:
    for name, own in getattr(command, "commands", {}).items():
        yield name, own.help.strip().partition("\n\n")[0].replace("\n", " ")
        yield from _first_lines(own)


def recipe() -> str:
    """Every key of a recipe, part by part, and the hardware presets."""
    schema = recipe_schema()
    parts = [
        "# Recipes: every key",
        "A recipe is YAML: `aimc-deploy config init` writes one, and `--set KEY=VALUE` changes any key for "
        "one command. What is left out has the default. Times are `0s`, `90min`, `1h`, `1d`, `1w`, `1mo`, "
        "`1y`, or seconds. The same as JSON Schema, for editors: `configs/recipe.schema.json`.",
        "## Top level",
        *_part(schema, "", schema["$defs"]),
        *_presets(),
    ]
    return "\n\n".join(parts)


def _part(schema: Schema, path: str, models: Schema) -> Iterator[str]:
    """The keys of one model as a table, and then each of them that is a model itself."""
    inner: list[tuple[str, Schema]] = []
    rows = []
    for key, value in schema["properties"].items():
        if "const" in value:
            continue  # the heading says it
        dotted = f"{path}.{key}" if path else key
        kind = _type(value, models).replace("mapping", f"[mapping](#{dotted.replace('.', '')})")
        default = "needed" if key in schema.get("required", ()) else _default(value)
        rows.append((f"`{dotted}`", kind, default, _text(value.get("description", ""))))
        inner += [(dotted, value)] if _models_in(value, models) else []
    if rows:
        yield _table(("key", "type", "default", ""), rows)
    for dotted, value in inner:
        yield from _model(dotted, value, models)


def _model(path: str, value: Schema, models: Schema) -> Iterator[str]:
    """A key that holds a model, one of several kinds of models, or a list of models."""
    found = _models_in(value, models)
    if [part["title"] for part in found] == ["Quantity"]:
        return  # told once, below the table
    where = f"{path}[]" if value.get("type") == "array" else path
    yield f"## {where}"
    for part in found:
        if len(found) > 1:
            yield f"### {where}, kind: {part['properties']['kind']['default']}"
        yield _text(part.get("description", "")).replace("<br>", "\n")
        yield from _part(part, where, models)
        if any(_models_in(value, models) == [models["Quantity"]] for value in part["properties"].values()):
            yield "A figure of a chip is a mapping:"
            yield from _part(models["Quantity"], "", models)


def _models_in(value: Schema, models: Schema) -> list[Schema]:
    if "$ref" in value:
        return [models[value["$ref"].rpartition("/")[2]]]
    choices = value.get("anyOf", value.get("oneOf", [value["items"]] if value.get("type") == "array" else []))
    return [part for choice in choices for part in _models_in(choice, models)]


def _type(value: Schema, models: Schema) -> str:
    """In words, with what is allowed."""
    if "enum" in value or "const" in value:
        return " or ".join(f"`{part}`" for part in value.get("enum", [value.get("const")]))
    if "anyOf" in value or "oneOf" in value:
        parts = [_type(part, models) for part in value.get("anyOf", value.get("oneOf"))]
        return " or ".join(dict.fromkeys(parts))
    if "$ref" in value:
        title = models[value["$ref"].rpartition("/")[2]]["title"]
        return "a figure" if title == "Quantity" else "mapping"
    if value["type"] == "array":
        if "prefixItems" in value:
            return "list"
        return f"list of {_type(value['items'], models)}"
    return " ".join([value["type"], *_limits(value)])


def _limits(value: Schema) -> Iterator[str]:
    for key, words in (
        ("minimum", "from"),
        ("exclusiveMinimum", "above"),
        ("maximum", "to"),
        ("exclusiveMaximum", "below"),
    ):
        if key in value:
            yield f"{words} {value[key]:g}" if value[key] < 1e6 else f"{words} {value[key]:,}"


def _default(value: Schema) -> str:
    default = value.get("default")
    if isinstance(default, dict):
        if "value" in default:
            return f"`{default['value']:g}`, {default['kind']}"
        return f"`kind: {default['kind']}`" if "kind" in default else ""
    return f"`{json.dumps(default)}`" if "default" in value else ""


def _presets() -> Iterator[str]:
    yield "## Hardware presets"
    yield (
        "`hardware: NAME` in a recipe, `--hardware NAME` for one command. Each is a file in "
        "`configs/hardware`, which says where its figures are from."
    )
    rows = []
    for name, description in presets().items():
        own = load_preset(name)
        bits = " / ".join(str(part.bits or "ideal") for part in (own.dac, own.adc))
        rows.append(
            (
                f"`{name}`",
                f"{own.tile.rows} x {own.tile.cols}",
                f"`{own.device.kind}`",
                bits,
                _text(description),
            )
        )
    yield _table(("name", "tile", "device", "bits of DAC / ADC", ""), rows)


def fields_of_results() -> str:
    """The fields of ``results/NAME.json``, model by model."""
    parts = [
        "# Results: every field",
        "`aimc-deploy evaluate` writes `results/NAME.json` into the bundle and prints the same with "
        "`--format json`; `results/NAME.csv` holds its rows, a column for each metric. Numbers are finite, "
        "keys are sorted, and the same request gives the same bytes. A later minor version may add fields.",
    ]
    summary = ("`summary`", "array", "statistics over chips, which a reader may compute anew from the rows")
    parts += ["## The document", _table(HEAD, [*_fields(results.Results), summary])]
    for title, model in (
        ("rows", results.Row),
        ("baselines", results.Baseline),
        ("summary", results.Summary),
        ("layers", results.LayerErrors),
        ("noise_budget", results.Alone),
    ):
        text = inspect.getdoc(model) or ""
        parts += [f"## {title}[]", _text(text.partition("\n\n")[0]), _table(HEAD, _fields(model))]
    return "\n\n".join(parts)


HEAD = ("field", "type", "")


def _fields(model: type[BaseModel]) -> list[tuple[str, ...]]:
    told: dict[str, str] = {}
    for ancestor in reversed(model.__mro__):  # a row of another kind has the fields of a row
        if isinstance(ancestor, type) and issubclass(ancestor, BaseModel):
            told |= _attributes(ancestor)
    properties = model.model_json_schema()["properties"]
    words = {name: re.sub(r"\bNone\b", "null", _text(text)).rstrip(".") for name, text in told.items()}
    return [(f"`{name}`", _json_type(value), words[name]) for name, value in properties.items()]


def _json_type(value: Schema) -> str:
    if "anyOf" in value:
        return " or ".join(part.get("type", "object") for part in value["anyOf"])
    if "additionalProperties" in value and isinstance(value["additionalProperties"], dict):
        return f"object of {value['additionalProperties']['type']}s"
    return value["type"]


def _attributes(model: type[BaseModel]) -> dict[str, str]:
    """What a docstring says of each attribute."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (inspect.getdoc(model) or "").partition("Attributes:\n")[2].splitlines():
        begin = re.match(r" {4}(\w+(?:, \w+)*): (.*)", line)
        if begin:
            names = begin[1].split(", ")
            found |= dict.fromkeys(names, begin[2])
        elif names:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(part.replace("|", "\\|") for part in line) + " |" for line in lines)


def _text(text: str) -> str:
    """Words of a docstring or a description as one line of Markdown."""
    return re.sub(r"\s*\n\s*", " ", text.strip()).replace("``", "`")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
