"""``aimc-deploy``: every command and the one place where it starts."""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from types import FrameType
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
    sign,
    sweep,
    tasks,
    train_in_memory,
    verify,
)
from aimc_deploy.cli.output import INTERRUPTED, guarded
from aimc_deploy.errors import ConfigError
from aimc_deploy.version import __version__
from aimc_deploy.workflows.processes import PATIENCE_S, this_process

ON_SEVERAL = ("adapt",)
"""Commands that several processes can run together."""

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
    "sweep": sweep.command,
    "train-in-memory": train_in_memory.command,
    "inspect": inspect.command,
    "sign": sign.command,
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
@guarded
def _common(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before a command."""
    count = this_process().count
    if count > 1 and context.invoked_subcommand not in ON_SEVERAL:
        raise ConfigError(
            f"{count} processes cannot share `aimc-deploy {context.invoked_subcommand}`: only "
            f"`{ON_SEVERAL[0]}` can be started by torchrun or accelerate launch. Start this one as it is, "
            "without WORLD_SIZE in its environment (`evaluate` has processes of its own: --workers)"
        )


def main() -> None:
    """Entry point of the console script."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        app()
        return
    signal.signal(signal.SIGINT, _interrupt_once)
    if os.environ.get("RANK", "0") == "0":
        app()
    else:
        _in_the_background()


def _interrupt_once(number: int, frame: FrameType | None) -> None:
    """Ctrl-C comes twice, from the terminal and from the launcher; one is enough."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _in_the_background() -> None:
    """Run a command beside the first process, which tells of it.

    An error is kept back, because the first process mostly has the same one. If this process is still there
    after a while, for the launcher ends it when the first one fails, the error is its own.
    """
    kept = io.StringIO()
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(kept):
            app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            time.sleep(1)  # for the first process to say so
        elif end.code:
            time.sleep(PATIENCE_S)
            sys.stderr.write(kept.getvalue())
        raise
