"""Measure what docs/results.md says, and write it: every figure on that page comes from here.

    python scripts/results.py measure mini --data-dir glue
    python scripts/results.py measure minilm --set source.path=MINILM_FOLDER --data-dir glue
    python scripts/results.py page

``measure`` runs configs/sst2.yaml and then the stress ladder, one rung after the other, in the folder
``runs``, and copies the results of each into docs/results/NAME; with ``--rungs`` also configs/glue.yaml,
configs/squad.yaml, and one aged chip. What is finished is kept, so it can be stopped and called again at any
time. ``page`` draws the plots and writes the page from those copies alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from results_page import write_page
from results_plan import AGE, CHIP, LADDER_TIMES, NOISY, ON_CHIP, RUNGS, TASKS, VARIANTS, Rung

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import MANIFEST
from aimc_deploy.config.load import load_run
from aimc_deploy.config.run import Run
from aimc_deploy.errors import AimcError
from aimc_deploy.workflows import adapt, evaluate, map, run
from aimc_deploy.workflows.adapters import read_record

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
RECIPE = CONFIGS / "sst2.yaml"
RESULTS = ROOT / "docs" / "results"
TOLD = (
    "method",
    "hardware_aware",
    "samples",
    "epochs",
    "steps",
    "batch_size",
    "learning_rate",
    "start_from",
    "noise",
    "weight_noise",
    "drift",
    "seed",
)


class Lines:
    """Progress as plain lines, for a log."""

    def start(self, what: str, total: int) -> None:
        print(f"  {what} ({total})", file=sys.stderr, flush=True)

    def advance(self, steps: int = 1, note: str = "") -> None:
        pass

    def say(self, message: str) -> None:
        print(f"  {message}", file=sys.stderr, flush=True)


def measure(arguments: argparse.Namespace) -> None:
    """All of one model, leaving out what is finished."""
    out = RESULTS / arguments.name
    base = arguments.work / arguments.name
    shared = [
        *arguments.set,
        f"bundle={base}",
        *([f"data_dir={arguments.data_dir}"] if arguments.data_dir else []),
    ]
    for name in arguments.rungs:
        print(f"{arguments.name}: {name}", file=sys.stderr, flush=True)
        if name == "baselines":
            _recipe(load_run(RECIPE, shared), out)
        elif name in TASKS:
            _recipe(load_run(CONFIGS / f"{name}.yaml", shared), out)
        elif name == "variants":
            _variants(shared, arguments.chips, out)
        elif name == "on-chip":
            _on_chip(shared, out)
        else:
            _rung(next(rung for rung in RUNGS if rung.name == name), shared, arguments, out)


def _recipe(config: Run, out: Path) -> None:
    """A recipe as it stands: the results of each task, and those of a baseline that has a base of its own."""
    for step in run.run(config, progress=Lines()):
        if isinstance(step.result, evaluate.EvaluateResult):
            full = "-full" if step.name.endswith("-full") else ""
            task = step.result.results.task
            own = f"{config.bundle}-{task}{full}" if full else config.bundle
            _keep(step.result, Path(own), out / f"{task}{full}")


def _digital(shared: Sequence[str]) -> str:
    """The adapter that knows no hardware, on a bundle that is mapped if need be.

    The hardware that is measured has no part in it; only its calibration would know it.
    """
    config = load_run(RECIPE, shared)
    if not (Path(config.bundle) / MANIFEST).exists():
        map.run(config, Path(config.bundle))
    return _adapter(config, "sst2-digital", hardware_aware=False, start_from=None)


def _on_chip(shared: Sequence[str], out: Path) -> None:
    """One chip of noisy hardware, ten years old, with adapters trained on it alone from few samples.

    They go on from the digital adapter, or from ``sst2-noisy``, which met other chips of that hardware.
    """
    config = load_run(RECIPE, [*shared, f"hardware.preset={NOISY}"])
    digital = _digital(shared)
    names = [digital, _adapter(config, "sst2-noisy", start_from=digital)]
    for samples, epochs in ON_CHIP.items():
        few = {"train_samples": samples, "epochs": epochs, "chip": CHIP, "age": AGE}
        for start in (digital, "sst2-noisy"):
            name = f"{start}-chip{CHIP}-{samples}"
            names.append(_adapter(config, name, start_from=start, **few))
    asked = {"adapters": tuple(names), "chip": CHIP, "times": (AGE,), "unadapted": False}
    settings = config.evaluate.model_copy(update=asked)
    config = config.model_copy(update={"evaluate": settings})
    _keep(
        evaluate.run(config, out="on-chip", keep=True, progress=Lines()),
        Path(config.bundle),
        out / "on-chip",
    )


def _rung(rung: Rung, shared: Sequence[str], arguments: argparse.Namespace, out: Path) -> None:
    """The adapter trained for a rung and the one trained without hardware, both on the rung's chips."""
    changes = [*shared, *rung.changes, "evaluate.unadapted=false", f"evaluate.chips={arguments.chips}"]
    changes.append(f"evaluate.times={json.dumps(LADDER_TIMES)}")
    config = load_run(RECIPE, changes)
    if rung.own_base:
        config = config.model_copy(update={"bundle": f"{config.bundle}-{rung.name}"})
    bundle = Path(config.bundle)
    own = "" if rung.name == "default" else f"-{rung.name}"
    digital = _digital([*shared, *rung.changes, f"bundle={bundle}"] if rung.own_base else shared)
    names = [digital, _adapter(config, f"sst2{own}", start_from=digital)]
    if arguments.published:
        published = {"noise": "weights", "weight_noise": rung.weight_noise}
        names.append(_adapter(config, f"sst2{own}-published", start_from=digital, **published))
    settings = config.evaluate.model_copy(update={"adapters": tuple(names)})
    measured = evaluate.run(
        config.model_copy(update={"evaluate": settings}), out=f"rung-{rung.name}", keep=True, progress=Lines()
    )
    _keep(measured, bundle, out / f"rung-{rung.name}")


