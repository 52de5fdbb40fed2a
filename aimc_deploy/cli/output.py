"""What a person sees: results on standard output, everything else on standard error, errors by exit code."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from aimc_deploy.cli.ci import annotate
from aimc_deploy.cli.options import Format
from aimc_deploy.errors import AimcError, GateFailed

# What is printed often holds a user's own words, so brackets and colons in it mean nothing.
out = Console(soft_wrap=True, highlight=False, emoji=False, markup=False)
err = Console(stderr=True, soft_wrap=True, highlight=False, emoji=False, markup=False)

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


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
            raise typer.Exit(INTERRUPTED) from None
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


def _is_watched() -> bool:
    """Whether standard error is a screen that can be drawn on; FORCE_COLOR makes none of a file."""
    return err.is_interactive and err.file.isatty()


@contextlib.contextmanager
def loading(output: Format) -> Iterator[None]:
    """Show that something happens while torch and what needs it are imported, which takes seconds."""
    watched = output is Format.human and _is_watched()
    with err.status("loading libraries") if watched else contextlib.nullcontext():
        yield


class _Count(MofNCompleteColumn):
    """Steps done, where it is known how many there are."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _Clock(TimeRemainingColumn):
    """Time left, or where nobody knows it the time that has passed."""

    def render(self, task: Task) -> Text:
        return TimeElapsedColumn().render(task) if task.total is None else super().render(task)


PLAIN_S = 2.0
"""Least time between two lines of progress in a log; the last one of a stage always comes."""


class Bar:
    """Draws a workflow's progress on a terminal, and prints a line now and then where there is none."""

    def __init__(self, output: Format) -> None:
        self.quiet = output is not Format.human
        self.drawn = not self.quiet and _is_watched()
        self.bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Count(),
            _Clock(),
            TextColumn("{task.fields[note]}", markup=False),
            console=err,
            transient=True,
            disable=not self.drawn,
        )
        self.task: Any = None
        self.done = self.total = 0
        self.told = 0.0

    def __enter__(self) -> Bar:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def start(self, what: str, total: int | None) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.bar.add_task(what, total=total, note="")
        self.what, self.done, self.total, self.told = what, 0, total or 0, time.monotonic()

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.done += steps
        self.bar.update(self.task, advance=steps, note=note)
        now = time.monotonic()
        if not self.quiet and not self.drawn and (self.done == self.total or now - self.told > PLAIN_S):
            self.told = now
            err.print(f"{self.what}: {self.done}/{self.total} {note}".rstrip())

    def say(self, message: str) -> None:
        if not self.quiet:
            err.print(message)
