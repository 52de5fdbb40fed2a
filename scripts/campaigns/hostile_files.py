"""What somebody who knows the formats would put into a file."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def _deep(opening: bytes, closing: bytes, levels: int, inner: bytes = b"1") -> bytes:
    return opening * levels + inner + closing * levels


JSONS: dict[str, bytes] = {
    "nested 65 deep": _deep(b"[", b"]", 66),
    "nested 100,000 deep": _deep(b"[", b"]", 100_000),
    "objects nested 100,000 deep": _deep(b'{"a":', b"}", 100_000),
    "never closed": b"[" * 1_000_000,
    "5,000,000 items": b"[" + b"1," * 5_000_000 + b"1]",
    "a key twice": b'{"a": 1, "a": 2}',
    "a key twice, written otherwise": b'{"a": 1, "\\u0061": 2}',
    "NaN": b'{"a": NaN}',
    "Infinity": b'{"a": -Infinity}',
    "1e999": b'{"a": 1e999}',
    "10^6 digits": b'{"a": ' + b"9" * 10**6 + b"}",
    "10^6 digits after the point": b'{"a": 1.' + b"9" * 10**6 + b"e999}",
    "a BOM": b'\xef\xbb\xbf{"a": 1}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "bad UTF-8": b'{"a": "\xff\xfe"}',
    "an overlong slash": b'{"a": "\xc0\xaf"}',
    "half a surrogate pair": b'{"a": "\\ud800"}',
    "two documents": b"{} {}",
    "a comment": b'{"a": 1} // x',
    "a trailing comma": b'{"a": 1,}',
    "single quotes": b"{'a': 1}",
    "a control character": b'{"a": "\x00"}',
    "nothing": b"",
    "only blanks": b" " * 1000,
    "zeros": bytes(1000),
}

CANARY = Path(os.environ.get("TMPDIR", "/tmp")) / f"campaign-canary-{os.getpid()}"


class _Runs:
    """Unpickled, it calls something."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def _zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return stream.getvalue()


def _pickles() -> dict[str, bytes]:
    touch = f"open({str(CANARY)!r}, 'w').close()"
    calls = {
        "os.system": _Runs(os.system, f"touch {CANARY}"),
        "exec": _Runs(exec, touch),
        "eval": _Runs(eval, touch),
        "open": _Runs(open, str(CANARY), "w"),
        "os.mkdir": _Runs(os.mkdir, str(CANARY)),
        "nested in a list": [[_Runs(exec, touch)]],
    }
    found = {f"pickle that calls {name}": pickle.dumps(value, 2) for name, value in calls.items()}
    program = pickle.dumps(calls["exec"], 2)
    found["pickle of protocol 0"] = pickle.dumps(calls["os.system"], 0)
    found["pickle of protocol 5"] = pickle.dumps(calls["exec"], 5)
    found["zipped as torch does"] = _zipped({"archive/data.pkl": program, "archive/version": b"3\n"})
    found["in an NPY file"] = (
        b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'shape': (1,)}".ljust(117) + b"\n" + program
    )
    header = json.dumps(
        {"a": {"dtype": "U8", "shape": [len(program)], "data_offsets": [0, len(program)]}}
    ).encode()
    found["behind a header of safetensors that is short"] = (
        struct.pack("<Q", len(header) - 1) + header + program
    )
    return found


PICKLES = _pickles()