def _variants(shared: Sequence[str], chips: int, out: Path) -> None:
    """The adapter of each variant, on the hardware that it is for, all against the same digital one."""
    for variant in VARIANTS:
        print(f"variant {variant.name}", file=sys.stderr, flush=True)
        config = load_run(RECIPE, [*shared, f"hardware.preset={NOISY}", *variant.changes])
        digital = _digital(shared)
        start = {"digital": digital, "nothing": None}.get(variant.start)
        if variant.start == "own":
            start = _adapter(config, f"sst2-{variant.name}-digital", hardware_aware=False, start_from=None)
        name = _adapter(config, f"sst2-{variant.name}", start_from=start)
        measured = {"adapters": (name,), "chips": chips, "times": LADDER_TIMES, "unadapted": False}
        if variant is VARIANTS[0]:
            measured["adapters"] = (name, digital)
        config = config.model_copy(update={"evaluate": config.evaluate.model_copy(update=measured)})
        result = evaluate.run(config, out=f"variant-{variant.name}", keep=True, progress=Lines())
        _keep(result, Path(config.bundle), out / f"variant-{variant.name}")


def _adapter(config: Run, name: str, **changes: Any) -> str:
    """Train an adapter if it is not there; the default ones are those of the recipe."""
    asked = None if name in ("sst2", "sst2-digital") else name
    update = {**changes, "name": asked}
    adapting = config.model_copy(update={"adapt": config.adapt.model_copy(update=update)})
    return adapt.run(adapting, resume=None, existing="keep", progress=Lines()).name


def _keep(result: evaluate.EvaluateResult, bundle: Path, stem: Path) -> None:
    """Copy the results of an evaluation, and how its adapters were trained."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(result.files[0], stem.with_suffix(".json"))
    opened = Bundle.open(bundle)
    # Rows with LoRA off are of an adapter that has rows of its own.
    names = [part.adapter for part in result.results.baselines if part.adapter in opened.adapters()]
    records = {name: read_record(opened, name) for name in names}
    told = {name: {key: record.training[key] for key in TOLD} for name, record in records.items()}
    stem.with_suffix(".training.json").write_text(json.dumps(told, indent=1) + "\n")


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure", help="run what is not finished")
    measuring.add_argument("name", help="of the model on the page: mini or minilm")
    measuring.add_argument("--data-dir", type=Path, help="folder with SST-2; the hub if left out")
    measuring.add_argument("--work", type=Path, default=ROOT / "runs", help="folder for the bundles [runs]")
    measuring.add_argument("--chips", type=int, default=5, help="of each rung of the ladder [5]")
    measuring.add_argument(
        "--set", action="append", default=[], help="a key of the recipe, as in aimc-deploy"
    )
    measuring.add_argument("--published", action="store_true", help="train by the published noise too")
    usual = ["baselines", *[rung.name for rung in RUNGS]]
    choices = [*usual, *TASKS, "variants", "on-chip"]
    measuring.add_argument("--rungs", nargs="+", default=usual, choices=choices, help="only these, or others")
    measuring.set_defaults(function=measure)
    page = commands.add_parser("page", help="write docs/results.md from docs/results")
    page.set_defaults(
        function=lambda arguments: write_page(
            RESULTS, ROOT / "docs" / "results.md", {rung.name: rung.title for rung in RUNGS}
        )
    )
    arguments = parser.parse_args()
    try:
        arguments.function(arguments)
    except AimcError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
