"""``aimc-deploy gate``, and what CI reads of every gate: exit code, JUnit XML, step summary, annotations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from command_line import Ended, call
from small_results import around, chips, results
from tiny_deployment import CHANGING, files_of

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import Results, to_json
from aimc_deploy.config.run import Gate


def write(path: Path, measured: Results) -> Path:
    path.write_text(to_json(measured))
    return path


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with results: ``main``, ``same``, ``worse`` and ``better``; it is the current one."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "main.json", results([*around(0.9, time="0s"), *around(0.9, time="1y")]))
    for name, mean, spread in (("same", 0.9, 1.0), ("worse", 0.85, 1.2), ("better", 0.93, 1.2)):
        rows = [*around(0.9, time="0s"), *around(mean, spread, time="1y")]
        write(tmp_path / f"{name}.json", results(rows))
    return tmp_path


@pytest.fixture
def on_github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As in a step of GitHub's; where its summary is."""
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    return summary


def gate(*arguments: str | Path) -> Ended:
    return call("gate", *arguments)


def cases(path: Path) -> list[tuple[str | None, bool]]:
    return [
        (case.get("name"), case.find("failure") is None)
        for case in ElementTree.parse(path).getroot().iter("testcase")
    ]


def test_limits_are_judged_without_measuring(files: Path) -> None:
    before = files_of(files)
    passed = gate("--results", "worse.json", "--min-accuracy", "0.8")
    assert (passed.code, passed.err.count("error")) == (0, 0)
    assert passed.out.count("passed") == 2
    failed = gate("--results", "worse.json", "--max-drop", "8%", "--format", "json")
    assert failed.code == 3
    found = failed.json()
    assert [(part["time"], part["condition"], part["passed"]) for part in found["verdicts"]] == [
        ("0s", "max_drop", True),
        ("1y", "max_drop", False),
    ]
    assert found["comparison"] is None
    assert found["gate_failures"] == [failed.message.removeprefix("error: ")]
    assert gate("--results", "worse.json", "--max-drop", "8%", "--at", "0s").code == 0
    assert files_of(files) == before


def test_a_loss_against_the_baseline_fails(files: Path) -> None:
    asked = ("--baseline", "main.json", "--format", "json")
    ended = {name: gate("--results", f"{name}.json", *asked) for name in ("same", "worse", "better")}
    assert {name: part.code for name, part in ended.items()} == {"same": 0, "worse": 3, "better": 0}
    outcomes = {
        name: {change["time"]: change["outcome"] for change in part.json()["comparison"]["changes"]}
        for name, part in ended.items()
    }
    assert {name: part["1y"] for name, part in outcomes.items()} == {
        "same": "no change",
        "worse": "worse",
        "better": "better",
    }
    assert ended["worse"].message.startswith("error: sst2 at 1y: accuracy was 0.9004 and is 0.85048, 0.0499 ")
    assert gate("--results", "worse.json", "--baseline", "main.json", "--max-loss", "6%").code == 0
    assert gate("--results", "worse.json", "--baseline", "main.json", "--at", "0s").code == 0
    assert gate("--results", "worse.json", "--baseline", "main.json", "--significance", "1e-9").code == 0


def test_the_table_shows_the_worst_first_and_what_else_changed(files: Path) -> None:
    rows = [*around(0.95, 1.2, time="0s"), *around(0.85, 1.2, time="1y"), *around(0.9, time="10y")]
    write(files / "other.json", results(rows, seed=1, settings={"hardware": {"adc": {"bits": 6}}}))
    ended = gate("--results", "other.json", "--baseline", "main.json")
    lines = ended.out.splitlines()
    places = [index for index, line in enumerate(lines) if line.rstrip(" │").endswith(("worse", "better"))]
    assert [lines[place].split()[1:4] for place in places] == [["sst2", "│", "1y"], ["sst2", "│", "0s"]]
    assert "  hardware.adc.bits: not there -> 6" in lines
    assert "  seed: 0 -> 1" in lines
    assert "(Welch's t test)" in ended.out
    assert "note: adapter 'sst2' was evaluated at 10y, and the baseline was not" in ended.err
    missing = gate("--results", "main.json", "--baseline", "other.json")
    assert missing.code == 3
    assert "adapter 'sst2' was not evaluated at 10y, as the baseline was: evaluate it" in missing.message


def test_the_gate_of_the_results_counts_where_none_is_given(files: Path) -> None:
    asked = results([*around(0.9, time="0s"), *around(0.8, time="1y")], gate=Gate(max_drop=0.1))
    write(files / "gated.json", asked)
    assert gate("--results", "gated.json").code == 3
    assert gate("--results", "gated.json", "--at", "0s").code == 0
    assert gate("--results", "gated.json", "--min-accuracy", "0.5").code == 0
    # A baseline is asked for beside it, not in its place.
    both = gate("--results", "gated.json", "--baseline", "gated.json")
    assert (both.code, "max_drop" in both.message, "below the digital" in both.message) == (3, False, True)


