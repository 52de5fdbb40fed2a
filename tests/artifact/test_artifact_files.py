from __future__ import annotations

import errno
import json
import os
import resource
import signal
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_bundle import refusal

from aimc_deploy.artifact import files
from aimc_deploy.artifact.files import parse_json, read_json, sha256_file, write_atomic, write_json
from aimc_deploy.artifact.tensors import read_tensors
from aimc_deploy.errors import ArtifactError

LOOSE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


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