def _tensor_file(header: Any, data: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _one(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


SAFETENSORS: dict[str, bytes] = {
    "a header of 2^64 - 1 bytes": _tensor_file(b"{}", length=2**64 - 1),
    "a header of 2^40 bytes": _tensor_file(b"{}", length=2**40),
    "a header of 32 MiB that is not there": _tensor_file(b"{}", length=2**25),
    "a header of 0 bytes": _tensor_file(b"", length=0),
    "a header that is longer than the file": _tensor_file(_one(), bytes(4), length=4000),
    "a header that is no object": _tensor_file(b"[]"),
    "a header nested 100,000 deep": _tensor_file(_deep(b'{"a":', b"}", 100_000)),
    "a header of 5,000,000 items": _tensor_file(b'{"a":[' + b"1," * 5_000_000 + b"1]}"),
    "a tensor twice": _tensor_file(
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        bytes(4),
    ),
    "overlapping tensors": _tensor_file(
        {**_one(), "b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a hole": _tensor_file(
        {**_one(), "b": {"dtype": "F32", "shape": [1], "data_offsets": [8, 12]}}, bytes(12)
    ),
    "data that nobody names": _tensor_file(_one(), bytes(64)),
    "less data than it says": _tensor_file(_one(shape=(100,), offsets=(0, 400)), bytes(4)),
    "a shape of 2^62 x 4": _tensor_file(_one(shape=(2**62, 4)), bytes(4)),
    "a shape that overflows": _tensor_file(_one(shape=(2**32, 2**32, 2**32)), bytes(4)),
    "a shape below 0": _tensor_file(_one(shape=(-1,)), bytes(4)),
    "a shape of fractions": _tensor_file(_one(shape=(1.5,)), bytes(4)),
    "a shape of 4,000 digits": _tensor_file(_one(shape=(int("9" * 4000),)), bytes(4)),
    "offsets of 2^63": _tensor_file(_one(offsets=(2**63, 2**63 + 4)), bytes(4)),
    "offsets that run backwards": _tensor_file(_one(offsets=(4, 0)), bytes(4)),
    "offsets below 0": _tensor_file(_one(offsets=(-4, 0)), bytes(4)),
    "another size of a number": _tensor_file(_one("F64"), bytes(4)),
    "numbers nobody knows": _tensor_file(_one("PICKLE"), bytes(4)),
    "numbers that are null": _tensor_file(_one(None), bytes(4)),  # pyrefly: ignore
    "NaN": _tensor_file(_one(), struct.pack("<f", float("nan"))),
    "infinity": _tensor_file(_one(), struct.pack("<f", float("inf"))),
    "NaN of 16 bits": _tensor_file(_one("BF16", (1,), (0, 2)), b"\xff\x7f"),
    "metadata that is no text": _tensor_file({"__metadata__": {"a": {"b": 1}}, **_one()}, bytes(4)),
    "bad UTF-8": _tensor_file(b'{"\xff": 1}'),
    "a zip file": _zipped({"a": b"a"}),
    "seven bytes": bytes(7),
    "nothing": b"",
}

_LAUGHS = b"a: &a [x, x]\n" + b"".join(
    f"{chr(98 + at)}: &{chr(98 + at)} [{', '.join(['*' + chr(97 + at)] * 9)}]\n".encode() for at in range(20)
)
YAMLS: dict[str, bytes] = {
    "a billion laughs": _LAUGHS,
    "an anchor": b"seed: &a 1\n",
    "an alias to itself": b"a: &a [*a]\n",
    "a merge key": b"a: &a {b: 1}\nc: {<<: *a}\n",
    "python/object/apply": b"!!python/object/apply:os.system ['touch x']\n",
    "python/object/new": b"a: !!python/object/new:os.system ['touch x']\n",
    "python/name": b"a: !!python/name:os.system ''\n",
    "python/module": b"a: !!python/module:os ''\n",
    "python/tuple": b"a: !!python/tuple [1]\n",
    "a binary tag": b"a: !!binary aGk=\n",
    "a tag of its own": b"%TAG ! tag:evil,2000:\n---\na: !x 1\n",
    "nested 33 deep": b"a: " + _deep(b"[", b"]", 33),
    "nested 100,000 deep": b"a: " + _deep(b"[", b"]", 100_000),
    "mappings 10,000 deep": b"{a: " * 10_000,
    "sequences by dashes": b"- " * 20_000 + b"1\n",
    "10^6 digits": b"seed: " + b"9" * 10**6 + b"\n",
    "10^5 digits": b"seed: " + b"9" * 10**5 + b"\n",
    "base 60": b"seed: " + b"1" + b":59" * 20_000 + b"\n",
    "a key of 10^5 letters": b"? " + b"a" * 10**5 + b"\n: 1\n",
    "a key that is a list": b"? [a]\n: 1\n",
    "a key twice": b"seed: 1\nseed: 2\n",
    "NaN": b"seed: .nan\n",
    "infinity": b"seed: .inf\n",
    "a date that is none": b"seed: 2001-99-99\n",
    "a NUL": b"seed: \x00\n",
    "bad UTF-8": b"seed: \xff\xff\n",
    "UTF-16": "seed: 1\n".encode("utf-16"),
    "two documents": b"seed: 1\n---\nseed: 2\n",
    "no mapping": b"- 1\n",
    "more than a MiB": b"# " + b"x" * 2**20 + b"\nseed: 1\n",
    "100,000 keys": b"".join(b"k%d: 1\n" % at for at in range(100_000)),
    "tabs": b"\tseed: 1\n",
    "directives": b"%YAML 9.9\n---\nseed: x\n",
    "a path out": b"hardware: ../../../etc/passwd\n",
    "a preset that is a device": b"hardware: /dev/zero\n",
}
