"""What a person sees while a command works: on a terminal, in a log, and not at all."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from command_line import call

from aimc_deploy.cli import output
from aimc_deploy.cli.options import Format
from aimc_deploy.cli.output import Bar

# One process for several commands, so that torch is imported once; a line on standard output parts them.
COMMANDS = """
import sys
from aimc_deploy.cli.app import app
for step in sys.argv[1:]:
    try:
        app(step.split())
    except SystemExit as end:
        assert not end.code, (step, end.code)
    print("-----", flush=True)
    print("-----", file=sys.stderr, flush=True)
"""


def on_terminal(*commands: str, **environment: str) -> tuple[list[str], list[str]]:
    """Standard output, which is a pipe, and what is drawn on a terminal as standard error, by command."""
    terminal, theirs = pty.openpty()
    drawn = []

    def watch() -> None:
        while True:
            try:
                part = os.read(terminal, 65536)
            except OSError:  # nobody has it open any more
                return
            drawn.append(part)

    kept = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "PY_COLORS")}
    path = os.pathsep.join(filter(None, sys.path))
    process = subprocess.Popen(
        [sys.executable, "-c", COMMANDS, *commands],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**kept, "COLUMNS": "150", "TERM": "xterm", "PYTHONPATH": path, **environment},
        text=True,
    )
    os.close(theirs)
    watcher = threading.Thread(target=watch)
    watcher.start()
    found, _ = process.communicate(timeout=200)
    watcher.join(timeout=10)
    os.close(terminal)
    screen = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", b"".join(drawn).decode())
    assert process.returncode == 0, screen
    return found.split("-----\n")[:-1], screen.replace("\r\n", "\n").split("-----\n")[:-1]


@pytest.mark.slow
def test_a_terminal_shows_what_is_done_and_the_time_left_and_json_alone_is_silent(
    tmp_path: Path, bundle: Path, data: Path, checkpoint_once: Path
) -> None:
    task = f"-b {bundle} -t sst2 --data-dir {data} --set max_length=16"
    small = "--times 0s,1d,1y --workers 1"
    texts = tmp_path / "texts.tsv"
    texts.write_text("sentence\n" + "a good film\n" * 2500)
    commands = {
        "map": f"map {checkpoint_once} {tmp_path / 'new'}",
        "adapt": f"adapt {task} --name new --epochs 120",
        "evaluate": f"evaluate {task} --adapter new --chips 20 {small}",
        "predict": f"predict -b {bundle} -t sst2 --adapter new --file {texts}",
        "json": f"evaluate {task} --adapter new --chips 2 {small} --format json",
        "quiet": f"evaluate {task} --adapter new --chips 2 {small} --format quiet",
    }
    printed, drawn = (dict(zip(commands, parts, strict=True)) for parts in on_terminal(*commands.values()))
    left = r"\d:\d\d:\d\d"
    assert "loading libraries" in drawn["map"]
    assert "loading the model" in drawn["map"]
    assert re.search(rf"training new .* [1-9]\d*/120 {left} loss 0\.\d\d\d", drawn["adapt"])
    assert re.search(
        rf"evaluating sst2 .* \d+/61 {left} chips \d+/20, [01]\.\d\d\d at 1[dy]", drawn["evaluate"]
    )
    assert re.search(rf"predicting .* \d+/40 {left}", drawn["predict"])
    assert printed["predict"].count("\n") == 2500
    assert (drawn["json"], drawn["quiet"]) == ("", "")
    assert printed["json"].startswith("{\n")
    assert printed["json"].endswith("}\n")
    assert printed["quiet"] == ""


def test_a_log_gets_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on build servers, whose logs are no screens
    now = [0.0]
    monkeypatch.setattr(output.time, "monotonic", lambda: now[0])
    with Bar(Format.human) as bar:
        bar.start("waiting", None)
        bar.advance()
        bar.start("working", 100)
        for step in range(100):
            now[0] += 0.125
            bar.advance(1, f"loss {step}")
        bar.start("measuring", 1)
        bar.advance()
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        *(f"working: {step}/100 loss {step - 1}" for step in (17, 34, 51, 68, 85)),
        "working: 100/100 loss 99",
        "measuring: 1/1",
    ]


@pytest.mark.parametrize("form", [Format.json, Format.quiet])
def test_other_formats_say_nothing(capsys: pytest.CaptureFixture[str], form: Format) -> None:
    with Bar(form) as bar:
        bar.start("working", 1)
        bar.advance()
        bar.say("done")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_trackers_of_a_recipe_may_be_named_in_a_list(bundle: Path) -> None:
    trackers = ("--report-to", "tensorboard, wandb", "--report-to", "mlflow")
    ended = call("adapt", "-b", bundle, *trackers, "--dry-run")
    assert '"report_to": [\n      "tensorboard",\n      "wandb",\n      "mlflow"\n    ]' in ended.out
    ended = call("adapt", "-b", bundle, "--report-to", "paper", "--dry-run")
    assert ended.code == 2
    assert "adapt.report_to" in ended.message
    assert "'tensorboard', 'trackio', 'mlflow' or 'wandb'" in ended.message
