"""The pipelines to copy: valid for GitHub and GitLab, with commands that exist, and the right exit code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from aimc_deploy.cli.app import app
from aimc_deploy.config.load import load_run

DOCS = Path(__file__).parents[2] / "docs"
GITHUB, GITLAB = DOCS / "ci" / "github-actions.yml", DOCS / "ci" / "gitlab-ci.yml"
PAGE = DOCS / "how-to" / "gate-in-ci.md"


def scripts(path: Path) -> list[str]:
    """What a shell is given: each step of GitHub's, the script of a job of GitLab's, or a page's commands."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    content = yaml.safe_load(text)
    if path == GITHUB:
        return [step["run"] for job in content["jobs"].values() for step in job["steps"] if "run" in step]
    return ["\n".join(job["script"]) for job in content.values() if "script" in job]


def commands(script: str) -> Iterator[list[str]]:
    """The words of every aimc-deploy in a script."""
    for line in re.sub(r"\\\n\s*", "", script).splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&()")
        lexer.whitespace_split = True
        words = list(lexer)
        for place, word in enumerate(words):
            if word == "aimc-deploy":
                rest = words[place + 1 :]
                ends = [at for at, part in enumerate(rest) if set(part) <= set(";|&()")]
                yield rest[: ends[0]] if ends else rest


def parse(words: list[str]) -> dict[str, Any]:
    """The options of a command as the command line itself reads them; raises where there is no such one."""
    group: Any = typer.main.get_command(app)
    context = group.make_context("aimc-deploy", list(words))
    name, command, rest = group.resolve_command(context, list(words))
    if hasattr(command, "commands"):
        name, command, rest = command.resolve_command(command.make_context(name, list(rest)), rest)
    return dict(command.make_context(name, rest, parent=context).params)


@pytest.mark.parametrize(
    ("path", "schema"), [(GITHUB, "github-workflows"), (GITLAB, "gitlab-ci")], ids=["github", "gitlab"]
)
def test_the_pipelines_are_valid(path: Path, schema: str, tmp_path: Path) -> None:
    def lint(file: Path) -> int:
        check = ["-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", str(file)]
        return subprocess.run([sys.executable, *check], capture_output=True, check=False).returncode

    assert lint(path) == 0
    (tmp_path / path.name).write_text(
        path.read_text().replace("actions/checkout@v4", "1\n      - 7") + "x: 1\n"
    )
    assert lint(tmp_path / path.name) != 0, "the check sees what is wrong"


@pytest.mark.parametrize("path", [GITHUB, GITLAB, PAGE], ids=lambda path: path.name)
def test_their_commands_are_those_of_the_command_line(path: Path) -> None:
    found = [words for script in scripts(path) for words in commands(script)]
    assert {"run", "gate"} <= {words[0] for words in found}
    for words in found:
        parse(words)
    compared = [parse(words) for words in found if words[0] == "gate" and "--baseline" in words]
    assert compared


def test_an_option_that_is_not_there_would_be_seen() -> None:
    for words in (["gate", "--base", "x"], ["gat"], ["gate", "x"], ["evaluate", "--chips", "many"], ["run"]):
        with pytest.raises(Exception, match=r"No such|unexpected extra|valid integer|Missing"):
            parse(words)
    script = (
        "a || aimc-deploy run r.yaml --seed 1 \\\n  --junit x || b=$?\n# aimc-deploy no\nc; aimc-deploy env"
    )
    assert list(commands(script)) == [["run", "r.yaml", "--seed", "1", "--junit", "x"], ["env"]]


def test_the_recipe_beside_them_has_a_gate() -> None:
    recipe = load_run(DOCS / "ci" / "recipe.yaml", [])
    assert recipe.evaluate.gate.is_set()
    for path in (GITHUB, GITLAB):
        assert f"{recipe.bundle}/results/{recipe.task}.json" in path.read_text()


@pytest.mark.parametrize("path", [GITHUB, GITLAB], ids=lambda path: path.name)
def test_their_scripts_are_bash(path: Path) -> None:
    for script in scripts(path):
        assert subprocess.run(["bash", "-n", "-c", script], check=False).returncode == 0, script


@pytest.mark.parametrize(
    ("run", "http", "gate", "code"),
    [
        (0, "200", 0, 0),
        (3, "200", 0, 3),
        (0, "200", 3, 3),
        (3, "200", 3, 3),
        (0, "404", 9, 0),
        (3, "404", 9, 3),
        (2, "200", 0, 2),
        (0, "500", 0, 1),
        (0, "200", 2, 2),
    ],
)
def test_the_job_of_gitlab_ends_with_the_code_that_counts(
    tmp_path: Path, run: int, http: str, gate: int, code: int
) -> None:
    """Its own words, with commands in the place of ours and of curl that do nothing but end."""
    fakes = {
        "pip": "exit 0",
        "curl": f"printf {http}",
        "aimc-deploy": f"case $1 in run) exit {run};; gate) exit {gate};; *) exit 77;; esac",
    }
    for name, body in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    (script,) = scripts(GITLAB)
    ended = subprocess.run(
        ["bash", "-c", f"set -eo pipefail\n{script}"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "AIMC_DEPLOY": "x"},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
