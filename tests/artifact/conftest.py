"""A small bundle to write, read and break."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import write_json, write_tensors

# Every call by which the room changes the disk, or on which what is there later depends.
SYSTEM_CALLS = ("rename", "replace", "fsync", "unlink", "rmdir", "mkdir", "open")


class Interrupted(BaseException):
    """Stands for a kill inside this process."""


def write_base(folder: Path, version: int = 1) -> None:
    tiles = {"layer.0.g_plus": torch.arange(6.0).reshape(2, 3) + version, "layer.0.w_scale": torch.ones(2)}
    write_tensors(folder / "tiles.safetensors", tiles)
    write_tensors(folder / "model.safetensors", {"bias": torch.full((3,), float(version))})
    write_json(folder / "hardware.json", {"name": "pcm", "version": version})
    write_json(folder / "config.json", {"hidden_size": 3})
    (folder / "vocab.txt").write_text("[PAD]\nword\n")


def write_adapter(version: int, files: int = 2) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_json(folder / "adapter.json", {"version": version})
        write_tensors(folder / "adapter_model.safetensors", {"lora_A": torch.full((2, 2), float(version))})
        for index in range(files - 2):
            write_json(folder / f"more_{index}.json", {"version": version})

    return write


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "libraries": {"torch": "2.13.0"},
        "source": {"source": "tiny", "revision": None},
        "config_sha256": "a" * 64,
        "hardware_digest": "b" * 64,
        "mapping_digest": "c" * 64,
        "seed": 0,
        "base_sha256": "d" * 64,
        **changes,
    }


def create(path: Path, version: int = 1, **changes: Any) -> Bundle:
    return Bundle.create(path, lambda folder: write_base(folder, version), **fields(**changes))


def tree(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` by name, hidden ones too."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return create(tmp_path / "bundle")


@contextlib.contextmanager
def failing(nth: int, fail: Callable[[], None], *, from_then_on: bool = False) -> Iterator[list[int]]:
    """Call ``fail`` in the place of the ``nth`` system call (from 0); yields how many there were."""
    count = [0]
    originals = {name: getattr(os, name) for name in SYSTEM_CALLS}

    def watched(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            number = count[0]
            count[0] += 1
            if number == nth or (from_then_on and number > nth):
                fail()
            return originals[name](*args, **kwargs)

        return call

    try:
        for name in SYSTEM_CALLS:
            setattr(os, name, watched(name))
        yield count
    finally:
        for name, original in originals.items():
            setattr(os, name, original)
