"""``aimc-deploy``: every command and the one place where it starts."""

from __future__ import annotations

from typing import Annotated

import typer

from aimc_deploy.cli import (
    adapt,
    config,
    cost,
    env,
    evaluate,
    gate,
    inspect,
    map,
    predict,
    report,
    run,
    tasks,
    verify,
)
from aimc_deploy.version import __version__

app = typer.Typer(
    name="aimc-deploy",
    help="Take a pretrained transformer to analog in-memory computing hardware: map, adapt, evaluate.\n\n"
    "Start with `aimc-deploy map`: it places the bundled reduced MobileBERT on simulated tiles.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

for name, function in {
    "map": map.command,
    "adapt": adapt.command,
    "evaluate": evaluate.command,
    "gate": gate.command,
    "predict": predict.command,
    "cost": cost.command,
    "report": report.command,
    "run": run.command,
    "inspect": inspect.command,
    "verify": verify.command,
    "tasks": tasks.command,
    "env": env.command,
}.items():
    app.command(name)(function)
app.add_typer(config.app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aimc-deploy {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before a command."""


def main() -> None:
    """Entry point of the console script."""
    app()
