"""Measure what docs/reliability.md says of device faults.

    python scripts/faults.py mini
    python scripts/faults.py minilm --set source.path=MINILM_FOLDER --data-dir glue --device cuda --workers 12
    scripts/campaign page

The model is mapped and its adapters are trained in the folder ``runs``, if they are not there. Then every
cell of scripts/faults_plan.py is measured, the most important ones first, into
docs/reliability/faults-NAME.json. What is finished is kept, so it can be stopped and called again at any
time.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import faults_plan
from faults_plan import Cell, Results, Row
from results import Lines

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import MANIFEST
from aimc_deploy.config.executor import Local
from aimc_deploy.config.load import load_run
from aimc_deploy.config.run import Run
from aimc_deploy.errors import AimcError, ArtifactError
from aimc_deploy.tasks.data import load_data
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import adapt, env, executors, map

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "reliability"
RECIPES = {"mini": "reviews.yaml", "minilm": "sst2.yaml"}
EVERY_S = 10.0
"""Seconds after which what is measured is written again."""


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("name", choices=RECIPES, help="of the model on the page")
    parser.add_argument("--data-dir", type=Path, help="folder with SST-2; the hub if left out")
    parser.add_argument("--work", type=Path, default=ROOT / "runs", help="folder for the bundle [runs]")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the results [docs/reliability]")
    parser.add_argument("--device", default="auto", help="as in aimc-deploy [auto]")
    parser.add_argument("--workers", type=int, help="processes [one a processor; one where a GPU is]")
    parser.add_argument("--adapter", help="one of the bundle [it is trained on chips without faults]")
    parser.add_argument("--only", nargs="+", choices=faults_plan.UNITS, help="faults of these units alone")
    parser.add_argument("--treatments", nargs="+", choices=faults_plan.TREATMENTS, help="these alone")
    parser.add_argument("--rates", nargs="+", type=float, help="these alone, and no faults")
    parser.add_argument("--samples", type=int, help="of dev, drawn by the seed [all]")
    parser.add_argument("--chips", type=int, default=faults_plan.CHIPS, help="of each cell [10]")
    parser.add_argument("--set", action="append", default=[], help="a key of the recipe, as in aimc-deploy")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # what is measured is written
    try:
        measure(arguments)
    except AimcError as error:
        sys.exit(f"error: {error}")


def measure(arguments: argparse.Namespace) -> None:
    """All that is asked for of one model, leaving out what is finished."""
    config = _config(arguments)
    adapter = arguments.adapter or _prepare(config)
    path = arguments.out / f"faults-{arguments.name}.json"
    job = importlib.import_module("faults_job")
    shared = {"config": config.model_dump_json(), "adapter": adapter, "samples": arguments.samples}
    executor = executors.placed(Local(workers=arguments.workers), config.device)
    request = _request(config, adapter, arguments.samples)
    results = _begun(path, request)
    if results is None:
        digital = job.measure(job.Job(**shared, cell=None))
        results = _begin(path, config, request, arguments.samples, digital)
    there = results.cells()
    asked = [cell for cell in _asked(arguments) if cell not in there]
    print(f"{len(asked)} cells to measure, {len(there)} are there", file=sys.stderr, flush=True)
    done = executors.run_all(
        executor,
        job.measure,
        [job.Job(**shared, cell=cell) for cell in asked],
        name=lambda one: str(one.cell),
        preload=("faults_job",),
    )
    _gather(path, results, (rows for _, rows in done), len(asked))


def _config(arguments: argparse.Namespace) -> Run:
    """The recipe of the model on measured noise."""
    data = [f"data_dir={arguments.data_dir}"] if arguments.data_dir else []
    changes = [
        f"bundle={arguments.work / arguments.name}-faults",
        f"device={arguments.device}",
        *data,
        *arguments.set,
    ]
    recipe = ROOT / "configs" / RECIPES[arguments.name]
    return load_run(recipe, ["hardware.preset=pcm", *changes])


def _prepare(config: Run) -> str:
    """Map the model and train its adapters, if need be; the name of the one that is measured.

    It has met chips without faults, and goes on from one that knows no hardware.
    """
    if not (Path(config.bundle) / MANIFEST).exists():
        map.run(config, Path(config.bundle), progress=Lines())
    digital = config.adapt.model_copy(update={"hardware_aware": False, "start_from": None})
    adapt.run(config.model_copy(update={"adapt": digital}), resume=None, existing="keep", progress=Lines())
    return adapt.run(config, resume=None, existing="keep", progress=Lines()).name


def _request(config: Run, adapter: str, samples: int | None) -> str:
    """SHA-256 of all that the rows depend on."""
    files = Bundle.open(Path(config.bundle)).manifest.files
    own = {
        name: entry.sha256 for name, entry in sorted(files.items()) if name.startswith(f"adapters/{adapter}/")
    }
    base = [files[name].sha256 for name in ("tiles.safetensors", "model.safetensors", "tile_map.json")]
    content = [config.hardware.digest(), config.adapt.essentials(), config.seed, faults_plan.SAMPLES]
    content += [faults_plan.EPOCHS, samples, base, own]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _begun(path: Path, request: str) -> Results | None:
    """What is measured already."""
    if not path.exists():
        return None
    found = faults_plan.read(path)
    if found.request != request:
        raise ArtifactError(
            f"{path} is of another bundle, adapter, samples or settings: remove it, or name another --out"
        )
    return found


def _begin(path: Path, config: Run, request: str, samples: int | None, digital: float) -> Results:
    """Results without rows."""
    task, plan = get_task(config.task), Bundle.open(Path(config.bundle)).read_json("tile_map.json")
    data = load_data(task, None if config.data_dir is None else Path(config.data_dir))
    path.parent.mkdir(parents=True, exist_ok=True)
    return Results(
        model=path.stem.removeprefix("faults-"),
        task=task.name,
        metric=task.metric,
        samples=samples or len(data.dev),
        dev=len(data.dev),
        seed=config.seed,
        request=request,
        digital=digital,
        tiles=plan["tiles"],
        utilisation=plan["utilisation"],
        strategy=plan["strategy"],
        versions=env.run(),
    )


def _asked(arguments: argparse.Namespace) -> list[Cell]:
    adapted = min(arguments.chips, faults_plan.ADAPTED_CHIPS)
    return [
        cell
        for cell in faults_plan.cells(arguments.chips, adapted)
        if (not arguments.only or cell.unit in arguments.only or cell.unit is None)
        and (not arguments.treatments or cell.treatment in arguments.treatments)
        and (not arguments.rates or cell.rate in arguments.rates or not cell.rate)
    ]


def _gather(path: Path, results: Results, done: Iterator[list[Row]], total: int) -> None:
    """Write what comes in, every now and then and at the end, whatever ends it."""
    begun = written = time.monotonic()
    rows, count = list(results.rows), 0

    def write() -> None:
        spent = results.seconds + time.monotonic() - begun
        faults_plan.write(path, results.model_copy(update={"rows": tuple(rows), "seconds": round(spent, 1)}))

    try:
        for found in done:
            rows += found
            count += 1
            told = ", ".join(f"{row.accuracy:.4f} at {row.time}" for row in found)
            row = found[0]
            print(
                f"{count}/{total} {row.unit or ''} {row.kind or 'no faults'} {row.rate:g} {row.treatment} "
                f"chip {row.chip}: {told}",
                file=sys.stderr,
                flush=True,
            )
            if time.monotonic() - written > EVERY_S:
                write()
                written = time.monotonic()
    finally:
        write()


if __name__ == "__main__":
    main()
