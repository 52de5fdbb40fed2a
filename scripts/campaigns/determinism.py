"""The same command in fresh processes, in which everything is another that is nobody's business: equal files.

Hash seed, locale, time zone, permissions of new files, folder, home, order in which folders are listed,
width of the terminal, and the number of threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random

from shell import write_recipe
from tiny_deployment import files_of, recipe, write_checkpoint, write_task

from campaigns.cases import Case, Tally, run

PROCESSES = 20
"""Of each command."""

PATIENCE_S = 900
CHANGING = ("created", "manifest_sha256")
"""Of a manifest: when it was made, and what follows from that."""

THREADS = (1, 2, 3, 4)
LOCALES = ("C.UTF-8", "C", "POSIX", "de_DE.UTF-8", "tr_TR.UTF-8", "ja_JP.UTF-8", "nowhere")
ZONES = ("UTC0", "XXX-5:45", "XXX+9:30", "XXX-14", "Europe/Berlin", ":nowhere")
MASKS = (0o022, 0o077, 0o002, 0o027, 0o000)
PLAIN = {"PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC0", "OMP_NUM_THREADS": "1"}
ADAPT = {"epochs": 1.0, "batch_size": 24, "learning_rate": 1.0e-2, "checkpoint_steps": 2}
IN_JSON = ("--format", "json")
BUNDLE = ("--bundle", "bundle")


@dataclass(frozen=True)
class Process:
    """What is given in one process.

    Attributes:
        commands: by the file that standard output goes to.
        deployed: it begins with a bundle that was deployed before.
        kinds: what it counts as, each with the beginnings of the names that are its own.
    """

    commands: Mapping[str, tuple[str, ...]]
    deployed: bool
    kinds: Mapping[str, tuple[str, ...]]


PROCESS_KINDS = {
    "run": Process(
        {"run.json": ("run", "inputs/deploy.yaml", *BUNDLE, *IN_JSON)},
        False,
        {
            "map": ("bundle/",),
            "adapt": ("bundle/adapters/",),
            "evaluate": ("bundle/results/",),
            "report": ("bundle/report/", "bundle/manifest.json", "bundle/README.md", "run.json"),
        },
    ),
    "sweep": Process(
        {"sweep.json": ("sweep", "inputs/sweep.yaml", "--out", "sweep", *IN_JSON)}, False, {"sweep": ("",)}
    ),
    "train-in-memory": Process(
        {
            "trained.json": (
                *("train-in-memory", "--config", "inputs/deploy.yaml", *BUNDLE, "--epochs", "1"),
                *("--algorithm", "residual", *IN_JSON),
            )
        },
        True,
        {"train-in-memory": ("",)},
    ),
    "study": Process(
        {
            "study.json": (
                *("train-in-memory", "--study", "gamma", "--epochs", "1", "--seeds", "1", "--out", "study"),
                *IN_JSON,
            )
        },
        False,
        {"train-in-memory --study gamma": ("",)},
    ),
    "asked": Process(
        {
            "predicted.json": (
                *("predict", "--config", "inputs/deploy.yaml", *BUNDLE, "--at", "1y"),
                *("--file", "inputs/SST-2/dev.tsv", *IN_JSON),
            ),
            "inspected.json": ("inspect", *BUNDLE, *IN_JSON),
            "verified.json": ("verify", *BUNDLE, *IN_JSON),
            "reckoned.json": ("cost", *BUNDLE, "--hardware", "ahwa-lora-256", *IN_JSON),
            "shown.json": ("config", "show", "--config", "inputs/deploy.yaml", *IN_JSON),
        },
        True,
        {
            "predict": ("predicted",),
            "inspect": ("inspected",),
            "verify": ("verified",),
            "cost": ("reckoned",),
            "config show": ("shown",),
        },
    ),
}


def campaign(folder: Path, size: int | None, seed: int, only: str | None, workers: int = 1) -> Tally:
    """``size`` processes in all, the same number of each kind, and one of each to compare them with."""
    tally = Tally("determinism", seed)
    count = PROCESSES if size is None else max(1, size // len(PROCESS_KINDS))
    bench = Bench(folder, seed)
    cases = [case for case in bench.cases(count) if only in (None, case.label)]
    with ThreadPoolExecutor(workers) as pool:
        if only is None:
            for number in range(-1, count):
                for name in PROCESS_KINDS:
                    bench.start(pool, name, number)
        tally = run(tally, cases)
        pool.shutdown(cancel_futures=True)
    if only is None and "not run" not in tally.figures:
        tally.figures |= bench.figures(count)
    return tally


class Bench:
    """The inputs of all processes, and what each has written."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.inputs = folder / "inputs"
        self.found: dict[tuple[str, int], Future[dict[str, str]]] = {}
        self._write_inputs()
        self.deployed = folder / "deployed"
        done = self._give("run", folder / "first", PLAIN, MASKS[0], "first")
        if "run.json" not in done:
            raise RuntimeError(f"aimc-deploy run fails: {done}")
        self.found["run", -1] = Future()
        self.found["run", -1].set_result(done)
        shutil.copytree(folder / "first" / "bundle", self.deployed)

    def _write_inputs(self) -> None:
        checkpoint = write_checkpoint(self.inputs / "tiny")
        data = write_task(self.inputs / "SST-2")
        config = recipe(Path("bundle"), checkpoint, data, adapt=ADAPT)
        source = config.source.model_copy(update={"path": "inputs/tiny"})
        config = config.model_copy(update={"source": source, "data_dir": "inputs/SST-2"})
        write_recipe(self.inputs / "deploy.yaml", config)
        sweep = {"recipe": "deploy.yaml", "points": [{"seed": 0}, {"seed": 1}], "set": {"evaluate.chips": 1}}
        (self.inputs / "sweep.yaml").write_text(json.dumps(sweep))

    def cases(self, count: int) -> Iterator[Case]:
        for number in range(count):  # after Ctrl-C, all kinds have been run as often
            for name, process in PROCESS_KINDS.items():
                for kind in process.kinds:
                    label = f"{kind}, process {number}"
                    yield Case(kind, label, partial(self._compared, name, kind, number))

    def start(self, pool: ThreadPoolExecutor, name: str, number: int) -> None:
        """Give a command in a process of its own, when there is one to spare."""
        if (name, number) not in self.found:
            self.found[name, number] = pool.submit(self._process, name, number)

    def told(self, name: str, number: int) -> dict[str, str]:
        """The hash of every file that a process has written, by name."""
        if (name, number) not in self.found:
            self.found[name, number] = future = Future()
            future.set_result(self._process(name, number))
        return self.found[name, number].result()

    def _compared(self, name: str, kind: str, number: int) -> str | None:
        """What a process gave that is another than in the one in which nothing is out of the ordinary."""
        mine, plain = self._of(name, kind, number), self._of(name, kind, -1)
        if not plain or not mine:
            return f"it wrote nothing: {self.told(name, number if plain else -1)}"
        differing = sorted(file for file in mine.keys() | plain.keys() if mine.get(file) != plain.get(file))
        if differing:
            return f"other bytes: {', '.join(differing)}; with {self._environment(name, number)}"
        return None

    def _of(self, name: str, kind: str, number: int) -> dict[str, str]:
        """The part of what a process gave that counts as this kind: the longest beginning decides."""
        kinds = PROCESS_KINDS[name].kinds
        found = {}
        for file, digest in self.told(name, number).items():
            fits = [
                (len(begin), own)
                for own, begins in kinds.items()
                for begin in begins
                if file.startswith(begin)
            ]
            if fits and max(fits)[1] == kind:
                found[file] = digest
        return found

    def _process(self, name: str, number: int) -> dict[str, str]:
        draw = Random(f"{self.seed} {name} {number}")
        mask = MASKS[0] if number < 0 else draw.choice(MASKS)
        place = self.folder.joinpath(*["a b", "c", "d"][: draw.randrange(4)], f"{name}-{number}")
        found = self._give(name, place, self._environment(name, number), mask, str(number))
        shutil.rmtree(place)
        return found

    def _environment(self, name: str, number: int) -> dict[str, str]:
        """What is another in each process; the same for the same seed."""
        if number < 0:
            return PLAIN
        draw = Random(f"{self.seed} {name} {number} environment")
        threads = str(THREADS[number % len(THREADS)])
        return {
            "PYTHONHASHSEED": str(draw.randrange(2**32)),
            "LC_ALL": draw.choice(LOCALES),
            "PYTHONCOERCECLOCALE": draw.choice("01"),
            "PYTHONUTF8": draw.choice("01"),
            "TZ": draw.choice(ZONES),
            "COLUMNS": draw.choice(("40", "80", "200")),
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
        }

    def _give(self, name: str, place: Path, varied: dict[str, str], mask: int, seed: str) -> dict[str, str]:
        """Give commands in a process of their own, in a folder of its own."""
        process = PROCESS_KINDS[name]
        self._lay_out(self.inputs, place / "inputs", seed)
        if process.deployed:
            self._lay_out(self.deployed, place / "bundle", seed)
        home = place / "home"
        home.mkdir()
        environment = {key: value for key, value in os.environ.items() if key not in ("LANG", "PYTHONPATH")}
        environment |= {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home / "cache")}
        environment |= {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **varied}
        command = [sys.executable, "-m", "campaigns.disordered", seed, json.dumps(process.commands)]
        ended = subprocess.run(
            command, cwd=place, env=environment, umask=mask, capture_output=True, timeout=PATIENCE_S
        )
        if ended.returncode != 0:
            said = ended.stderr.decode(errors="replace")[-2000:]
            return {f"exit code {ended.returncode} with {varied}: {said}": ""}
        inputs = files_of(place / "inputs").keys()
        if inputs != files_of(self.inputs).keys():
            return {f"it wrote among its inputs: {inputs}": ""}
        return {
            file: hashlib.sha256(_lasting(file, data)).hexdigest()
            for file, data in files_of(place).items()
            if not file.startswith(("inputs/", "home/"))
        }

    def _lay_out(self, source: Path, target: Path, seed: str) -> None:
        """A copy whose files are made in an order of their own, which some file systems list them in."""
        files = sorted(path for path in source.rglob("*") if path.is_file())
        for path in Random(seed).sample(files, len(files)):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)

    def figures(self, count: int) -> dict[str, object]:
        """What was run and compared."""
        files = sum(len(self._of(name, kind, -1)) for name, of in PROCESS_KINDS.items() for kind in of.kinds)
        return {
            "processes": (count + 1) * len(PROCESS_KINDS),
            "files and answers that are compared, of one process of each": files,
            "threads": ", ".join(map(str, sorted({THREADS[at % len(THREADS)] for at in range(count)}))),
        }


def _lasting(name: str, data: bytes) -> bytes:
    """A file without what tells the time."""
    if not name.endswith("manifest.json"):
        return data
    content = json.loads(data)
    return json.dumps({key: content[key] for key in content if key not in CHANGING}, sort_keys=True).encode()
