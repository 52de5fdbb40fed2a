"""What a person sees: results on standard output, everything else on standard error, errors by exit code."""

from __future__ import annotations

import functools
import json
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from aimc_deploy.cli.ci import annotate
from aimc_deploy.cli.options import Format
from aimc_deploy.errors import AimcError, GateFailed

# What is printed often holds a user's own words, so brackets and colons in it mean nothing.
out = Console(soft_wrap=True, highlight=False, emoji=False, markup=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False, markup=False)


def guarded(function: Callable[..., None]) -> Callable[..., None]:
    """Turn a user's mistake into one message and its exit code; ``--debug`` shows the traceback."""

    @functools.wraps(function)
    def command(*args: Any, **kwargs: Any) -> None:
        debug = bool(kwargs.get("debug"))
        try:
            function(*args, **kwargs)
        except AimcError as error:
            if debug:
                traceback.print_exc()
            _complain(str(error), mark=not isinstance(error, GateFailed))  # its verdicts are marked each
            raise typer.Exit(error.exit_code) from None
        except KeyboardInterrupt:
            _complain("interrupted", mark=False)
            raise typer.Exit(130) from None
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except OSError as error:
            if debug:
                traceback.print_exc()
            where = f"{error.filename}: " if error.filename else ""
            _complain(f"{where}{error.strerror or error}")
            raise typer.Exit(2) from None
        except Exception as error:
            if debug:
                traceback.print_exc()
            _complain(
                f"internal error: {type(error).__name__}: {error}; run again with --debug and report it"
            )
            raise typer.Exit(1) from None

    return command


def _complain(message: str, *, mark: bool = True) -> None:
    if mark:
        annotate("aimc-deploy", message)
    err.print(Text.assemble(("error:", "bold red"), " ", message))


def emit(output: Format, payload: Any, human: Callable[[], None]) -> None:
    """Print a result as the user asked for it."""
    if output is Format.json:
        sys.stdout.write(json.dumps(payload, indent=2, allow_nan=False) + "\n")
    elif output is Format.human:
        human()


def note(output: Format, message: str) -> None:
    """Say what is no result on standard error."""
    if output is not Format.quiet:
        err.print(message)


def next_step(output: Format, command: str) -> None:
    """Name the command that comes next."""
    if output is Format.human:
        err.print(Text.assemble("next: ", (command, "bold")))


class Bar:
    """Draws a workflow's progress on a terminal, and prints a line now and then where there is none."""

    def __init__(self, output: Format) -> None:
        self.quiet = output is not Format.human
        self.bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=err,
            transient=True,
            disable=self.quiet or not err.is_terminal,
        )
        self.task: Any = None
        self.done = self.total = 0
        self.shown = 0

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def start(self, what: str, total: int) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.bar.add_task(what, total=total, note="")
        self.what, self.done, self.total, self.shown = what, 0, total, 0

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        self.bar.update(self.task, advance=steps, note=note)
        tenths = 10 * self.done // max(1, self.total)
        if not self.quiet and not err.is_terminal and tenths > self.shown:
            self.shown = tenths
            err.print(f"{self.what}: {self.done}/{self.total} {note}".rstrip())

    def say(self, message: str) -> None:
        if not self.quiet:
            err.print(message)
