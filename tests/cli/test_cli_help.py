"""The words of the command line: commands, arguments, options, help; what a user's scripts rely on."""

from __future__ import annotations

import re
import resource
import shlex

import pytest
from command_line import call, call_process

from aimc_deploy import __version__

TOP = {"--version", "--install-completion", "--show-completion"}
CONFIGURED = {"--config", "--set", "--seed", "--hardware"}
SHOWN = {"--format", "--debug"}

# Command: its arguments in the usage line, and its options. Removing or renaming one breaks
# scripts, so it must be done here on purpose.
COMMANDS: dict[str, tuple[str, set[str]]] = {
    "": ("COMMAND ARGS", TOP),
    "map": (
        "MODEL OUT",
        {
            *("--revision", "--allow-pickle", "--overwrite", "--dry-run"),
            *(
                "--fault-map",
                "--auto-digital",
                "--task",
                "--data-dir",
                "--max-drop",
                "--chips",
                "--samples",
                "--at",
            ),
            *CONFIGURED,
            *SHOWN,
        },
    ),
    "adapt": (
        "",
        {
            *("--task", "--bundle", "--name", "--method", "--no-hardware", "--out", "--train-samples"),
            *("--start-from", "--from-chip", "--at", "--schedule", "--report-to"),
            *("--epochs", "--data-dir", "--resume", "--overwrite", "--device", "--dry-run"),
            *CONFIGURED,
            *SHOWN,
        },
    ),
    "evaluate": (
        "",
        {
            *(
                "--task",
                "--bundle",
                "--adapter",
                "--chips",
                "--chip",
                "--times",
                "--compensation",
                "--min-accuracy",
            ),
            *("--max-drop", "--at", "--unadapted", "--samples", "--workers", "--results", "--data-dir"),
            *("--device", "--junit", "--noise-budget"),
            *CONFIGURED,
            *SHOWN,
        },
    ),
    "gate": (
        "",
        {
            *("--bundle", "--task", "--results", "--min-accuracy", "--max-drop", "--at"),
            *("--baseline", "--max-loss", "--significance", "--junit"),
            *SHOWN,
        },
    ),
    "predict": (
        "TEXT",
        {
            *("--file", "--task", "--bundle", "--adapter", "--chip", "--at", "--no-hardware", "--device"),
            *CONFIGURED,
            *SHOWN,
        },
    ),
    "cost": (
        "MODEL",
        {"--bundle", "--rank", "--tokens", "--length", "--budget", "--config", "--set", "--hardware", *SHOWN},
    ),
    "report": ("", {"--bundle", *SHOWN}),
    "run": (
        "RECIPE",
        {"--bundle", "--data-dir", "--set", "--seed", "--device", "--junit", "--dry-run", *SHOWN},
    ),
    "sweep": (
        "SWEEP",
        {
            *("--out", "--executor", "--workers", "--shard", "--search", "--trials", "--set", "--dry-run"),
            *SHOWN,
        },
    ),
    "train-in-memory": (
        "",
        {
            *("--task", "--bundle", "--what", "--algorithm", "--pulsed-device", "--states"),
            *("--learning-rate", "--chip", "--at", "--name", "--train-samples", "--epochs", "--data-dir"),
            *("--start-from", "--resume", "--overwrite", "--device", "--dry-run"),
            *("--study", "--seeds", "--workers", "--out"),
            *CONFIGURED,
            *SHOWN,
        },
    ),
    "inspect": ("", {"--bundle", *SHOWN}),
    "sign": ("", {"--key", "--bundle", "--certificate", "--signature", *SHOWN}),
    "verify": ("", {"--bundle", "--key", "--root-certificate", "--signature", *SHOWN}),
    "tasks": ("", {"--data-dir", *SHOWN}),
    "env": ("", SHOWN),
    "config": ("COMMAND ARGS", set()),
    "config init": ("RECIPE", {"--overwrite", "--debug"}),
    "config show": ("", {"--config", "--set", "--hardware", *SHOWN}),
    "config schema": ("", {"--sweep", "--debug"}),
    "config validate": ("RECIPE", SHOWN),
    "config presets": ("", {"--pulsed", *SHOWN}),
}
SHORT = {"--task": "-t", "--bundle": "-b", "--config": "-c"}
OPTION = re.compile(r"^│ (?:\* )? *(--[a-z-]+)(?: +(-[a-z])\b)?", re.MULTILINE)
COMMAND = re.compile(r"^│ ([a-z][a-z-]*) ", re.MULTILINE)
HEAVY = ("torch", "transformers", "peft", "datasets", "accelerate", "numpy", "sklearn", "matplotlib")
# The last line of standard output lists what a command should not have imported.
LIGHT = f"""
import sys
from aimc_deploy.cli.app import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
print()
print("imported:", *[name for name in {HEAVY!r} if name in sys.modules])
"""