def put(path: Path, **named: Results) -> None:
    bundle = Bundle.open(path)
    bundle.put_files({f"results/{name}.json": to_json(part).encode() for name, part in named.items()})


def test_results_of_a_bundle_are_found_by_task_or_name(bundle: Path) -> None:
    asked = ("--bundle", bundle, "--min-accuracy", "0.5", "--format", "json")
    none = gate(*asked)
    assert (none.code, none.message) == (
        2,
        f"error: {bundle} has no results (there: none): measure them with `aimc-deploy evaluate`",
    )
    put(bundle, sst2=results(around(0.9)))
    before = files_of(bundle)
    assert gate(*asked).json()["results"] == "sst2"
    put(bundle, mine=results(around(0.4)))
    assert gate(*asked).message == (
        f"error: {bundle} has the results mine, sst2: choose one with --task or --results"
    )
    assert gate(*asked, "--task", "sst2").code == 0
    assert (gate(*asked, "--results", "mine").code, gate(*asked, "--results", "mine").json()["task"]) == (
        3,
        "sst2",
    )
    assert gate(*asked, "--task", "cola").message == (
        f"error: {bundle} has no results 'cola' (there: mine, sst2): measure them with `aimc-deploy evaluate`"
    )
    after = files_of(bundle)
    assert {name: after[name] for name in before.keys() - CHANGING} == {
        name: content for name, content in before.items() if name not in CHANGING
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "nothing is asked of 'main', and it was evaluated without a gate: give --min-accuracy, "),
        (["--at", "1y"], "nothing is asked of 'main'"),
        (["--min-accuracy", "80"], "'80' is more than all: write 5% or 0.05"),
        (["--max-drop", "little"], "'little' is no share"),
        (["--at", "later", "--max-drop", "1%"], "'later' is no time"),
        (
            ["--at", "5y", "--max-drop", "1%"],
            "the gate looks at 5y, and adapter 'sst2' was evaluated at",
        ),
        (["--baseline", "nowhere.json"], "nowhere.json is missing"),
        (["--baseline", "broken.json"], "broken.json has no schema_version"),
        (["--baseline", "cola.json"], "the baseline is accuracy of task 'cola', the results are accuracy of"),
        (
            ["--baseline", "one.json"],
            "at least 2 chips, and the baseline has 1 for adapter 'sst2' at 0s",
        ),
        (["--baseline", "later.json"], "no adapter and time in common: sst2 at 10y against sst2 at 0s, 1y"),
        (["--baseline", "same.json", "--significance", "1.5"], "'1.5' is no level"),
        (["--baseline", "same.json", "--max-loss", "-1"], "'-1' is no share"),
        (["--baseline", "same.json", "--max-loss", "5"], "'5' is more than all"),
        (["--task", "sst2", "--max-drop", "1%"], "--task and --results both say which results"),
        (["--max-drop", "1%", "--junit", "."], "--junit: . is a folder: name a file"),
        (["--max-drop", "1%", "--junit", "main.json/x.xml"], "--junit: main.json/x.xml cannot be written"),
    ],
)
def test_mistakes(files: Path, arguments: list[str], said: str) -> None:
    write(files / "cola.json", results(around(0.9), task="cola"))
    write(files / "one.json", results([*chips(0.9, time="0s"), *chips(0.9, time="1y")]))
    write(files / "later.json", results(around(0.9, time="10y")))
    (files / "broken.json").write_text("[]")
    ended = gate("--results", "main.json", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in " ".join(ended.err.replace("│", " ").split())
    assert not list(files.glob("*.xml"))


def test_junit_is_written_whether_it_passes_or_not(files: Path) -> None:
    asked = (
        "--baseline",
        "main.json",
        "--min-accuracy",
        "0.88",
        "--junit",
        "made/gate.xml",
        "--format",
        "quiet",
    )
    passed = gate("--results", "same.json", *asked)
    assert (passed.code, passed.out, passed.err) == (0, "", "")
    names = ["sst2 at 0s: min_accuracy", "sst2 at 1y: min_accuracy", "sst2 at 0s", "sst2 at 1y"]
    assert cases(files / "made" / "gate.xml") == [(name, True) for name in names]
    assert gate("--results", "worse.json", *asked).code == 3
    assert dict(cases(files / "made" / "gate.xml")) == {name: "0s" in name for name in names}
    assert [path.name for path in (files / "made").iterdir()] == ["gate.xml"]


def test_a_step_of_github_gets_a_summary_and_annotations(files: Path, on_github: Path) -> None:
    asked = ("--baseline", "main.json", "--min-accuracy", "0.88", "--format", "json")
    assert gate("--results", "same.json", *asked).err == ""
    first = on_github.read_text()
    assert first.startswith("before\n### same\n\n**Passed**: 2 of 2 conditions of the gate hold.\n")
    assert "### same: accuracy against the baseline\n\n**Passed**" in first
    failed = gate("--results", "worse.json", *asked)
    assert failed.code == 3
    added = on_github.read_text().removeprefix(first)
    assert added.startswith("### worse\n\n**Failed**: 1 of 2")
    marks = [line for line in failed.err.splitlines() if line.startswith("::")]
    assert len(marks) == len(failed.json()["gate_failures"]) == 2
    for mark, told in zip(marks, failed.json()["gate_failures"], strict=True):
        assert mark == f"::error title=aimc-deploy gate%3A worse::{told.replace('%', '%25')}"


def test_elsewhere_there_is_neither(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "false")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "")
    before = files_of(files)
    ended = gate("--results", "worse.json", "--baseline", "main.json")
    assert ended.code == 3
    assert "::" not in ended.err
    assert files_of(files) == before


