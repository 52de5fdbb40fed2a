"""A tiny checkpoint, its task, and a bundle with one adapter, made once; tests that change one copy it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tiny_deployment import recipe, write_checkpoint, write_task


@pytest.fixture(scope="session")
def checkpoint_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in Hugging Face layout; not to be written to."""
    return write_checkpoint(tmp_path_factory.mktemp("cli") / "tiny")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the tiny task as ``SST-2``."""
    folder = tmp_path_factory.mktemp("cli") / "glue"
    write_task(folder / "SST-2", train=32, dev=32)
    return folder


@pytest.fixture(scope="session")
def bundle_once(tmp_path_factory: pytest.TempPathFactory, checkpoint_once: Path, data: Path) -> Path:
    """A mapped bundle with the adapter ``sst2``; not to be written to."""
    from aimc_deploy.workflows import adapt, map

    path = tmp_path_factory.mktemp("cli") / "bundle"
    run = recipe(path, checkpoint_once, data)
    map.run(run, path)
    adapt.run(run)
    return path


@pytest.fixture
def bundle(tmp_path: Path, bundle_once: Path) -> Path:
    """The same, of the test's own."""
    return Path(shutil.copytree(bundle_once, tmp_path / "bundle"))


@pytest.fixture
def checkpoint(tmp_path: Path, checkpoint_once: Path) -> Path:
    """A checkpoint of the test's own."""
    return Path(shutil.copytree(checkpoint_once, tmp_path / "tiny"))
