"""Races: two processes write one bundle while a third reads it."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from small_bundle import write_adapter

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import AimcError
from campaigns import target
from campaigns.cases import Case, Tally, chosen, run

RACES = 100
STEPS = ("new", "overwrite", "same adapter", "other adapters", "overwrite while an adapter is put")


def campaign(folder: Path, size: int | None, seed: int, only: str | None) -> Tally:
    """``RACES`` of them, in each kind of turn."""
    tally = Tally("writers", seed)
    seen: Counter[str] = Counter()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    pipes, workers = [], []
    for _ in range(2):
        here, there = context.Pipe()
        workers.append(context.Process(target=serve, args=(there,), daemon=True))
        workers[-1].start()
        pipes.append(here)
    try:
        for pipe in pipes:  # both have imported what they need
            assert pipe.recv() == "ready"
        cases = [
            Case(step, f"race {at}: {step}", partial(race, folder / str(at), step, at, pipes, seen))
            for at in range(RACES)
            for step in (STEPS[at % len(STEPS)],)
        ]
        run(tally, chosen(cases, size, seed, only))
    finally:
        for pipe, worker in zip(pipes, workers, strict=True):
            pipe.send(None)
            worker.join()
    tally.figures = dict(sorted(seen.items()))
    return tally


def serve(pipe: Connection) -> None:
    """Write what is asked for; say whether it was refused, and with what."""
    pipe.send("ready")
    while (asked := pipe.recv()) is not None:
        step, path, version, start = asked
        while time.time() < start:
            pass
        try:
            write(step, Path(path), version)
        except AimcError as error:
            pipe.send(("refused", str(error)))
        except Exception as error:
            pipe.send(("failed", f"{type(error).__name__}: {error}"))
        else:
            pipe.send(("done", ""))


def write(step: str, path: Path, version: int) -> None:
    """One writer's part of a race."""
    if step == "new":
        target.create(path, version)
    elif _writes_base(step, version):
        target.create(path, version, overwrite=True)
    else:
        name = "one" if step != "other adapters" else f"v{version}"
        Bundle.open(path).put(f"adapters/{name}", write_adapter(version))


def _writes_base(step: str, version: int) -> bool:
    """Whether a writer replaces all of the bundle."""
    return step in ("new", "overwrite") or (step == STEPS[4] and version % 2 == 1)


def race(path: Path, step: str, at: int, pipes: list[Connection], seen: Counter[str]) -> str | None:
    """What is wrong with the outcome of one race."""
    path.mkdir()
    path, old, versions = path / "bundle", 1, (2 * at + 10, 2 * at + 11)
    if step != "new":
        target.complete(path, old)
    start = time.time() + 0.02
    for pipe, version in zip(pipes, versions, strict=True):
        pipe.send((step, str(path), version, start))
    answers: dict[int, tuple[str, str]] = {}
    reads = 0
    while len(answers) < 2:
        for writer, pipe in enumerate(pipes):
            if writer not in answers and pipe.poll():
                answers[writer] = pipe.recv()
        wrong = mixed(path, step, old, versions, seen)
        reads += 1
        if wrong is not None:
            for writer, pipe in enumerate(pipes):
                if writer not in answers:
                    pipe.recv()
            return f"a reader saw {wrong}"
    seen["reads during writes"] += reads
    outcomes = sorted(answer for answer, _ in answers.values())
    seen[f"{step}: {' and '.join(outcomes)}"] += 1
    if "failed" in outcomes:
        return f"a writer ended otherwise than by a refusal: {answers}"
    if "done" not in outcomes:
        return f"nobody won: {answers}"
    if step == "new" and outcomes != ["done", "refused"]:
        return f"one was to win: {answers}"
    if step in ("same adapter", "other adapters") and outcomes != ["done", "done"]:
        return f"both were to be written: {answers}"
    if (problems := Bundle.open(path).verify()) != []:
        return f"the bundle is damaged: {problems}"
    done = {versions[writer] for writer, (answer, _) in answers.items() if answer == "done"}
    if (lost := missing(Bundle.open(path), step, old, done)) is not None:
        return f"of {answers}, {lost}"
    Bundle.open(path).put_files({"README.md": b"after"})  # which sweeps what was left
    left = [
        name for name in [*os.listdir(path), *os.listdir(path.parent)] if name.startswith((".tmp", ".bundle"))
    ]
    return f"left behind: {left}" if left else None


def missing(bundle: Bundle, step: str, old: int, done: set[int]) -> str | None:
    """What is not there although its writer says that it is done; None if all is."""
    found = {name: bundle.read_json(f"adapters/{name}/adapter.json")["version"] for name in bundle.adapters()}
    bases = {version for version in done if _writes_base(step, version)}
    if bundle.manifest.seed not in (bases or {old}):
        return f"the base is of {bundle.manifest.seed}"
    kept = {} if step == "new" or bases else {"one": {old}, "two": {old + 1}}
    if step == "same adapter":
        kept["one"] = done
    elif step == "other adapters":
        kept |= {f"v{version}": {version} for version in done}
    elif not bases:
        kept["one"] = done
    elif found.keys() == {"one"}:  # it was put after the overwrite, else it was overwritten with the rest
        kept["one"] = done - bases
    if found.keys() != kept.keys() or any(found[name] not in of for name, of in kept.items()):
        return f"the adapters are {found}"
    return None


def mixed(path: Path, step: str, old: int, versions: tuple[int, int], seen: Counter[str]) -> str | None:
    """What a reader saw that is neither the old nor a new state; None if it saw one of them."""
    try:
        bundle = Bundle.open(path)
        version = bundle.read_json("config.json")["version"]
        if version != bundle.manifest.seed or version not in (old, *versions):
            return f"base {version} with the manifest of {bundle.manifest.seed}"
        for name in bundle.adapters():
            told = bundle.read_json(f"adapters/{name}/adapter.json")["version"]
            weights = bundle.read_tensors(f"adapters/{name}/adapter_model.safetensors")["lora_A"]
            if float(weights[0, 0]) != told or told not in (old, old + 1, *versions):
                return f"weights {float(weights[0, 0])} in adapter {told}"
    except AimcError as error:
        if step == "new" and "is no bundle" in str(error):
            return None
        # What was replaced after it was opened is refused by its SHA-256, and never mixed with the rest.
        if "was changed" not in str(error) and "is missing" not in str(error):
            return str(error)
        seen["reads that were refused, because the bundle was replaced under them"] += 1
    return None
