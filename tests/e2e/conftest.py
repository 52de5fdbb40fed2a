"""A recipe for the tiny model, and a folder to run commands in."""

from __future__ import annotations

from pathlib import Path

import pytest
from shell import Shell, write_recipe
from tiny_deployment import recipe, write_checkpoint, write_task

from aimc_deploy.config.run import Run


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("data") / "SST-2")


@pytest.fixture
def configured(tmp_path: Path, tiny: Path, data: Path) -> Run:
    """Settings for ``bundle`` in the folder of the test, written to ``recipe.yaml`` there."""
    config = recipe(
        tmp_path / "bundle",
        tiny,
        data,
        adapt={"epochs": 40.0, "checkpoint_steps": 4, "learning_rate": 1.0e-2},
    )
    write_recipe(tmp_path / "recipe.yaml", config)
    return config
