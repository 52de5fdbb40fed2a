"""Options that several commands share, and the configuration that they add up to."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from aimc_deploy.config.load import load_run
from aimc_deploy.config.run import Run


class Format(str, Enum):
    """What goes to standard output."""

    human = "human"
    json = "json"
    quiet = "quiet"


ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML recipe; see `aimc-deploy config init`.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="Override any key, such as hardware.adc.bits=6. Repeatable.", metavar="KEY=VALUE"
    ),
]
Hardware = Annotated[
    str | None,
    typer.Option("--hardware", help="Preset name or YAML file; see `aimc-deploy config presets`."),
]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of everything that is drawn.")]
Device = Annotated[str | None, typer.Option("--device", help="torch device, or auto.")]
Output = Annotated[Format, typer.Option("--format", help="What to print on standard output.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; write nothing.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show tracebacks.")]
BundlePath = Annotated[Path | None, typer.Option("--bundle", "-b", help="Bundle folder [./aimc-bundle].")]
SignaturePath = Annotated[
    Path | None,
    typer.Option("--signature", help="Where the signature lies, if not beside the bundle as NAME.sig."),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task", "-t", help="Task (see `aimc-deploy tasks`), a YAML file that describes one, a list, or all."
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder with the task's files (GLUE TSV, CSV, JSONL or parquet)."),
]
TrainSamples = Annotated[int | None, typer.Option(help="Use only so many samples, drawn by seed.")]
StartFrom = Annotated[
    str | None, typer.Option(help="Adapter of the same task to go on from; a fresh one if left out.")
]
Resume = Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there under the same name.")]


DEFAULT_BUNDLE = "aimc-bundle"


def bundle_path(given: Path | None) -> Path:
    """The bundle asked for, or the default."""
    return given or Path(DEFAULT_BUNDLE)


def place(bundle: Path | str) -> str:
    """How to name a bundle in the next command; nothing for the default."""
    return "" if str(bundle) == DEFAULT_BUNDLE else f" --bundle {shlex.quote(str(bundle))}"


def listed(given: list[str] | None) -> list[str] | None:
    """The values of an option that may be repeated and may hold several, with commas between them."""
    return [part.strip() for text in given for part in text.split(",")] if given else None


def share(text: str, option: str) -> float:
    """``5%`` or ``0.05`` as a share."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise typer.BadParameter(f"'{text}' is no share: write 5% or 0.05", param_hint=option)
    return value


def fraction(text: str, option: str) -> float:
    """``5%`` or ``0.05`` of a whole."""
    value = share(text, option)
    if value > 1:
        raise typer.BadParameter(f"'{text}' is more than all: write 5% or 0.05", param_hint=option)
    return value


def resolve(
    recipe: Path | None,
    settings: list[str] | None,
    options: Mapping[str, Any],
    *,
    hardware_of_bundle: bool = False,
) -> Run:
    """The configuration of a command: defaults < recipe < --set < the command's own options.

    Args:
        options: dotted key to value; None means not given.
        hardware_of_bundle: take the hardware that the bundle was mapped for in the place of the default,
            so that overrides change only what they name.
    """
    own = [
        f"{key}={json.dumps(value, ensure_ascii=False)}"
        for key, value in options.items()
        if value is not None
    ]
    overrides = [*(settings or ()), *own]
    if not hardware_of_bundle:
        return load_run(recipe, overrides)
    path = Path(load_run(recipe, overrides).bundle) / "hardware.json"
    if not path.is_file():
        return load_run(recipe, overrides)  # the workflow says what is wrong with the bundle
    from aimc_deploy.config.load import load_hardware_json

    return load_run(recipe, overrides, hardware=load_hardware_json(path))
