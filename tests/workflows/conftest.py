"""A mapped and an adapted bundle, made once; tests that change one copy it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_deployment import recipe, write_checkpoint, write_task

from aimc_deploy.config.run import Run
from aimc_deploy.workflows import adapt, map

Configure = Callable[..., Run]

# Forty-eight steps, after which the adapter is well above chance on the tiny task.
LEARNS = {"epochs": 8.0, "learning_rate": 2.0e-2, "checkpoint_steps": 100}


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("data") / "SST-2")


@pytest.fixture(scope="session")
def configure(tiny: Path, data: Path) -> Configure:
    """Settings for a bundle, with the tiny model and the tiny task."""

    def make(bundle: Path, **changes: Any) -> Run:
        return recipe(bundle, tiny, data, **changes)

    return make


@pytest.fixture(scope="session")
def mapped_once(tmp_path_factory: pytest.TempPathFactory, configure: Configure) -> Path:
    """A bundle without adapters; not to be written to."""
    path = tmp_path_factory.mktemp("mapped") / "bundle"
    map.run(configure(path), path)
    return path


@pytest.fixture(scope="session")
def adapted_once(tmp_path_factory: pytest.TempPathFactory, configure: Configure, mapped_once: Path) -> Path:
    """The same with the adapter ``sst2``; not to be written to."""
    path = tmp_path_factory.mktemp("adapted") / "bundle"
    shutil.copytree(mapped_once, path)
    adapt.run(configure(path, adapt=LEARNS))
    return path


@pytest.fixture
def mapped(tmp_path: Path, mapped_once: Path) -> Path:
    """A bundle without adapters, of the test's own."""
    return Path(shutil.copytree(mapped_once, tmp_path / "bundle"))


@pytest.fixture
def adapted(tmp_path: Path, adapted_once: Path) -> Path:
    """A bundle with the adapter ``sst2``, of the test's own."""
    return Path(shutil.copytree(adapted_once, tmp_path / "bundle"))
