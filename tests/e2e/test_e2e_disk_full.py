"""A disk that is really full: a small file system of its own, for those who may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from shell import Shell, write_recipe
from tiny_deployment import files_of

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.workflows import map
from aimc_deploy.workflows.deployed import load

SIZE = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder that holds one MiB and no more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)], capture_output=True
        )
    except FileNotFoundError:
        pytest.skip("there is no mount command here")
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill(folder: Path, leave: int) -> None:
    """Take all the space of a disk but ``leave`` bytes."""
    status = os.statvfs(folder)
    (folder / "filler").write_bytes(b"x" * (status.f_bavail * status.f_frsize - leave))


@pytest.mark.parametrize("command", ["map", "adapt"])
def test_a_full_disk_is_one_clear_line_and_the_bundle_can_still_be_used(
    small_disk: Path, shell: Shell, configured: Run, command: str
) -> None:
    bundle = small_disk / "bundle"
    config = configured.model_copy(update={"bundle": str(bundle)})
    write_recipe(shell.folder / "recipe.yaml", config)
    map.run(config, bundle)
    before = files_of(bundle)
    fill(small_disk, leave=32 << 10)
    options = ("--overwrite",) if command == "map" else ()
    output, errors = shell.run(command, "--config", "recipe.yaml", *options, code=2)
    assert output == ""
    assert "cannot be written" in errors
    assert "free some space" in errors
    assert files_of(bundle) == before
    assert Bundle.open(bundle).verify() == []
    assert load(bundle).base_sha256() == Bundle.open(bundle).manifest.base_sha256
    (small_disk / "filler").unlink()
    assert sorted(path.name for path in small_disk.iterdir() if path.name != "bundle.work") == ["bundle"]
