"""Tensors as safetensors files, written whole or not at all, and read without trusting them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from aimc_deploy.artifact.files import open_regular, parse_json, reporting, write_atomic
from aimc_deploy.errors import ArtifactError

MAX_HEADER_BYTES = 32 * 1024**2
MAX_DIMENSIONS = 64  # beyond which torch can hold a tensor and do nothing with it


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors as safetensors, atomically; equal tensors give equal files.

    Args:
        metadata: one key at most, because safetensors writes several in a random order.

    Raises:
        ArtifactError: a value is not finite, or the file cannot be written.
    """
    if metadata and len(metadata) > 1:
        raise ValueError("safetensors files are only reproducible with one metadata key at most")
    ready: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        _check_finite(name, tensor, path)
        storage = tensor.untyped_storage().data_ptr()
        # Tied parameters are written once for each name; safetensors refuses shared memory.
        ready[name] = tensor.clone() if storage in storages else tensor
        storages.add(storage)
    write_atomic(path, safetensors.torch.save(ready, metadata=dict(metadata) if metadata else None))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file by name, on the CPU.

    Raises:
        ArtifactError: the file is missing, a link or damaged, or a value is not finite.
    """
    path = Path(path)
    with open_regular(path.parent, path.name) as stream:
        return load_tensors(stream, path)


def load_tensors(stream: BinaryIO, where: Path | str) -> dict[str, Tensor]:
    """:func:`read_tensors` of an open file."""
    with reporting(f"{where} cannot be read"):
        start = stream.read(8)
        length = int.from_bytes(start, "little")
        if length > MAX_HEADER_BYTES:
            raise ArtifactError(
                f"{where} is no safetensors file, or its header is above {MAX_HEADER_BYTES:,} bytes"
            )
        header = stream.read(length)
        # safetensors itself takes the last of two tensors of one name; this refuses them.
        parse_json(header, f"{where}: its header")
        data = start + header + stream.read()
    try:
        tensors = safetensors.torch.load(data)
    except (SafetensorError, RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:
        raise ArtifactError(f"{where} is no valid safetensors file: {str(error).splitlines()[0]}") from None
    for name, tensor in tensors.items():
        if tensor.dim() > MAX_DIMENSIONS:
            raise ArtifactError(
                f"{where}: tensor {name!r} has {tensor.dim()} dimensions, {MAX_DIMENSIONS} at most"
            )
        _check_finite(name, tensor, where)
    return tensors


def _check_finite(name: str, tensor: Tensor, where: Path | str) -> None:
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return
    # torch cannot ask this of 8-bit floats.
    finite = torch.isfinite(tensor.float() if tensor.element_size() == 1 else tensor)
    if not finite.all():
        index = (~finite).nonzero()[0].tolist()
        raise ArtifactError(f"{where}: tensor {name!r} is not finite at {index}")
