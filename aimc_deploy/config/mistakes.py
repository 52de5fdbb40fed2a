"""What is wrong with a configuration, in words: the place, the dotted key, and what is allowed there."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ValidationError

from aimc_deploy.config.yaml_file import Key
from aimc_deploy.errors import ConfigError

SHOWN = 50
"""Mistakes of one file that are told; whoever has more of them has given another kind of file."""


def checked(model: type[Any], data: Any, places: Mapping[Key, str]) -> Any:
    """The model of this data.

    Raises:
        ConfigError: every mistake at once, each with its place, dotted key and what is allowed.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        found = error.errors()
    lines = [_explained(model, data, places, part) for part in itertools.islice(found, SHOWN)]
    if len(found) > SHOWN:
        lines.append(f"{len(found) - SHOWN} mistakes more")
    raise ConfigError("\n".join(dict.fromkeys(lines)))


def _explained(model: type[BaseModel], data: Any, places: Mapping[Key, str], error: Any) -> str:
    """One mistake: where it stands, its dotted key, and what is allowed there."""
    key = tuple(_keys_in(data, error["loc"]))
    place = next((places[key[:end]] for end in range(len(key), -1, -1) if key[:end] in places), "")
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        preset = {"preset"} if key[:-1] == ("hardware",) else set()
        allowed = sorted(_allowed(model, error["loc"][:-1]) | preset)
        close = difflib.get_close_matches(str(key[-1]), allowed, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        message = f"unknown key; {hint}allowed: {', '.join(allowed)}"
    elif isinstance(error.get("input"), str | int | float | bool):
        message = f"{message} (given: {error['input']!r})"
    dotted = ".".join(str(part) for part in key) or "the document"
    return f"{place}: {dotted}: {message}" if place else f"{dotted}: {message}"


def _keys_in(data: Any, loc: Sequence[str | int]) -> Iterator[str | int]:
    """The parts of an error's location that are keys of the data; pydantic puts kinds of unions between.

    A part that is not in the data is a kind, unless it is the last: then it is a key that is missing.
    """
    for at, part in enumerate(loc):
        if not _has(data, part):
            if at < len(loc) - 1:
                continue
            data = {part: None}
        yield part
        data = data[part]


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


@lru_cache(maxsize=8)
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _allowed(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """The keys of the model that an error's location leads to, from its JSON Schema."""
    schema = _schema(model)
    definitions = schema.get("$defs", {})
    here: dict[str, Any] = schema
    for part in loc:
        if "discriminator" in here:
            here = {"$ref": here["discriminator"]["mapping"].get(part, "")}
        elif isinstance(part, int):
            here = here.get("items", {})
        else:
            here = here.get("properties", {}).get(part, {})
        while "$ref" in here or "anyOf" in here:  # any of: a model, or null
            reference = next((kind["$ref"] for kind in here.get("anyOf", [here]) if "$ref" in kind), "")
            here = definitions.get(reference.rpartition("/")[2], {})
    return set(here.get("properties", {}))
