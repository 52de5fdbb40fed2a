"""Numbers and tensors that no sound file holds, and what has to become of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import safetensors.torch
import torch
from torch import Tensor

Tensors = dict[str, Tensor]
Fate = Literal["refused", "taken", "either"]
"""``either``: finite results, or a refusal that names the tensor or a layer."""


@dataclass(frozen=True)
class Poison:
    """One way to change a tensor of a file.

    Attributes:
        change: the bytes of the file, from its tensors and the name of the one to change.
        indexed: the refusal must tell the place in the tensor.
    """

    label: str
    fate: Fate
    change: Callable[[Tensors, str], bytes]
    indexed: bool = False


VALUES: dict[str, tuple[float, Fate]] = {
    "NaN": (float("nan"), "refused"),
    "+Inf": (float("inf"), "refused"),
    "-Inf": (float("-inf"), "refused"),
    "-0": (-0.0, "taken"),
    "denormal": (1e-40, "taken"),
    "1e38": (1e38, "either"),
    "-1e38": (-1e38, "either"),
}
NARROW = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float64": torch.float64}
OTHER = {
    "int64": torch.int64,
    "int32": torch.int32,
    "uint8": torch.uint8,
    "bool": torch.bool,
    "float8": torch.float8_e4m3fn,
}


def poisons(shape: tuple[int, ...], *, checkpoint: bool, fates: dict[str, Fate]) -> Iterator[Poison]:
    """Every poison for a tensor of that shape.

    Args:
        checkpoint: of a foreign model, which may be in half or double precision; else of a bundle.
        fates: what becomes of some of them in this tensor, where it is not the usual.
    """

    def made(label: str, fate: Fate, change: Callable[[Tensor], Tensor], *, indexed: bool = False) -> Poison:
        def bytes_of(tensors: Tensors, name: str) -> bytes:
            return _saved({**tensors, name: change(tensors[name].clone())})

        return Poison(label, fates.get(label, fate), bytes_of, indexed)

    for label, (value, fate) in VALUES.items():
        for where, at in (("first", 0), ("last", -1)):
            yield made(f"{label} in the {where} place", fate, _at(value, at), indexed=fate == "refused")
    for label, value in (("zeros", 0.0), ("ones", 1.0), ("denormals", 1e-40), ("1e38 everywhere", 1e38)):
        fate = "either" if value > 1 else "taken"
        yield made(label, fate, lambda tensor, value=value: torch.full_like(tensor, value))
    if len(shape) == 2:
        for label, value in (("zeros", 0.0), ("a constant", 0.5), ("denormals", 1e-40), ("1e38", 1e38)):
            fate = "either" if value > 1 else "taken"
            yield made(f"a column of {label}", fate, _line(value, 0))
            yield made(f"a row of {label}", fate, _line(value, 1))
        if shape[0] != shape[1]:
            yield made("transposed", "refused", lambda tensor: tensor.T)
    for label, dtype in NARROW.items():
        yield made(label, "taken" if checkpoint else "refused", lambda tensor, dtype=dtype: tensor.to(dtype))
    yield made("1e300 in float64", "refused", lambda tensor: _at(1e300, 0)(tensor.double()))
    for label, dtype in OTHER.items():
        yield made(label, "refused", lambda tensor, dtype=dtype: tensor.to(dtype))
    yield made("a row more", "refused", lambda tensor: torch.cat([tensor, tensor[:1]]))
    yield made("a row less", "refused", lambda tensor: tensor[1:])
    yield made("nothing in it", "refused", lambda tensor: tensor[:0])
    yield made("a dimension more", "refused", lambda tensor: tensor.unsqueeze(0))
    yield made("one number", "refused", lambda tensor: tensor.flatten()[0])
    yield Poison("missing", "refused", lambda tensors, name: _saved(_without(tensors, name)))
    yield Poison("there twice", "refused", _twice)
    yield Poison("called otherwise", "refused", lambda tensors, name: _saved(_renamed(tensors, name)))


def _saved(tensors: Tensors) -> bytes:
    ready = {name: tensor.clone().contiguous() for name, tensor in sorted(tensors.items())}
    return safetensors.torch.save(ready, {"format": "pt"})


def _at(value: float, at: int) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor.view(-1)[at] = value
        return tensor

    return change


def _line(value: float, dimension: int) -> Callable[[Tensor], Tensor]:
    def change(tensor: Tensor) -> Tensor:
        tensor.select(1 - dimension, 0).fill_(value)
        return tensor

    return change


def _without(tensors: Tensors, name: str) -> Tensors:
    return {other: tensor for other, tensor in tensors.items() if other != name}


def _renamed(tensors: Tensors, name: str) -> Tensors:
    return {f"{other}_2" if other == name else other: tensor for other, tensor in tensors.items()}


def _twice(tensors: Tensors, name: str) -> bytes:
    """A second tensor of the same name, which a reader might take for the first."""
    placeholder = "x" * (len(json.dumps(name)) - 2)
    data = _saved({**tensors, placeholder: tensors[name] * 2})
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(json.dumps(placeholder).encode(), json.dumps(name).encode())
    return data[:8] + header + data[8 + length :]


RANGES: dict[str, tuple[str, Fate]] = {
    "NaN": ("[NaN]", "refused"),
    "Infinity": ("[Infinity]", "refused"),
    "-Infinity": ("[-Infinity]", "refused"),
    "1e400": ("[1e400]", "refused"),
    "a text": ('["1.0"]', "refused"),
    "null in the list": ("[null]", "refused"),
    "true": ("[true]", "refused"),
    "a list in the list": ("[[1.0]]", "refused"),
    "zero": ("[0.0]", "refused"),
    "-0": ("[-0.0]", "refused"),
    "negative": ("[-1.0]", "refused"),
    "denormal": ("[1e-310]", "refused"),
    "float32's denormal": ("[1e-40]", "refused"),
    "1e-31": ("[1e-31]", "refused"),
    "1e-30": ("[1e-30]", "taken"),
    "1e-10": ("[1e-10]", "taken"),
    "1e10": ("[1e10]", "taken"),
    "1e38": ("[1e38]", "either"),
    "3.5e38": ("[3.5e38]", "refused"),
    "1e300": ("[1e300]", "refused"),
    "none in the list": ("[]", "refused"),
    "one too many": ("[1.0, 1.0]", "refused"),
    "a hundred too many": (json.dumps([1.0] * 101), "refused"),
    "a number": ("1.0", "refused"),
    "an object": ('{"0": 1.0}', "refused"),
    "null": ("null", "refused"),
    "an integer": ("[2]", "taken"),
}
"""What may stand in the place of the ranges of one layer."""

LABELS: dict[str, tuple[str, Fate]] = {
    text: (text, "refused")
    for text in ("nan", "inf", "-inf", "-1", "2", "1.0", "1e0", "0x1", "+1", "-0", "true", "null", "9" * 400)
} | {
    "nothing": ("", "refused"),
    "a blank": (" ", "refused"),
    "a word": ("positive", "taken"),
    "a word in capitals": ("NEGATIVE", "taken"),
    "with a blank": ("1 ", "taken"),
}
SCORES: dict[str, tuple[str, Fate]] = {
    text: (text, "refused")
    for text in ("nan", "inf", "-inf", "infinity", "1e400", "1e308", "-1e308", "1e38", "1e16", "x", "0x10")
} | {
    "nothing": ("", "refused"),
    "a comma": ("3,8", "refused"),
    "-0": ("-0", "taken"),
    "denormal": ("1e-310", "taken"),
    "1e15": ("1e15", "either"),
    "1e10": ("1e10", "either"),
    "an integer": ("3", "taken"),
    "digits that no number can hold": ("0." + "3" * 400, "taken"),
}
VALUES_OF_JSON: dict[str, tuple[str, Fate, Fate]] = {
    "NaN": ("NaN", "refused", "refused"),
    "Infinity": ("Infinity", "refused", "refused"),
    "1e400": ("1e400", "refused", "refused"),
    "true": ("true", "refused", "refused"),
    "null": ("null", "refused", "refused"),
    "a list": ("[1]", "refused", "refused"),
    "an object": ('{"a": 1}', "refused", "refused"),
    "400 digits": ("9" * 400, "refused", "refused"),
    "a million digits": ("9" * 10**6, "refused", "refused"),
    "1.0": ("1.0", "refused", "taken"),
    "a text": ('"1"', "taken", "taken"),
    "-0.0": ("-0.0", "refused", "taken"),
}
"""In a line of JSON: the value, what becomes of it as a class, and as a score."""

TEXTS: dict[str, tuple[bytes, Fate]] = {
    "nothing": (b"", "refused"),
    "blanks": (b"   ", "refused"),
    "no-break spaces": ("\u00a0\u2003".encode(), "refused"),
    "nan": (b"nan", "taken"),
    "a zero byte": (b"a\x00b", "taken"),
    "a zero-width space": ("\u200b".encode(), "taken"),
    "an escape": (b"\x1b[31mred", "taken"),
    "100,000 words": (b"good " * 100_000, "taken"),
    "one word of 100,000 letters": (b"g" * 100_000, "taken"),
    "bytes that are no UTF-8": (b"\xff\xfe", "refused"),
    "half a surrogate pair": (b"\xed\xa0\x80", "refused"),
    "what every model has never seen": ("\U0001f600\u4e2d\u0301".encode(), "taken"),
}


def json_poisons() -> Iterator[tuple[str, tuple[Any, ...], str, Fate]]:
    """For a file of results: label, keys to the value, the value as JSON, and its fate."""
    row: tuple[Any, ...] = ("rows", 0)
    for key in ((*row, "metrics", "accuracy"), ("baselines", 0, "metrics", "accuracy"), (*row, "t_s")):
        place = ".".join(map(str, key))
        for value in ("NaN", "Infinity", "1e400", '"x"', "null", "[1]"):
            yield f"{place}: {value}", key, value, "refused"
        for value in ("1e308", "-1e308", "1e-310", "-0.0"):
            yield f"{place}: {value}", key, value, "either"
    for value in ("NaN", "1.5", '"x"', "null", "true"):
        yield f"rows.0.chip: {value}", (*row, "chip"), value, "refused"
    for value in ("NaN", "1.5", "null"):
        yield f"samples: {value}", ("samples",), value, "refused"
    for value in ("0", "-1", "9" * 30):
        yield f"samples: {value}", ("samples",), value, "either"
    yield "no rows", ("rows",), "[]", "either"
    yield "no baselines", ("baselines",), "[]", "either"
    for value in ("NaN", "1e400", "null"):
        yield f"layers.0.sqnr_db: {value}", ("layers", 0, "sqnr_db"), f'{{"a": {value}}}', "refused"
    for value in ("1e308", "-1e308"):
        yield f"layers.0.sqnr_db: {value}", ("layers", 0, "sqnr_db"), f'{{"a": {value}}}', "either"
