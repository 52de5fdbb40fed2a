"""The command line as a person runs it: another process, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tiny_deployment import recipe, write_checkpoint, write_task

from aimc_deploy.config.run import Run


@dataclass(frozen=True)
class Shell:
    """Runs commands in ``folder``, with one thread so that sums are rounded the same everywhere."""

    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "aimc_deploy", *arguments],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1", "TERM": "dumb"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        """Standard output and standard error; the exit code must be ``code``, and there is no traceback."""
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=240)
        assert process.returncode == code, errors
        assert "Traceback" not in errors + output, errors
        return output, errors


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "tiny")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_task(tmp_path_factory.mktemp("data") / "SST-2")


def write_recipe(path: Path, config: Run) -> None:
    """A recipe for the command line; JSON is YAML."""
    content: dict[str, Any] = config.model_dump(mode="json", exclude={"hardware": {"name", "description"}})
    path.write_text(json.dumps(content))


@pytest.fixture
def configured(tmp_path: Path, tiny: Path, data: Path) -> Run:
    """Settings for ``bundle`` in the folder of the test, written to ``recipe.yaml`` there."""
    config = recipe(
        tmp_path / "bundle",
        tiny,
        data,
        adapt={"epochs": 20.0, "checkpoint_steps": 4, "learning_rate": 1.0e-2},
    )
    write_recipe(tmp_path / "recipe.yaml", config)
    return config
