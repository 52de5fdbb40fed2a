"""From presets, recipe and overrides to one frozen :class:`Run`: preset < recipe < ``--set``.

A mapping laid over another replaces only what it names; where it names another ``kind``, it replaces the
whole. ``hardware: NAME`` stands for ``hardware: {preset: NAME}``; a preset is a shipped name or a YAML file.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from aimc_deploy.config.chip import FaultMap
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.mistakes import checked
from aimc_deploy.config.run import Run
from aimc_deploy.config.sweep import Sweep
from aimc_deploy.config.task import TaskFile
from aimc_deploy.config.yaml_file import Document, Key, parse_yaml, read_yaml
from aimc_deploy.errors import ConfigError

COMMAND_LINE = "command line"


def load_run(
    recipe: Path | None = None, overrides: Sequence[str] = (), *, hardware: Hardware | None = None
) -> Run:
    """The configuration of a command.

    Args:
        recipe: YAML file, or None for the defaults alone.
        overrides: ``dotted.key=value`` with the value in YAML; later ones win.
        hardware: taken in the place of the default where neither recipe nor overrides name a preset.

    Raises:
        ConfigError: every mistake at once, each with its place, dotted key and what is allowed.
    """
    layers = [read_recipe(recipe)] if recipe else []
    return merge([*layers, *map(override, overrides)], recipe, hardware=hardware)


def merge(layers: Sequence[Document], recipe: Path | None = None, *, hardware: Hardware | None = None) -> Run:
    """Layers of settings laid over each other, later ones on top; see :func:`load_run`.

    Args:
        recipe: beside which presets are looked for, too.
    """
    named = [layer for layer in layers if _preset_key(layer.data)]
    if named:
        base = _preset_layer(named[-1], recipe)
    else:
        base = Document({"hardware": _defaults(hardware or Hardware())})
    data, places = {"executor": {"kind": "local"}, **base.data}, dict(base.places)
    for layer in layers:
        data = _lay_over(data, _without_preset(layer.data))
        places |= layer.places
    return checked(Run, data, places)


def load_hardware_json(path: Path) -> Hardware:
    """The hardware that a bundle was mapped for.

    Raises:
        ConfigError: the file cannot be read or does not describe any.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); map the model again") from None
    return checked(Hardware, content, {(): str(path)})


def load_faults(path: Path) -> FaultMap:
    """What is faulty on a chip: YAML or JSON, ``faults:`` a list of ``tile`` with its ``rows`` and ``cols``.

    Raises:
        ConfigError: the file cannot be read, or every mistake in it at once, with its line.
    """
    return _loaded(FaultMap, path, "a fault map is a mapping with the key 'faults', a list of tiles")


def load_task(path: Path) -> TaskFile:
    """A task of the user's own.

    Raises:
        ConfigError: the file cannot be read, or every mistake in it at once, with its line.
    """
    return _loaded(TaskFile, path, "a task is a mapping of keys to values: name, text, labels, train, dev")


def _loaded(model: type[Any], path: Path, what: str) -> Any:
    """A file of its own; ``what`` it is, for one that is something else."""
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}: {what}")
    return checked(model, document.data, document.places)


def config_digest(config: BaseModel) -> str:
    """SHA-256 of a configuration with all its defaults."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json"), sort_keys=True).encode()).hexdigest()


def presets() -> dict[str, str]:
    """Name and description of every hardware preset that comes with the package."""
    folder = resources.files("aimc_deploy.configs") / "hardware"
    found = {}
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.name.endswith(".yaml"):
            name = file.name.removesuffix(".yaml")
            found[name] = load_preset(name).description
    return found


def load_preset(name: str) -> Hardware:
    """A hardware preset by its name, or from a YAML file.

    Raises:
        ConfigError: there is no such preset, or the file is wrong.
    """
    layer = _hardware_layer(name, None)
    places = {key[1:]: place for key, place in layer.places.items() if key}
    return checked(Hardware, layer.data["hardware"], places)


def read_recipe(path: Path) -> Document:
    """The layer that a recipe is.

    Raises:
        ConfigError: it cannot be read, or is no mapping.
    """
    document = read_yaml(path)
    if document.data is None:
        return Document({})
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}: a recipe is a mapping of keys to values; see `aimc-deploy config init`")
    return document


def override(text: str) -> Document:
    """The layer that ``--set KEY=VALUE`` is.

    Raises:
        ConfigError: there is no key, or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    parts = tuple(key.strip().split("."))
    if not equals or not all(parts):
        raise ConfigError(f"--set {text}: write KEY=VALUE with a dotted key, such as hardware.adc.bits=6")
    document = parse_yaml(value, f"--set {text}")
    return under(parts, document.data, dict.fromkeys(document.places, COMMAND_LINE))


