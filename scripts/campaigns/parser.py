"""A reader of this package, its documents, and what must hold of what it takes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from aimc_deploy.artifact.tile_map import TileMap
from aimc_deploy.config import load
from aimc_deploy.errors import AimcError
from campaigns.mutations import Draft, changed, scrambled

LARGEST = 2 * 1024**2
"""Bytes of a document; what is longer is cut."""

Use = Callable[[Path], object]
Render = Callable[[Draft], bytes]


class Unsound(Exception):
    """What was taken is not what was written, or a refusal does not say of what."""


@dataclass(frozen=True, eq=False)
class Parser:
    """Something that reads files.

    Attributes:
        share: of all executions, so many parts; what is fast has more.
        file: the name under which it is given a document.
        samples: sound documents, as trees.
        render: a changed tree as a file.
        use: reads the file; raises an AimcError if it refuses it.
        told: part of each refusal, the file's name if nothing is said; empty if it may be of another file.
        yaml: changes may be of YAML.
        raw: of all documents, this part has changed bytes too.
    """

    name: str
    share: int
    file: str
    samples: tuple[Any, ...]
    render: Render
    use: Use
    told: str | None = None
    yaml: bool = False
    raw: float = 0.2

    def document(self, draw: Random) -> bytes:
        """A document that is almost sound."""
        tree = json.loads(draw.choice(self._texts()))
        draft = changed(Draft(tree, draw, self.yaml), (*self.samples, _vocabulary()))
        data = self.render(draft)
        if draw.random() < self.raw:
            data = scrambled(data, draw, [text.encode() for text in self._texts()])
        return data[:LARGEST]

    def pristine(self) -> Iterator[bytes]:
        """The samples as they are, all of which it takes."""
        for text in self._texts():
            yield self.render(Draft(json.loads(text), Random(0), self.yaml))

    @cache  # noqa: B019  # there is one of each for the whole campaign
    def _texts(self) -> tuple[str, ...]:
        return tuple(json.dumps(sample) for sample in self.samples)


def read(parser: Parser, path: Path) -> bool:
    """Whether it takes the file.

    Raises:
        Unsound: something is wrong with what it takes, or with what it says.
        Exception: whatever it should not raise.
    """
    try:
        parser.use(path)
    except AimcError as error:
        message = str(error)
        told = parser.file if parser.told is None else parser.told
        if not message or told not in message:
            raise Unsound(f"the refusal does not tell of {told}: {message[:500]}") from None
        return False
    return True


def same(what: str, one: Any, other: Any) -> None:
    """Refuse two readings of one thing that differ."""
    if one != other and repr(one) != repr(other):
        raise Unsound(f"{what}, written and read again, is another: {one!r:.1000} and {other!r:.1000}")


@cache
def _vocabulary() -> dict[str, Any]:
    """Words that mean something in a recipe, a sweep or a tile map: its keys, and values to be chosen."""
    words: dict[str, Any] = {}

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            words.update(dict.fromkeys(part.get("properties", {}), None))
            values = [*part.get("enum", []), *([part["const"]] if "const" in part else [])]
            words.update({str(value): value for value in values})
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    walk([load.recipe_schema(), load.sweep_schema(), TileMap.model_json_schema()])
    return words


def as_json(draft: Draft) -> bytes:
    return encoded(draft.as_json())


def as_yaml(draft: Draft) -> bytes:
    return encoded(draft.as_json() if draft.draw.random() < 0.15 else draft.as_yaml())


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
