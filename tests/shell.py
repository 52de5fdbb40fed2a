"""The command line as a person runs it: another process, in a folder of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def write_recipe(path: Path, config: Run) -> None:
    """A recipe for the command line; JSON is YAML."""
    content: dict[str, Any] = config.model_dump(mode="json", exclude={"hardware": {"name", "description"}})
    path.write_text(json.dumps(content))
