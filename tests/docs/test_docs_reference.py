"""The pages of reference are what the code says today, and say it of every command and every key."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import typer
from pages import ROOT

from aimc_deploy.artifact import results
from aimc_deploy.cli.app import app
from aimc_deploy.config.load import presets

SCRIPT = ROOT / "scripts" / "reference.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_what_the_script_writes(script: ModuleType) -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in script.FOLDER.glob("*.md")}
    made = script.pages()
    assert written.keys() == made.keys()
    for name, text in made.items():
        assert written[name] == text, f"docs/reference/{name}: run scripts/reference.py"


@pytest.mark.parametrize(
    "changes", [{"COLUMNS": "40", "TERM": "dumb"}, {"COLUMNS": "300", "FORCE_COLOR": "1", "LINES": "10"}]
)
def test_no_terminal_changes_them(changes: dict[str, str]) -> None:
    code = (
        "import runpy\n"
        f"made = runpy.run_path({str(SCRIPT)!r}, run_name='reference')\n"
        "there = {path.name: path.read_text(encoding='utf-8') for path in made['FOLDER'].glob('*.md')}\n"
        "assert made['pages']() == there"
    )
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **changes}, check=True, timeout=120)


def walk(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A command and all below it, by how they are called."""
    yield path, command
    for name, part in getattr(command, "commands", {}).items():
        yield from walk(part, f"{path} {name}")


def test_every_command_option_and_preset_is_there(script: ModuleType) -> None:
    cli, recipe = script.cli(), script.recipe()
    commands = dict(walk(typer.main.get_command(app), "aimc-deploy"))
    assert {"aimc-deploy gate", "aimc-deploy config init"} <= commands.keys()
    for path, command in commands.items():
        assert path == "aimc-deploy" or f"\n## `{path}`\n" in cli or f"\n### `{path}`\n" in cli
        options = [flag for part in command.params for flag in part.opts if flag.startswith("--")]
        assert [flag for flag in options if flag not in cli] == [], path
    assert "\n* `map`: Place a pretrained model on analog tiles and write the bundle.\n" in cli, "not cut off"
    assert "* `--max-drop <str>`: Fail (exit 3) if" in cli
    for name in presets():
        assert f"\n| `{name}` |" in recipe
    assert "\n| `hardware.adc.bits` | integer from 2 to 16 or null | `8` | resolution;" in recipe
    assert "\n| `hardware.device.t_read_s` | number above 0 | `2.5e-07` | s, duration of a read |" in recipe
    assert "\n| `hardware.mapping.clip.value` | number above 0 | needed | absolute weight |" in recipe


def test_every_field_of_results_is_told(script: ModuleType) -> None:
    told = script.fields_of_results()
    kinds = (
        results.Results,
        results.Row,
        results.Baseline,
        results.Summary,
        results.LayerErrors,
        results.Alone,
    )
    for field in {"summary", *(field for kind in kinds for field in kind.model_fields)}:
        assert f"\n| `{field}` |" in told
    assert "| number or null | 95 % Student t interval of the mean; null for one chip |" in told
