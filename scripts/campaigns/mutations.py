"""Documents that are almost sound: a tree with something changed in it, written out, and changed bytes.

Own code, because what hypothesis draws costs it milliseconds a document, and a parser here takes a tenth of
one; atheris is guided by coverage of C, and nearly all that is fuzzed is Python. A change is drawn from the
generator that it is given and from nothing else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

# fmt: off
NUMBERS = (
    0, 1, -1, 2, -0.0, 0.5, 1e-320, 5e-324, 1e-30, 1e15, 1.7976931348623157e308, -1.7976931348623157e308,
    2**31 - 1, 2**31, -(2**31), 2**32, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63) - 1, 10**30, 10**400,
)
LITERALS = (
    "NaN", "Infinity", "-Infinity", "nan", "-0", "1e999", "-1e999", "1e-999", "01", "+1", ".5", "5.", "0x10",
    "1_000", ":59", "9" * 400, "9" * 5000, "-" + "9" * 4400, "1" + "0" * 400 + ".5", "true", "null",
    '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\q"', "'single'", '"open', "{", "}", "[", "]", "[1,]",
)
YAML_LITERALS = (
    "&a", "*a", "&a 1", "&a [*a]", "<<", "!!int 3", "!!python/object/apply:os.system [x]", "!x 1",
    "~", "yes", "off", "0o17", "0b11", "1:59:59", "1:59:59.5", "-1:2:3:4:5:6:7:8:9" * 9, ".nan", "-.inf",
    ".inf", "2001-01-01", "2001-13-01", "2001-01-01 25:00:00", "0001-01-01 00:00:00 +23:59", "? a", "- a",
    "|", ">-", "--- a", "...", "%YAML 9.9", "@a", "`a", "=", "a: b", "a: b: c", "#a", "'", "{a, b}",
    "[a, [b]", "\t",
)
TEXTS = (
    "", " ", "\n", "\x00", "\x1b[31m", "\ufeff", "\u202e", "é", "e\u0301", "\ud800", "\U0001f600", "İ", "１",
    "../../x", "/etc/passwd", "a/b", "CON", "-", ".", "..", "*", "[", "${HOME}", "{task}", "%s", "NaN",
    "1e400", "none", "true", "0", "-1", "1.5", "0s", "1y", "10mo", "1e300y", "pcm", "x.yaml", "1.0", "2.0",
    "kind", "preset",
)
BYTES = (
    b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\r", b"\n", b"\t", b'"', b"'", b"\\", b",", b":",
    b"{", b"}", b"[", b"]", b"- ", b"&a ", b"*a", b"!!x ", b"#", b"NaN", b"1e999", b"\\u0000", b"\x85",
)
# fmt: on
MANY = (2, 3, 8, 31, 32, 33, 63, 64, 65, 100, 257, 1000, 4301)
LARGE = (10_000, 30_000, 100_000)
MOST_LETTERS = 1 << 23
SELDOM = 1 / 400
"""Of the changes, so many are large, since these take a hundred times as long."""

_MARK = re.compile('"\ue000(\\d+)\ue001"|\ue000(\\d+)\ue001')


@dataclass
class Draft:
    """A tree that is being changed.

    Attributes:
        literals: what is to stand in it as it is, of which the tree holds marks.
    """

    tree: Any
    draw: Random
    yaml: bool = False
    literals: list[str] = field(default_factory=list)

    def literal(self, text: str) -> str:
        """A mark for a text that is to stand there without quotes, be it a value or a key."""
        self.literals.append(text)
        return f"\ue000{len(self.literals) - 1}\ue001"

    def as_json(self) -> str:
        """The tree as JSON, if its literals are."""
        text = json.dumps(self.tree, ensure_ascii=self.draw.random() < 0.2, separators=(",", ":"))
        return self.resolved(text.replace("\\ue000", "\ue000").replace("\\ue001", "\ue001"))

    def as_yaml(self) -> str:
        """The tree as people write YAML: in blocks, the innermost often in one line."""
        return self.resolved("\n".join(self._block(self.tree, "")) + "\n")

    def resolved(self, text: str) -> str:
        """A text with its literals in the place of their marks; those may hold others."""
        longest = max(map(len, self.literals), default=0)
        for _ in range(4):
            if (marks := text.count("\ue000")) == 0:
                break
            text = _MARK.sub(self._literal if marks * longest < MOST_LETTERS else "0", text)
        return text

    def _literal(self, found: re.Match[str]) -> str:
        number = found[1] or found[2]  # which a change of a text may have changed
        return self.literals[int(number)] if number in map(str, range(len(self.literals))) else "0"

    def _block(self, value: Any, indent: str) -> Iterator[str]:
        if isinstance(value, dict) and value:
            for key, inner in value.items():
                yield from self._entry(f"{indent}{_word(key)}:", inner, indent)
        elif isinstance(value, list) and value:
            for inner in value:
                yield from self._entry(f"{indent}-", inner, indent)
        else:
            yield f"{indent}{_flow(value)}"

    def _entry(self, start: str, inner: Any, indent: str) -> Iterator[str]:
        deep = len(indent) < 80 and isinstance(inner, dict | list) and inner
        if deep and (indent == "" or self.draw.random() < 0.7):
            yield start
            yield from self._block(inner, indent + "  ")
        else:
            yield f"{start} {_flow(inner)}"


def _flow(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _word(key: Any) -> str:
    return key if isinstance(key, str) and re.fullmatch(r"[A-Za-z_][\w.]*", key) else _flow(str(key))


def changed(draft: Draft, donors: Sequence[Any]) -> Draft:
    """A draft with one to four changes.

    Args:
        donors: other trees, of which parts are taken.
    """
    for _ in range(draft.draw.choice((1, 1, 1, 2, 2, 3, 4))):
        draft.draw.choice(CHANGES)(draft, donors)
    return draft


def _place(draft: Draft) -> tuple[Any, Any]:
    """A container and a key in it; the tree itself is in a list of its own, if it holds nothing."""
    holder, key = [draft.tree], 0
    while isinstance(inner := holder[key], dict | list) and inner and draft.draw.random() < 0.85:
        holder = inner
        key = draft.draw.choice(list(inner)) if isinstance(inner, dict) else draft.draw.randrange(len(inner))
    return holder, key


def _set(draft: Draft, value: Callable[[Any], Any]) -> None:
    holder, key = _place(draft)
    if isinstance(holder, list) and len(holder) == 1 and holder[0] is draft.tree:
        draft.tree = value(draft.tree)
    else:
        holder[key] = value(holder[key])


def _part(draw: Random, donors: Sequence[Any]) -> Any:
    """A part of another tree."""
    holder, key = _place(Draft(draw.choice(donors), draw))
    return json.loads(json.dumps(holder[key]))


def _drop(draft: Draft, _: Sequence[Any]) -> None:
    holder, key = _place(draft)
    del holder[key]


def _double(draft: Draft, donors: Sequence[Any]) -> None:
    holder, key = _place(draft)
    if isinstance(holder, list):
        holder[key:key] = [holder[key]] * draft.draw.choice((1, 1, 2, 30))
    else:
        value = holder[key] if draft.draw.random() < 0.5 else _part(draft.draw, donors)
        holder[draft.literal(_flow(key))] = value


def _swap(draft: Draft, _: Sequence[Any]) -> None:
    (one, first), (other, second) = _place(draft), _place(draft)
    held, taken = one[first], other[second]
    if not isinstance(held, dict | list) and not isinstance(taken, dict | list):
        one[first], other[second] = taken, held


def _retype(draft: Draft, _: Sequence[Any]) -> None:
    def other(value: Any) -> Any:
        plain = not isinstance(value, dict | list)
        kinds = [None, True, False, 0, 1.5, "", [], {}, [value], {"": value}, {"kind": value}]
        return draft.draw.choice([*kinds, str(value), [value, value]] if plain else kinds)

    _set(draft, other)


def _number(draft: Draft, _: Sequence[Any]) -> None:
    def other(value: Any) -> Any:
        if not isinstance(value, int | float) or abs(value) > 1e300 or draft.draw.random() < 0.5:
            return draft.draw.choice(NUMBERS)
        return draft.draw.choice(
            (value + 1, value - 1, -value, value * 2, value / 2, float(value), value * 1e9)
        )

    _set(draft, other)


def _nest(draft: Draft, _: Sequence[Any]) -> None:
    draw = draft.draw
    depth = draw.choice(LARGE) if draw.random() < SELDOM else draw.choice(MANY[:10])

    def nested(value: Any) -> Any:
        inner = _flow(value)
        if draw.random() < 0.5:
            return draft.literal("[" * depth + inner + "]" * depth)
        return draft.literal('{"a":' * depth + inner + "}" * depth)

    _set(draft, nested)


def _text(draft: Draft, donors: Sequence[Any]) -> None:
    def other(value: Any) -> Any:
        draw = draft.draw
        if not isinstance(value, str) or not value or draw.random() < 0.3:
            return draw.choice(TEXTS)
        at = draw.randrange(len(value) + 1)
        if draw.random() < 0.5:
            return value[:at] + draw.choice(TEXTS) + value[at:]
        return draw.choice((value[:at], value[at:], value.upper(), value * 2, f" {value} ", value[::-1]))

    _set(draft, other)


def _long(draft: Draft, _: Sequence[Any]) -> None:
    def longer(value: Any) -> Any:
        draw = draft.draw
        count = draw.choice(LARGE) if draw.random() < SELDOM * 4 else draw.choice(MANY)
        text = value if isinstance(value, str) else ""
        at = draw.randrange(len(text) + 1)
        letter = draw.choice((*" a0.9-,:[{\\\"'\n\té", text[at : at + 1], "\U0001f600"))
        return text[:at] + letter * count + text[at:] + draw.choice(("", "", "!"))

    _set(draft, longer)


def _wide(draft: Draft, _: Sequence[Any]) -> None:
    draw = draft.draw
    count = draw.choice(LARGE) if draw.random() < SELDOM else draw.choice(MANY[:10])

    def wide(value: Any) -> Any:
        value = 0 if count in LARGE else value
        if draw.random() < 0.5:
            return {f"{at}": value for at in range(count)}
        return [value] * count

    _set(draft, wide)


def _literal(draft: Draft, _: Sequence[Any]) -> None:
    words = (*LITERALS, *YAML_LITERALS) if draft.yaml else LITERALS
    word = draft.draw.choice(words) * (1 if draft.draw.random() < 0.9 else draft.draw.choice(MANY))
    before = draft.draw.choice(("", "", "1"))
    _set(draft, lambda value: draft.literal(before + word))


def _rename(draft: Draft, donors: Sequence[Any]) -> None:
    holder, key = _place(draft)
    if not isinstance(holder, dict):
        return
    donor = draft.draw.choice(donors)
    names = list(donor) if isinstance(donor, dict) and donor else [key]
    word = draft.literal(draft.draw.choice(YAML_LITERALS)) if draft.yaml else draft.literal("1")
    new = draft.draw.choice((*TEXTS[:12], *names, key.upper(), f"{key}x", key[:-1], word))
    moved = {(new if name == key else name): value for name, value in holder.items()}
    holder.clear()
    holder.update(moved)


def _graft(draft: Draft, donors: Sequence[Any]) -> None:
    _set(draft, lambda value: _part(draft.draw, donors))


def _add(draft: Draft, donors: Sequence[Any]) -> None:
    holder, _ = _place(draft)
    part = _part(draft.draw, donors)
    if isinstance(holder, list):
        holder.append(part)
    else:
        holder[draft.draw.choice(TEXTS)] = part


CHANGES = (
    *(_drop, _double, _swap, _retype, _number, _number, _nest, _text, _text, _long, _wide, _literal),
    *(_rename, _graft, _graft, _add),
)


def scrambled(data: bytes, draw: Random, others: Sequence[bytes]) -> bytes:
    """Bytes with one to eight changes that know nothing of what they mean."""
    for _ in range(draw.choice((1, 1, 1, 2, 4, 8))):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 1, 2, 4, 16, 64)))
        way = draw.randrange(7)
        if way == 0 and at < len(data):
            data = data[:at] + bytes((data[at] ^ 1 << draw.randrange(8),)) + data[at + 1 :]
        elif way == 1:
            data = data[:at] + data[end:]
        elif way == 2:
            count = draw.choice(LARGE) if draw.random() < SELDOM else draw.choice(MANY[:8])
            data = data[:at] + data[at:end] * count + data[at:]
        elif way == 3:
            data = data[:at] + draw.choice(BYTES) + data[at:]
        elif way == 4:
            data = data[:at] + draw.randbytes(end - at) + data[end:]
        elif way == 5:
            data = data[: draw.randrange(len(data) + 1)] if draw.random() < 0.3 else data
        else:
            other = draw.choice(others)
            start = draw.randrange(len(other) + 1)
            data = data[:at] + other[start : start + draw.choice((4, 16, 64, 256))] + data[end:]
    return data