@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_the_arguments_and_options_of_a_command(command: str) -> None:
    ended = call(*command.split(), "--help")
    assert (ended.code, ended.err) == (0, "")
    arguments, options = COMMANDS[command]
    usage = re.search(r"Usage: (.*)", ended.out)
    assert usage is not None
    # Which brackets mark what may be left out is typer's choice.
    words = re.sub(r"[][{}.]", "", usage[1]).split()
    assert words == f"aimc-deploy {command} OPTIONS {arguments}".split()
    found = OPTION.findall(ended.out)
    assert sorted(name for name, _ in found) == sorted({*options, "--help"})
    assert {name: short for name, short in found if short} == {
        name: short for name, short in SHORT.items() if name in options
    }
    described = re.findall(r"^│ (?:\* )? *--[a-z-]+.* {2,}[^ │].*[.\]] *│", ended.out, re.MULTILINE)
    assert len(described) == len(found)


def test_every_command_is_listed_by_the_help_above_it() -> None:
    listed = set(COMMAND.findall(call("--help").out))
    assert listed == {name.split()[0] for name in COMMANDS if name}
    below = {f"config {name}" for name in COMMAND.findall(call("config", "--help").out)}
    assert below == {name for name in COMMANDS if name.startswith("config ")}


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("", "config")])
def test_help_shows_examples_that_use_what_there_is(command: str) -> None:
    text = call(*command.split(), "--help").out
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith("aimc-deploy ")]
    examples = [shlex.split(line.partition(">")[0])[1:] for line in lines]
    assert any(example[: len(command.split())] == command.split() for example in examples)
    for example in examples:
        name = " ".join(example[:2]) if example[0] == "config" else example[0]
        longs = {short: long for long, short in SHORT.items()}
        used = {longs.get(word, word) for word in example if word.startswith("-")}
        assert used <= COMMANDS[name][1], example


@pytest.mark.parametrize("arguments", [[], ["config"]])
def test_without_a_command_the_help_is_shown(arguments: list[str]) -> None:
    ended = call(*arguments)
    assert ended.code == 2
    assert COMMAND.findall(ended.out) == COMMAND.findall(call(*arguments, "--help").out)


def test_version() -> None:
    ended = call("--version")
    assert (ended.code, ended.out, ended.err) == (0, f"aimc-deploy {__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["mpa"], "No such command 'mpa'"),
        (["config", "shwo"], "No such command 'shwo'"),
        (["map", "--hardwear", "pcm"], "No such option: --hardwear"),
        (["evaluate", "--chips", "many"], "Invalid value for '--chips'"),
        (["env", "--format", "xml"], "'xml' is not one of 'human', 'json', 'quiet'"),
        (["run"], "Missing argument 'RECIPE'"),
        (["inspect", "bundle"], "unexpected extra argument"),
        (["evaluate", "--chips"], "Option '--chips' requires an argument"),
    ],
)
def test_a_word_that_is_not_known_is_a_mistake_of_usage(arguments: list[str], said: str) -> None:
    ended = call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["evaluate", "--help"],
        ["config", "show"],
        ["config", "schema"],
        ["config", "presets", "--format", "json"],
        ["adapt", "--dry-run"],
        ["run", "--help"],
    ],
    ids=" ".join,
)
def test_words_alone_need_no_torch(arguments: list[str]) -> None:
    ended = call_process(LIGHT, *arguments)
    assert (ended.code, ended.out.splitlines()[-1]) == (0, "imported:"), ended.err


def test_a_command_that_computes_is_seen_by_that_check() -> None:
    ended = call_process(LIGHT, "env")
    assert ended.out.splitlines()[-1].startswith("imported: torch"), ended.err


@pytest.mark.parametrize("arguments", [["--help"], ["config", "show"]], ids=" ".join)
def test_words_alone_take_less_than_a_second_of_processor_time(arguments: list[str]) -> None:
    used = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        assert call_process("from aimc_deploy.cli.app import main; main()", *arguments).code == 0
        used.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before)
    assert min(used) < 1.0