def test_mistakes_are_annotated_too_and_names_are_escaped(files: Path, on_github: Path) -> None:
    ended = gate("--results", "main.json", "--baseline", "no\nwhere%.json")
    assert (ended.code, ended.out) == (2, "")
    assert "::error title=aimc-deploy::no%0Awhere%25.json is missing\n" in ended.err
    assert on_github.read_text() == "before\n"
    shutil.copy("worse.json", "a,b:c.json")
    failed = gate("--results", "a,b:c.json", "--min-accuracy", "1")
    assert "::error title=aimc-deploy gate%3A a%2Cb%3Ac::sst2 at 0s: " in failed.err


def test_a_summary_that_cannot_be_written_changes_no_verdict(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(files / "no" / "where.md"))
    for name, code in (("same", 0), ("worse", 3)):
        ended = gate("--results", f"{name}.json", "--baseline", "main.json")
        assert ended.code == code
        assert "where.md cannot be written: No such file or directory" in ended.err


def measured(bundle: Path, data: Path, *arguments: str | Path) -> Ended:
    few = ("--chips", "2", "--times", "0s", "--workers", "1")
    return call("evaluate", "--bundle", bundle, "--task", "sst2", "--data-dir", data, *few, *arguments)


def test_evaluate_tells_ci_of_its_gate_and_gate_repeats_it(
    bundle: Path, data: Path, on_github: Path, tmp_path: Path
) -> None:
    asked = ("--min-accuracy", "1", "--max-drop", "1", "--junit", tmp_path / "e.xml", "--format", "json")
    ended = measured(bundle, data, *asked)
    assert ended.code == 3
    expected = [("sst2 at 0s: min_accuracy", False), ("sst2 at 0s: max_drop", True)]
    assert cases(tmp_path / "e.xml") == expected
    assert "### sst2\n\n**Failed**: 1 of 2" in on_github.read_text()
    assert ended.err.count("::error title=aimc-deploy gate%3A sst2::") == 1
    again = gate("--bundle", bundle, "--junit", tmp_path / "g.xml", "--format", "json")
    assert (again.code, again.json()["verdicts"]) == (3, ended.json()["verdicts"])
    assert (tmp_path / "g.xml").read_bytes() == (tmp_path / "e.xml").read_bytes()
    itself = bundle / "results" / "sst2.json"
    assert gate("--bundle", bundle, "--max-drop", "1", "--baseline", itself).code == 0


@pytest.mark.parametrize("command", ["evaluate", "run"])
def test_junit_without_a_gate_is_refused_before_anything_is_measured(
    tmp_path: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("r.yaml").write_text("bundle: nowhere\n")
    ended = call(command, *(["r.yaml"] if command == "run" else ["-c", "r.yaml"]), "--junit", "gate.xml")
    assert ended.code == 2
    assert ended.message.startswith(
        "error: --junit writes the verdicts of a gate, and none is asked for: give"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.yaml"]


RECIPE: dict[str, Any] = {
    "task": "sst2",
    "max_length": 16,
    "adapt": {"epochs": 1},
    "executor": {"kind": "local", "workers": 1},
    "evaluate": {"chips": 2, "times": ["0s"], "gate": {"min_accuracy": 1.0}},
}


def test_run_and_several_tasks_tell_ci_too(
    tmp_path: Path, checkpoint_once: Path, data: Path, on_github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = {"bundle": "b", "source": {"path": str(checkpoint_once)}, "data_dir": str(data)}
    Path("r.yaml").write_text(json.dumps({**RECIPE, **source}))
    for time in range(2):  # what is kept is judged as what is measured
        ended = call("run", "r.yaml", "--junit", "run.xml", "--format", "json")
        assert ended.code == 3, ended.err
        assert cases(Path("run.xml")) == [("sst2 at 0s: min_accuracy", False)]
        assert on_github.read_text().count("**Failed**: 0 of 1") == time + 1
        assert ended.err.count("::error title=aimc-deploy gate%3A sst2::sst2 at 0s") == 1
        assert len(ended.json()["gate_failures"]) == 1
    few = ("--chips", "2", "--times", "0s", "--workers", "1", "--min-accuracy", "0")
    ended = call(
        *("evaluate", "-b", "b", "--task", "all", "--data-dir", data, *few, "--junit", "all.xml"),
        *("--set", "max_length=16", "--hardware", "pcm"),
    )
    assert ended.code == 0, ended.err
    assert cases(Path("all.xml")) == [("sst2 at 0s: min_accuracy", True)]
