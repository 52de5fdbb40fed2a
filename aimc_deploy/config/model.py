"""What every configuration model has in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_jsonable_python

DEFAULTS = 1
"""To be counted up when a default value changes its meaning: digests leave out what is as the default."""


class Model(BaseModel):
    """Base of every configuration model: frozen, unknown keys refused, numbers finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def essentials(self, exclude: Collection[str] = ()) -> dict[str, Any]:
        """What is not as the default, as plain data; and the kind, which tells what the defaults are.

        A later version may add settings, and the same settings keep their digests.
        """
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if name not in exclude and (name == "kind" or value != field.default):
                found[name] = value.essentials() if isinstance(value, Model) else to_jsonable_python(value)
        return found


def dotted(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Plain data as pairs of a dotted key, which begins with ``name``, and what is no mapping there."""
    if not isinstance(content, dict):
        yield name, content
        return
    for key, value in content.items():
        yield from dotted(value, f"{name}.{key}" if name else key)


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of essentials, in any order."""
    text = json.dumps({"defaults": DEFAULTS, **content}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