def under(parts: tuple[str, ...], data: Any, places: Mapping[Key, str]) -> Document:
    """The layer in which ``data`` is the value of a dotted key.

    Args:
        places: of the data and of what is in it; that of the whole under the empty key.
    """
    found = {(*parts, *key): place for key, place in places.items()}
    whole = places.get((), COMMAND_LINE)
    for part in reversed(parts):
        data = {part: data}
    return Document(data, dict.fromkeys((parts[: at + 1] for at in range(len(parts))), whole) | found)


def _preset_key(data: Any) -> Key:
    """The key under which a layer names a preset; empty if it names none."""
    hardware = data.get("hardware")
    if isinstance(hardware, dict):
        return ("hardware", "preset") if "preset" in hardware else ()
    return ("hardware",) if "hardware" in data else ()


def _preset_layer(layer: Document, recipe: Path | None) -> Document:
    """The preset that a layer names, as a layer."""
    key = _preset_key(layer.data)
    name = layer.data
    for part in key:
        name = name[part]
    place = f"{layer.places[key]}: {'.'.join(map(str, key))}: "
    if not isinstance(name, str):
        raise ConfigError(f"{place}give the name of a preset, or a mapping for hardware (given: {name!r})")
    return _hardware_layer(name, recipe, place)


def _without_preset(data: dict[str, Any]) -> dict[str, Any]:
    hardware = data.get("hardware")
    if isinstance(hardware, dict):
        return {**data, "hardware": {key: value for key, value in hardware.items() if key != "preset"}}
    return {key: value for key, value in data.items() if key != "hardware"}


def _hardware_layer(name: str, recipe: Path | None, place: str = "") -> Document:
    """A preset as a layer; a file is looked for beside the recipe too. ``place`` says where it is named."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if recipe is not None and not os.path.isfile(path):
            path = recipe.parent / name
        try:
            document = read_yaml(path)
        except ConfigError as error:
            raise ConfigError(f"{place}{error}") from None
    else:
        folder = resources.files("aimc_deploy.configs") / "hardware"
        there = sorted(
            part.name.removesuffix(".yaml") for part in folder.iterdir() if part.name.endswith(".yaml")
        )
        if name not in there:
            close = difflib.get_close_matches(name, there, n=1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigError(
                f"{place}there is no hardware preset '{name}': choose one of {', '.join(there)}, or give "
                f"a file that ends in .yaml{hint}"
            )
        document = _shipped(name)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{place}{name}: a hardware preset is a mapping of keys to values")
    if "preset" in document.data:
        raise ConfigError(
            f"{document.places[('preset',)]}: preset: a preset cannot build on another; write out what "
            "differs from the defaults, or name it in a recipe and change it there"
        )
    places: dict[Key, str] = {("hardware", *key): place for key, place in document.places.items()}
    # Over the defaults, so that a recipe can change part of what the preset leaves out: the clip's sigma.
    return Document({"hardware": _lay_over(_defaults(Hardware()), document.data)}, places)


@lru_cache(maxsize=64)
def _shipped(name: str) -> Document:
    """A preset that comes with the package, read once for all the points of a sweep."""
    file = resources.files("aimc_deploy.configs") / "hardware" / f"{name}.yaml"
    return parse_yaml(file.read_text(encoding="utf-8"), f"preset {name}")


def _defaults(hardware: Hardware) -> dict[str, Any]:
    return hardware.model_dump(mode="json")


def _lay_over(base: Any, top: Any) -> Any:
    if not isinstance(base, Mapping) or not isinstance(top, Mapping):
        return top
    if "kind" in top and top["kind"] != base.get("kind"):
        return dict(top)
    return {**base, **{key: _lay_over(base.get(key), value) for key, value in top.items()}}


def sweep_schema() -> dict[str, Any]:
    """JSON Schema of the file that `aimc-deploy sweep` takes."""
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **Sweep.model_json_schema(), "title": "aimc-deploy sweep"}


def recipe_schema() -> dict[str, Any]:
    """JSON Schema of a recipe: of :class:`Run`, with what a recipe may write for ``hardware`` instead."""
    schema = Run.model_json_schema()
    preset = {
        "type": "string",
        "description": "name of a hardware preset, or a YAML file that describes the hardware",
    }
    hardware = schema["$defs"]["Hardware"]
    hardware["properties"] = {"preset": preset, **hardware["properties"]}
    reference = schema["properties"]["hardware"]
    schema["properties"]["hardware"] = {"anyOf": [preset, reference]}
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **schema, "title": "aimc-deploy recipe"}


def starter_recipe() -> str:
    """A commented recipe that runs as it is: the bundled model on the bundled reviews."""
    return (resources.files("aimc_deploy.configs") / "reviews.yaml").read_text(encoding="utf-8")
