from __future__ import annotations

import errno
import json
import os
import resource
import signal
import struct
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_bundle import refusal

from aimc_deploy.artifact import files
from aimc_deploy.artifact.files import parse_json, read_json, sha256_file, write_atomic, write_json
from aimc_deploy.artifact.tensors import MAX_HEADER_BYTES, read_tensors, write_tensors
from aimc_deploy.errors import ArtifactError

LOOSE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def safetensors_bytes(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def test_write_atomic_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_atomic(path, b"old")
    write_atomic(path, b"new content")
    assert path.read_bytes() == b"new content"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_write_atomic_honours_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_atomic(tmp_path / "a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failed_write_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})

    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(ArtifactError, match=r"a\.json cannot be written: No space left.*free some space"):
        write_json(path, {"new": 2})
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["a.json"]
    assert read_json(path) == {"old": 1}


@pytest.mark.parametrize("limit", [0, 1, 100, 4095, 4096, 9_999])
def test_a_file_size_limit_keeps_the_old_file(tmp_path: Path, limit: int) -> None:
    path = tmp_path / "a"
    write_atomic(path, b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        with pytest.raises(ArtifactError, match="cannot be written: File too large"):
            write_atomic(path, b"x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere/a\.json cannot be written: No such file"):
        write_json(tmp_path / "nowhere" / "a.json", 1)


def test_a_folder_that_cannot_be_flushed_is_reported_after_the_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    folder = os.stat(tmp_path).st_ino

    def fsync(descriptor: int) -> None:
        if os.fstat(descriptor).st_ino == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ArtifactError, match="is written, but may not survive a power cut"):
        write_atomic(tmp_path / "a", b"whole")
    assert (tmp_path / "a").read_bytes() == b"whole"


def test_json_text_is_canonical(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [0.1, None, "µS"]})
    expected = '{\n  "a": [\n    0.1,\n    null,\n    "µS"\n  ],\n  "b": 1\n}\n'
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_json_refuses_to_write_non_finite_numbers(tmp_path: Path, value: float) -> None:
    with pytest.raises(ArtifactError, match=r"a\.json cannot be written as JSON"):
        write_json(tmp_path / "a.json", {"x": [value]})
    assert os.listdir(tmp_path) == []


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@LOOSE
@given(JSON_VALUES)
def test_json_round_trip(tmp_path: Path, value: object) -> None:
    try:
        write_json(tmp_path / "a.json", value)
    except ArtifactError:  # half a surrogate pair
        with pytest.raises(UnicodeEncodeError):
            json.dumps(value, ensure_ascii=False).encode()
        return
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no valid JSON"),
        (b"{", "no valid JSON"),
        (b"{} {}", "no valid JSON"),
        (b"{'a': 1}", "no valid JSON"),
        (b'{"a": 1, "b": 2, "a": 1}', "'a' is there twice"),
        (b'[{"x": {"k": 1, "k": 2}}]', "'k' is there twice"),
        (b'{"a": NaN}', "NaN is not finite"),
        (b"[Infinity]", "Infinity is not finite"),
        (b"[-Infinity]", "-Infinity is not finite"),
        (b"[1e999]", "1e999 is not finite"),
        (b"\xef\xbb\xbf{}", "BOM"),
        (b'"\xff"', "utf-8"),
        (b'"\\ud800"', "surrogates"),
        (b'{"\\udfff": 1}', "surrogates"),
        (b"[" * 100_000, "nested more than 64"),
        (b'{"a":' * 100_000, "nested more than 64"),
        (b"[" * 65 + b"]" * 65, "nested more than 64"),
        (b"9" * 5000, "no valid JSON"),
        (b"[" + b"1," * 4_000_000 + b"1]", "more than 4,000,000 items"),
    ],
)
def test_json_that_two_readers_could_take_differently(tmp_path: Path, text: bytes, reason: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text)
    with pytest.raises(ArtifactError, match=r"bad\.json") as caught:
        read_json(path)
    assert reason in str(caught.value)


