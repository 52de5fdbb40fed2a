"""A small bundle to write, read and break, and a way to break off whoever writes it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import write_json
from aimc_deploy.artifact.manifest import MANIFEST, _seal
from aimc_deploy.artifact.tensors import write_tensors
from aimc_deploy.errors import ArtifactError

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


def create(
    path: Path, version: int = 1, base: Callable[[Path, int], None] = write_base, **changes: Any
) -> Bundle:
    """Write a bundle with the files that ``base`` makes."""
    return Bundle.create(path, lambda folder: base(folder, version), **fields(**changes))


def change_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest, and seal it again: what somebody does who knows the format."""
    content = json.loads((path / MANIFEST).read_bytes())
    del content["manifest_sha256"]
    change(content)
    content["manifest_sha256"] = _seal(content)
    (path / MANIFEST).write_text(json.dumps(content))


def sealed(path: Path, files: Mapping[str, bytes]) -> None:
    """Put files into a bundle, with a manifest that fits."""
    for name, data in files.items():
        (path / name).write_bytes(data)
        entry = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        change_manifest(path, lambda content, name=name, entry=entry: content["files"].update({name: entry}))


def tree(root: Path) -> dict[str, bytes]:
    """Every file below ``root`` by name, hidden ones too."""
    return {
        str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()
    }


def refusal(step: Callable[[], object]) -> str | None:
    """What a step is refused with; None if it is done."""
    try:
        step()
    except ArtifactError as error:
        return str(error)
    return None


def content(path: Path) -> dict[str, bytes] | None:
    """What a reader finds in a sound bundle, by name; None where there is no bundle."""
    if "is no bundle" in (refusal(lambda: Bundle.open(path)) or ""):
        return None
    opened = Bundle.open(path)
    assert opened.verify() == []
    return {name: opened.file(name).read_bytes() for name in opened.manifest.files}


def leftovers(path: Path) -> list[str]:
    """Names in the bundle and beside it that only something unfinished has."""
    names = os.listdir(path.parent) + (os.listdir(path) if path.exists() else [])
    return sorted(name for name in names if name.startswith(".") and name != ".lock")


def takes_space(name: str, args: tuple[Any, ...]) -> bool:
    """Whether a system call can find the disk full."""
    return name not in ("unlink", "rmdir", "open") or (name == "open" and bool(args[1] & os.O_CREAT))


@contextlib.contextmanager
def failing(
    nth: int,
    fail: Callable[[], None],
    *,
    from_then_on: bool = False,
    among: Callable[[str, tuple[Any, ...]], bool] = lambda name, args: True,
) -> Iterator[list[int]]:
    """Call ``fail`` in the place of the ``nth`` system call (from 0); yields how many there were.

    Args:
        from_then_on: in the place of every later one too, as if the process were gone.
        among: which calls count, by name and arguments; the others are left alone.
    """
    count = [0]
    originals = {name: getattr(os, name) for name in SYSTEM_CALLS}

    def watched(name: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if among(name, args):
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
