"""YAML as plain data that remembers its lines, read without trusting it.

Only mappings, lists and scalars of YAML's core are taken: no tags, no anchors, no key twice. So a few
lines can neither grow into gigabytes nor build an object.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from aimc_deploy.errors import ConfigError

MAX_BYTES = 256 * 1024  # PyYAML takes a third of a second for as many line ends
MAX_DEPTH = 32
MAX_ITEMS = 20_000  # PyYAML takes half a second for them
MAX_BITS = 1024  # of a number: as large as a float can be
MAX_DIGITS = 2 * MAX_BITS  # time to read a number grows with the square of its length
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
Key = tuple[str | int, ...]


@dataclass(frozen=True)
class Document:
    """Data and where each part of it stands.

    Attributes:
        data: mappings, lists and scalars.
        places: ``file:line`` of every value, by its path of keys and list positions.
    """

    data: Any
    places: dict[Key, str] = field(default_factory=dict)


def read_yaml(path: Path) -> Document:
    """The content of a YAML file.

    Raises:
        ConfigError: it cannot be read, is no YAML, or holds what is not taken; with file and line.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: cannot be read ({reason}); check the path") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: is larger than the {MAX_BYTES:,} bytes a recipe may have")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: is not UTF-8; save it as UTF-8") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str) -> Document:
    """The content of a YAML text; ``where`` names it in errors. Raises as :func:`read_yaml` does."""
    loader = yaml.SafeLoader("")
    try:
        loader = _Loader(text, where)
        node = loader.get_single_node()
        document = Document(None)
        return Document(_build(loader, node, where, (), document.places), document.places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{where}{line}: is no valid YAML ({error.problem})") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"{where}:{line}: is no valid YAML (unprintable character {error.character:#04x})"
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: is no valid YAML ({str(error).splitlines()[0]})") from None
    finally:
        loader.dispose()


class _Loader(yaml.SafeLoader):
    """Refuses what grows before it is built: PyYAML takes time that grows with the square of the depth."""

    def __init__(self, text: str, where: str) -> None:
        super().__init__(text)
        self.where, self.count, self.level = where, 0, 0

    def get_event(self) -> yaml.Event:
        event = super().get_event()
        where = f"{self.where}:{event.start_mark.line + 1}"
        if self.count > MAX_ITEMS:
            raise ConfigError(f"{where}: holds more than {MAX_ITEMS:,} keys and values; shorten it")
        self.count += 1
        self.level += isinstance(event, yaml.CollectionStartEvent)
        self.level -= isinstance(event, yaml.CollectionEndEvent)
        if self.level > MAX_DEPTH:
            raise ConfigError(f"{where}: is nested more than {MAX_DEPTH} levels deep")
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise ConfigError(f"{where}: anchors and aliases (& and *) are not taken; write it out")
        if getattr(event, "tag", None):
            raise ConfigError(f"{where}: tags such as {event.tag} are not taken; remove it")
        return event


def _build(
    loader: yaml.SafeLoader, node: yaml.Node | None, where: str, key: Key, places: dict[Key, str]
) -> Any:
    if node is None:
        return None
    place = f"{where}:{node.start_mark.line + 1}"
    places[key] = place
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for name_node, value in node.value:
            line = f"{where}:{name_node.start_mark.line + 1}"
            name = name_node.value if isinstance(name_node, yaml.ScalarNode) else None
            if name is None:
                raise ConfigError(f"{line}: a key must be a plain word")
            _check_text(name, line)
            if name in found:
                raise ConfigError(f"{line}: '{name}' is there twice; remove one")
            found[name] = _build(loader, value, where, (*key, name), places)
            places[(*key, name)] = line
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_build(loader, part, where, (*key, at), places) for at, part in enumerate(node.value)]
    try:
        if node.tag in _NUMBERS and len(node.value) > MAX_DIGITS:
            raise ValueError("the number is too long")
        value = loader.construct_object(node)
        if isinstance(value, int) and value.bit_length() > MAX_BITS:
            raise ValueError("the number is too large")
        if isinstance(value, str):
            _check_text(value, place)
        return value
    except (ValueError, OverflowError) as error:  # a date that is none, a number of a million digits
        raise ConfigError(f"{place}: {node.value[:60]!r} cannot be read ({error})") from None


def _check_text(text: str, place: str) -> None:
    """Refuse what YAML's ``"\\ud800"`` stands for: nothing can print it or take it for text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(
            f"{place}: {text[:60]!r} holds half of a surrogate pair, which is no character; leave it out"
        ) from None
