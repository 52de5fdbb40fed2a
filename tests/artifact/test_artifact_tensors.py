"""Tensors as safetensors files: the same bytes for the same tensors, and nothing that is damaged is taken."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_bundle import refusal

from aimc_deploy.artifact.tensors import MAX_HEADER_BYTES, read_tensors, write_tensors
from aimc_deploy.errors import ArtifactError

LOOSE = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def safetensors_bytes(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


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


@pytest.mark.parametrize("dtype", ["F32", "I32"])
def test_a_tensor_of_more_dimensions_than_torch_can_use_is_refused(tmp_path: Path, dtype: str) -> None:
    for count in (64, 65):
        entry = {"dtype": dtype, "shape": [1] * count, "data_offsets": [0, 4]}
        (tmp_path / f"{count}.st").write_bytes(safetensors_bytes({"w": entry}, b"\0" * 4))
    assert read_tensors(tmp_path / "64.st")["w"].dim() == 64
    with pytest.raises(ArtifactError, match=r"65\.st: tensor 'w' has 65 dimensions, 64 at most"):
        read_tensors(tmp_path / "65.st")


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
