"""The command line as a test calls it: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from aimc_deploy.cli.app import app

ENVIRONMENT = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The last thing said on standard error; no traceback may have come before it."""
        assert "Traceback" not in self.err
        assert 'File "' not in self.err
        return self.err[self.err.rindex("error: ") :].strip()

    def json(self) -> Any:
        """Standard output, which must be one JSON document with a line end and nothing else."""
        assert self.out.endswith(("}\n", "]\n"))
        return json.loads(self.out)


def call(*arguments: str | Path) -> Ended:
    """Run a command in this process; an exception that comes out of it is the test's."""
    result = CliRunner(env=ENVIRONMENT).invoke(app, [str(part) for part in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Ended(result.exit_code, result.stdout, result.stderr)


def call_process(code: str, *arguments: str | Path, cwd: Path | None = None, **settings: Any) -> Ended:
    """Run Python code in a process of its own, with all that reaches its standard output and error."""
    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "PY_COLORS")}
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**kept, **ENVIRONMENT, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
        timeout=120,
        check=False,
        **options,
    )
    return Ended(done.returncode, done.stdout or "", done.stderr or "")
