"""A short version of each campaign of docs/reliability.md, and that one notices what it is there for."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from aimc_deploy.artifact import bundle as artifact
from aimc_deploy.errors import ArtifactError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def campaign(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a campaign by its name."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    yield lambda name: importlib.import_module(f"campaigns.{name}").campaign
    for name in [name for name in sys.modules if name.partition(".")[0] == "campaigns"]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("name", "size"), [("corruption", 400), ("writers", 5), ("disk", 60), ("poison", 24)]
)
def test_a_sample_of_a_campaign_passes(
    tmp_path: Path, campaign: Callable[[str], Any], name: str, size: int
) -> None:
    tally = campaign(name)(tmp_path, size, 1, None)
    assert tally.failures == []
    assert tally.size == size


def in_a_process_of_its_own(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the campaigns on its path: a hook that listens to the interpreter stays."""
    folders = os.pathsep.join([str(ROOT / "scripts"), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": folders, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder)}
    return subprocess.run(
        [sys.executable, *command], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240
    )


def test_hostile_files_are_refused_and_the_result_is_written(tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    ended = in_a_process_of_its_own(tmp_path, "-m", "campaigns", "hostile", "--size", "90", "--out", str(out))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("hostile: 90 of 90 cases passed")
    result = json.loads(out.read_text())
    assert (result["size"], result["passed"], result["failures"]) == (90, 90, [])


KILLS = """
import json, sys
from pathlib import Path
from aimc_deploy.artifact import bundle
from aimc_deploy.workflows.finished import Finished
from campaigns import cases, kill

kill.COMMANDS = ("map", "adapt", "evaluate")
tally = cases.Tally("kill", 1, figures={kill.FINISHED: 0})
bench = kill.Bench(Path(sys.argv[1]), tally)
cases.run(tally, cases.chosen(list(bench.cases()), 8, 1, None))
read, sweep_beside = Finished.read, bundle.sweep_beside

def otherwise(self, job):
    found = read(self, job)
    return found and [part.model_copy(update={"metrics": {"accuracy": 0.0}}) for part in found]

sound = [bench._at_call("evaluate", 14), bench._at_call("map", 8)]
Finished.read = otherwise
rows = bench._at_call("evaluate", 14)
bundle.sweep_beside = lambda path: None
left = bench._at_call("map", 8)
print(json.dumps([tally.size, tally.failures, sound, rows, left]))
"""


def test_a_killed_command_given_again_ends_as_if_it_had_not_been_and_else_is_noticed(tmp_path: Path) -> None:
    ended = in_a_process_of_its_own(tmp_path, "-c", KILLS, str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    size, failures, sound, rows, left = json.loads(ended.stdout)
    assert (size, failures, sound) == (8, [], [None, None])
    # It goes on from the first job's file, which was whole when the second one's was half written.
    assert rows.startswith("given again, it gave other bytes: bundle/")
    assert left.startswith("given again, it left behind: .bundle")


BLIND = """
import json, sys
from pathlib import Path
from aimc_deploy.artifact import journal, manifest
from campaigns import hostile, hostile_files

def failed(name, case):
    (Path(sys.argv[1]) / name).mkdir()
    (failure,) = hostile.campaign(Path(sys.argv[1]) / name, None, 0, case).failures
    return failure["why"].strip().splitlines()[-1]

found = {}
is_file_name, is_temporary, use = manifest.is_file_name, journal.is_temporary, hostile.target.use
manifest.is_file_name = lambda name: True
found["name"] = failed("1", "name in the manifest: '../../outside/secret.json'")
manifest.is_file_name = is_file_name
journal.is_temporary = lambda name, *prefix: name.startswith("..") or is_temporary(name, *prefix)
found["journal"] = failed("2", "journal: leads out")
journal.is_temporary = is_temporary

def careless(path):
    if path.name == "bundle":
        (path.parent.parent / "outside" / "secret.json").read_bytes()
    return use(path)

hostile.target.use = careless
found["opened"] = failed("3", "name in the manifest: '../../outside/secret.json'")

def run_it(path):
    if path.name == "bundle":
        hostile_files.CANARY.mkdir()
    return use(path)

hostile.target.use = run_it
found["run"] = failed("4", "JSON: tile_map.json: NaN")
found["left"] = hostile_files.CANARY.exists()
print(json.dumps(found))
"""


def test_what_a_product_that_looks_away_would_let_pass_is_noticed(tmp_path: Path) -> None:
    ended = in_a_process_of_its_own(tmp_path, "-c", BLIND, str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(ended.stdout)
    assert "not with 'is no file name of a bundle'" in found["name"]
    assert found["journal"] == "it changed what is outside of the bundle"
    assert found["opened"].startswith("open '")
    assert "outside/secret.json" in found["opened"]
    assert found["run"] == "code was run"
    assert not found["left"]


def test_what_is_not_noticed_is_told_with_how_to_see_it_again(
    tmp_path: Path, campaign: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = campaign("corruption")
    case = "tile_map.json bit 100"
    sound = run(tmp_path / "sound", None, 0, case)
    assert sound.failures == []
    assert sound.figures["given to `verify`"] == 1
    digests = {
        name: entry.sha256
        for name, entry in artifact.Bundle.open(tmp_path / "sound" / "sound").manifest.files.items()
    }
    monkeypatch.setattr(
        artifact, "sha256", lambda stream, where: digests["/".join(where.parts[len(tmp_path.parts) + 2 :])]
    )
    (failure,) = run(tmp_path / "blind", None, 0, case).failures
    assert failure["case"] == case
    assert failure["reproduce"] == f"scripts/campaign corruption --seed 0 --only '{case}'"


def test_whatever_is_read_bears_documents_that_are_almost_sound(tmp_path: Path) -> None:
    out = tmp_path / "a.json"
    command = (
        "-m",
        "campaigns",
        "fuzz",
        "--size",
        "1500",
        "--seed",
        "7",
        "--workers",
        "2",
        "--out",
        str(out),
    )
    ended = in_a_process_of_its_own(tmp_path, *command)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    result = json.loads(out.read_text())
    assert (result["size"], result["passed"], result["failures"]) == (1500, 1500, [])
    parsers = result["figures"]["parsers"]
    assert sum(of["executions"] for of in parsers.values()) == 1500
    assert all(of["refused"] for of in parsers.values())
    assert sum(of["taken"] for of in parsers.values()) > 150


FUZZED = """
import json, os, signal, sys
from pathlib import Path
from campaigns import fuzz, fuzz_bench
from campaigns.parser import Parser, as_json
from aimc_deploy.errors import ArtifactError

def sort(path):
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise ArtifactError(f"{path} is none") from None
    if not isinstance(content, dict):
        raise ArtifactError("it is none")
    return content

def key(path):
    sort(path)["a"]

def hang(path):
    while "a" not in sort(path):
        pass

def die(path):
    if "a" not in sort(path):
        os.kill(os.getpid(), signal.SIGSEGV)

def grow(path):
    if "a" not in sort(path):
        bytearray(b"x") * (300 << 20)

def burst(path):
    if "a" not in sort(path):
        bytes(4 << 30)

class Room:
    @staticmethod
    def parsers():
        for use in (key, hang, die, grow, burst):
            yield Parser(use.__name__, 1, "x.json", ({"a": 1, "b": [2, 3]},), as_json, use, raw=0.0)

fuzz.ROOMS, fuzz_bench.PATIENCE_S = (Room,), 0.2
def short(failure):
    name, kind = failure["case"].split()[0], failure["kind"].split(" at ")[0]
    return [name, kind, failure["case"], failure["times"], failure["document"]]

def fuzzed(only=None, workers=1):
    return fuzz.campaign(Path(sys.argv[1]), 60, 9, only, workers)

one, three = (fuzzed(workers=workers).failures for workers in (1, 3))
(case,) = (failure["case"] for failure in one if short(failure)[:2] == ["key", "KeyError"])
again, none = fuzzed(case), fuzzed("key x")
found = [[short(failure) for failure in of] for of in (one, three, again.failures)]
print(json.dumps([*found, again.size, none.size]))
"""


def test_what_a_reader_must_not_do_is_noticed_whatever_the_number_of_processes(tmp_path: Path) -> None:
    ended = in_a_process_of_its_own(tmp_path, "-c", FUZZED, str(tmp_path))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    one, three, again, size, none = json.loads(ended.stdout)
    kinds = {(name, kind) for name, kind, *_ in one}
    assert {
        ("key", "KeyError"),
        ("hang", "Hang"),
        ("die", "ended with -11"),
        ("burst", "MemoryError"),
    } <= kinds
    assert ("grow", "memory") in kinds
    assert ("key", "Unsound") in kinds, "a refusal that names no file"
    # Memory that a process once had it keeps, so which document is told for it depends on what ran before.
    assert [of for of in one if of[1] != "memory"] == [of for of in three if of[1] != "memory"]
    (document,) = (document for name, kind, _, _, document in one if (name, kind) == ("key", "KeyError"))
    assert len(document) < 20, "what made no difference is left out"
    assert ([kind for _, kind, *_ in again], size, none) == (["KeyError"], 1, 0)


def test_a_command_gives_the_same_in_a_process_where_all_else_is_another(
    tmp_path: Path, campaign: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = campaign("determinism")
    determinism = sys.modules["campaigns.determinism"]
    monkeypatch.setattr(determinism, "PROCESS_KINDS", {"run": determinism.PROCESS_KINDS["run"]})
    tally = run(tmp_path, 1, 4, None)
    assert tally.failures == []
    assert tally.kinds == {"map": 1, "adapt": 1, "evaluate": 1, "report": 1}


def test_a_file_that_is_another_elsewhere_is_noticed(
    tmp_path: Path, campaign: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = campaign("determinism")
    bench = sys.modules["campaigns.determinism"].Bench

    def told(
        self: Any, name: str, place: Path, varied: dict[str, str], mask: int, seed: str
    ) -> dict[str, str]:
        (place / "bundle").mkdir(parents=True)
        zone = varied["TZ"] if name == "run" else ""
        return {"run.json": "1", "bundle/tiles.safetensors": "2", "bundle/results/a.json": zone}

    monkeypatch.setattr(bench, "_write_inputs", lambda self: None)
    monkeypatch.setattr(bench, "_give", told)
    tally = run(tmp_path, 15, 0, None)
    failed = {failure["case"].partition(",")[0] for failure in tally.failures}
    assert "evaluate" in failed
    assert not failed & {"map", "sweep"}
    assert any("it wrote nothing" in failure["why"] for failure in tally.failures)
    (failure,) = run(tmp_path / "again", 15, 0, tally.failures[0]["case"]).failures
    assert failure["why"] == tally.failures[0]["why"]


@pytest.mark.usefixtures("campaign")
def test_the_page_is_what_the_results_say() -> None:
    page = importlib.import_module("campaigns.page").page
    assert (ROOT / "docs" / "reliability.md").read_text() == page(ROOT / "docs" / "reliability")


@pytest.mark.parametrize(
    ("method", "only"),
    [
        ("create", "create, ENOSPC from call 3 on"),
        ("create", "overwrite, EIO from call 9 on"),
        ("put_files", "put_files, EROFS from call 3 on"),
    ],
)
def test_a_step_that_tells_of_no_error_of_the_disk_is_noticed(
    tmp_path: Path, campaign: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, method: str, only: str
) -> None:
    run = campaign("disk")
    assert run(tmp_path / "sound", None, 0, only).failures == []
    step = getattr(artifact.Bundle, method)

    def swallow(*args: Any, **kwargs: Any) -> Any:
        with contextlib.suppress(ArtifactError):
            return step(*args, **kwargs)

    monkeypatch.setattr(artifact.Bundle, method, swallow)
    (failure,) = run(tmp_path / "blind", None, 0, only).failures
    assert "it ended with success, and is not as it was to be" in failure["why"]


def test_a_step_that_writes_nothing_is_noticed(
    tmp_path: Path, campaign: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, name = campaign("disk"), "results/sst2.json"
    put_files = artifact.Bundle.put_files

    def put_the_old(bundle: artifact.Bundle, files: dict[str, bytes]) -> None:
        there = name in bundle.manifest.files
        put_files(bundle, {name: bundle.file(name).read_bytes()} if there else files)

    monkeypatch.setattr(artifact.Bundle, "put_files", put_the_old)
    (failure,) = run(tmp_path, None, 0, "put_files, ENOSPC from call 3 on").failures
    assert failure["why"] == "it changes nothing, whatever the disk does"


class Writer:
    """Stands for the pipe of a writer that says that it is done; it is, unless it is blind."""

    def __init__(self, write: Callable[[str, Path, int], None] | None) -> None:
        self.write = write

    def send(self, asked: tuple[str, str, int, float]) -> None:
        step, path, version, _ = asked
        if self.write is not None:
            self.write(step, Path(path), version)

    def poll(self) -> bool:
        return True

    def recv(self) -> tuple[str, str]:
        return "done", ""


@pytest.mark.usefixtures("campaign")
@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_write_that_is_lost_is_noticed(tmp_path: Path, at: int) -> None:
    writers = importlib.import_module("campaigns.writers")
    step, sound, blind = writers.STEPS[at], Writer(writers.write), Writer(None)
    assert writers.race(tmp_path / "sound", step, at, [sound, sound], Counter()) is None
    assert "of {0: ('done', '')" in writers.race(tmp_path / "none", step, at, [blind, blind], Counter())
    if step not in ("overwrite", "same adapter"):  # there one of both may be the last
        assert "of {0: ('done', '')" in writers.race(tmp_path / "one", step, at, [sound, blind], Counter())


@pytest.mark.usefixtures("campaign")
def test_a_label_is_one_word_of_the_command_that_repeats_it() -> None:
    cases = importlib.import_module("campaigns.cases")
    label = "name: '../a b.json' \"$HOME\""
    tally = cases.run(cases.Tally("hostile", 3), [cases.Case("name", label, lambda: "why")])
    command = shlex.split(tally.failures[0]["reproduce"])
    assert command == ["scripts/campaign", "hostile", "--seed", "3", "--only", label]