def test_json_depth_and_size_at_the_limit(tmp_path: Path) -> None:
    assert parse_json(b"[" * 64 + b"]" * 64, "x")
    assert parse_json(b'{"a":' * 64 + b"1" + b"}" * 64, "x")
    (tmp_path / "a.json").write_bytes(b"[10]")
    assert read_json(tmp_path / "a.json", max_bytes=4) == [10]
    with pytest.raises(ArtifactError, match=r"a\.json is larger than the 3 bytes"):
        read_json(tmp_path / "a.json", max_bytes=3)


@LOOSE
@given(st.binary(max_size=200))
def test_json_never_fails_otherwise(data: bytes) -> None:
    assert (refusal(lambda: parse_json(data, "x")) or "x ").startswith("x ")


def test_tensors_round_trip_in_any_order(tmp_path: Path) -> None:
    shared = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    tensors = {
        "b": shared.t(),
        "a": shared,
        "tied": shared,
        "view": shared[1:],
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
        "eighth": torch.ones(2).to(torch.float8_e4m3fn),
        "whole": torch.tensor([[1, -1]]),
        "flag": torch.tensor([True]),
        "scalar": torch.tensor(-0.0),
        "empty": torch.zeros(0, 3),
        "tiny": torch.tensor([1e-45, 3e38]),
    }
    write_tensors(tmp_path / "one", tensors, {"format": "pt"})
    write_tensors(tmp_path / "two", dict(reversed(tensors.items())), {"format": "pt"})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    read = read_tensors(tmp_path / "one")
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert read[name].dtype == tensor.dtype
        assert read[name].shape == tensor.shape
        assert torch.equal(read[name].float(), tensor.float())
    assert torch.signbit(read["scalar"])


def test_more_metadata_than_is_reproducible_is_a_defect_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one metadata key"):
        write_tensors(tmp_path / "a", {}, {"a": "1", "b": "2"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64, torch.complex64])
def test_a_value_that_is_not_finite_is_refused_with_its_place(
    tmp_path: Path, value: float, dtype: torch.dtype
) -> None:
    from safetensors.torch import save_file

    tensor = torch.zeros(3, 4, dtype=dtype)
    tensor[2, 1] = value
    with pytest.raises(ArtifactError, match=r"a\.st: tensor 'bad' is not finite at \[2, 1\]"):
        write_tensors(tmp_path / "a.st", {"good": torch.ones(1), "bad": tensor})
    save_file({"good": torch.ones(1), "bad": tensor}, tmp_path / "a.st")
    with pytest.raises(ArtifactError, match=r"a\.st: tensor 'bad' is not finite at \[2, 1\]"):
        read_tensors(tmp_path / "a.st")


def test_an_8_bit_nan_is_refused(tmp_path: Path) -> None:
    entry = {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}
    (tmp_path / "a.st").write_bytes(safetensors_bytes({"w": entry}, b"\x00\x7f"))
    with pytest.raises(ArtifactError, match=r"tensor 'w' is not finite at \[1\]"):
        read_tensors(tmp_path / "a.st")


