"""What CI systems read: JUnit XML where it is asked for, GitHub's step summary and annotations on GitHub."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimc_deploy.errors import ArtifactError, ConfigError, GateFailed

if TYPE_CHECKING:
    from aimc_deploy.artifact.gate import Judged

JUnit = Annotated[
    Path | None,
    typer.Option("--junit", help="Write the verdicts as JUnit XML to this file.", metavar="FILE"),
]


def check_junit(junit: Path | None, asked: bool) -> None:
    """Refuse what would fail only after hours of measuring; makes the folder of the file.

    Args:
        asked: whether there will be verdicts to write.

    Raises:
        ConfigError: there will be none.
        ArtifactError: the file cannot be written.
    """
    if junit is None:
        return
    if not asked:
        raise ConfigError(
            "--junit writes the verdicts of a gate, and none is asked for: give --min-accuracy or "
            "--max-drop, or evaluate.gate in the recipe"
        )
    if junit.is_dir():
        raise ArtifactError(f"--junit: {junit} is a folder: name a file, such as {junit / 'gate.xml'}")
    try:
        junit.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"--junit: {junit} cannot be written: {error.strerror}") from None


def conclude(judged: Sequence[Judged], junit: Path | None) -> None:
    """Tell CI of verdicts, and end with them.

    Raises:
        GateFailed: something does not hold or got worse; after all has been written.
    """
    if junit is not None:
        from aimc_deploy.artifact.files import write_atomic
        from aimc_deploy.report.junit import junit as as_junit

        write_atomic(junit, as_junit(judged))
    _summarise(judged)
    failures = [(part.name, line) for part in judged for line in part.failures]
    for name, line in failures:
        annotate(f"aimc-deploy gate: {name}", line)
    if failures:
        several = len(judged) > 1
        raise GateFailed("; ".join(f"{name}: {line}" if several else line for name, line in failures))


def _summarise(judged: Sequence[Judged]) -> None:
    """Append to the step's summary, if this is a step of GitHub's; a verdict does not depend on it."""
    path = os.environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    from aimc_deploy.report.markdown import comparison_markdown, results_markdown

    parts = []
    for part in judged:
        parts.append(results_markdown(part.results, part.verdicts, part.name))
        if part.comparison is not None:
            parts.append(comparison_markdown(part.comparison, part.name))
    try:
        with open(path, "a", encoding="utf-8") as stream:
            stream.write("\n".join([*parts, ""]))
    except OSError as error:
        sys.stderr.write(f"note: the step summary {path} cannot be written: {error.strerror}\n")


def annotate(title: str, message: str) -> None:
    """An error in GitHub's words, on standard error so that a result on standard output stays whole."""
    if os.environ.get("GITHUB_ACTIONS") == "true":
        title = _escaped(title).replace(":", "%3A").replace(",", "%2C")
        sys.stderr.write(f"::error title={title}::{_escaped(message)}\n")


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