F32 = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}",
        struct.pack("<Q", 100) + b"{}",
        safetensors_bytes(b"not json"),
        safetensors_bytes(b"[" * 100_000),
        safetensors_bytes(b'{"a":' * 100_000),
        safetensors_bytes(b"\xff\xff"),
        safetensors_bytes(b"[]"),
        safetensors_bytes(b'{"a": %s, "a": %s}' % ((json.dumps(F32).encode(),) * 2), b"\0" * 4),
        safetensors_bytes({"a": F32}),
        safetensors_bytes({"a": F32}, b"\0" * 3),
        safetensors_bytes({"a": F32}, b"\0" * 5),
        safetensors_bytes({"a": F32, "b": F32}, b"\0" * 4),
        safetensors_bytes({"a": {**F32, "shape": [2]}}, b"\0" * 4),
        safetensors_bytes({"a": {**F32, "shape": [-1]}}, b"\0" * 4),
        safetensors_bytes({"a": {**F32, "shape": [2**63, 0], "data_offsets": [0, 0]}}),
        safetensors_bytes({"a": {**F32, "shape": [2**62, 2**62]}}, b"\0" * 4),
        safetensors_bytes({"a": {**F32, "data_offsets": [4, 0]}}, b"\0" * 4),
        safetensors_bytes({"a": {**F32, "data_offsets": [0, 2**64]}}, b"\0" * 4),
        safetensors_bytes({"a": {"dtype": "F4", "shape": [2], "data_offsets": [0, 1]}}, b"\0"),
        safetensors_bytes({"a": {**F32, "dtype": "PICKLE"}}, b"\0" * 4),
        safetensors_bytes({"__metadata__": {"a": 1}}),
        b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94.",
        b"PK\x03\x04" + b"\0" * 60,
    ],
)
def test_damaged_tensors(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"bad\.safetensors"):
        read_tensors(path)


def test_every_truncation_and_header_bit_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.ones(2), "b": torch.zeros(3, dtype=torch.int8)})
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(ArtifactError, match=r"a\.safetensors"):
            read_tensors(path)
    for bit in range(8 * len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        read: dict[str, torch.Tensor] = {}
        message = refusal(lambda: read.update(read_tensors(path)))  # noqa: B023
        assert message is None or "a.safetensors" in message
        assert all(tensor.isfinite().all() for tensor in read.values())


@LOOSE
@given(st.binary(max_size=120), st.binary(max_size=40))
def test_random_tensors_never_fail_otherwise(tmp_path: Path, header: bytes, body: bytes) -> None:
    path = tmp_path / "a.safetensors"
    for data in (header + body, safetensors_bytes(header, body)):
        path.write_bytes(data)
        assert "a.safetensors" in (refusal(lambda: read_tensors(path)) or "a.safetensors")


READERS = [read_json, read_tensors, sha256_file]


@pytest.mark.parametrize("read", READERS)
def test_what_is_no_plain_file_is_refused(tmp_path: Path, read) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"{}")
    (tmp_path / "link").symlink_to(target)
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "fifo_link").symlink_to(tmp_path / "fifo")
    for name in ("link", "dangling", "loop", "fifo_link"):
        with pytest.raises(ArtifactError, match=f"{name} is a symbolic link"):
            read(tmp_path / name)
    for name in ("folder", "fifo"):
        with pytest.raises(ArtifactError, match=f"{name} is no regular file"):
            read(tmp_path / name)
    with pytest.raises(ArtifactError, match="nowhere is missing"):
        read(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="zero is no regular file"):
        read(Path("/dev/zero"))
    os.link(target, tmp_path / "second")
    with pytest.raises(ArtifactError, match=r"target has a second name.*put a copy"):
        read(target)


def test_a_link_on_the_way_is_refused(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.json").write_text("{}")
    root = tmp_path / "root"
    root.mkdir()
    (root / "adapters").symlink_to(outside)
    with (
        pytest.raises(ArtifactError, match=r"adapters/a\.json is a symbolic link or lies behind one"),
        files.open_regular(root, "adapters/a.json"),
    ):
        pass


def test_descriptors_are_closed(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {})
    (tmp_path / "link").symlink_to("a.json")
    before = set(os.listdir("/proc/self/fd")) if sys.platform == "linux" else set()
    for _ in range(20):
        read_json(tmp_path / "a.json")
        with pytest.raises(ArtifactError):
            read_json(tmp_path / "link")
    if sys.platform == "linux":
        assert set(os.listdir("/proc/self/fd")) == before


def test_sha256_of_a_known_text(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "a") == known
