"""Measure what docs/results.md says, and write it: every figure on that page comes from here.

    python scripts/results.py measure mini --data-dir glue
    python scripts/results.py measure minilm --set source.path=MINILM_FOLDER --data-dir glue
    python scripts/results.py page

``measure`` runs configs/sst2.yaml and then the stress ladder, one rung after the other, in the folder
``runs``, and copies the results of each into docs/results/NAME. What is finished is kept, so it can be
stopped and called again at any time. ``page`` draws the plots and writes the page from those copies alone.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results_page import write_page

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import MANIFEST
from aimc_deploy.config.load import load_run
from aimc_deploy.config.run import Run
from aimc_deploy.errors import AimcError
from aimc_deploy.workflows import adapt, evaluate, map, run
from aimc_deploy.workflows.adapters import read_record

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "configs" / "sst2.yaml"
RESULTS = ROOT / "docs" / "results"
LADDER_TIMES = ("0s", "1y", "10y")
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


@dataclass(frozen=True)
class Rung:
    """One step of the ladder: what it changes in configs/sst2.yaml.

    Attributes:
        own_base: it changes the model or the tiles, so it needs a bundle and a digital adapter of its own.
        weight_noise: for training as published.
    """

    name: str
    title: str
    changes: tuple[str, ...] = ()
    own_base: bool = False
    weight_noise: float = 0.067


def _noise(times: int) -> Rung:
    """Device and output noise ``times`` as large.

    The published method's weight noise grows with them up to three times: with more than that (0.5 was tried
    on the twelvefold rung) it finds nothing.
    """
    scales = [f"hardware.device.{kind}_noise_scale={times}" for kind in ("programming", "read")]
    changes = (*scales, f"hardware.output_noise={0.04 * times:g}")
    return Rung(f"noise-x{times}", f"noise × {times}", changes, weight_noise=0.067 * min(times, 3))


def _bits(bits: int) -> Rung:
    return Rung(
        f"bits-{bits}", f"{bits}-bit converters", (f"hardware.dac.bits={bits}", f"hardware.adc.bits={bits}")
    )


def _outliers(factor: int) -> Rung:
    changes = ("source.outlier_channels=4", f"source.outlier_factor={factor}")
    return Rung(f"outliers-x{factor}", f"outlier channels × {factor} (synthetic)", changes, own_base=True)


RUNGS = (
    Rung("default", "the default: 8 bit, measured noise"),
    *[_noise(times) for times in (2, 3, 4, 8, 12)],
    *[_bits(bits) for bits in (6, 5, 4, 3)],
    Rung("static", "static input ranges", ("hardware.preset=pcm-static",)),
    Rung("uncompensated", "no drift compensation", ("hardware.drift_compensation=none",)),
    Rung("hermes-1dev", "Hermes, one device", ("hardware.preset=hermes-1dev",), own_base=True),
    *[_outliers(factor) for factor in (16, 64)],
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
            _baselines(load_run(RECIPE, shared), out)
        else:
            _rung(next(rung for rung in RUNGS if rung.name == name), shared, arguments, out)


def _baselines(config: Run, out: Path) -> None:
    """The recipe as it stands; its results, and those of the baseline that has a base of its own."""
    for step in run.run(config, progress=Lines()):
        if isinstance(step.result, evaluate.EvaluateResult):
            full = "-sst2-full" if step.name.endswith("-full") else ""
            _keep(step.result, Path(config.bundle + full), out / f"sst2{full[5:]}")


def _rung(rung: Rung, shared: Sequence[str], arguments: argparse.Namespace, out: Path) -> None:
    """The adapter trained for a rung and the one trained without hardware, both on the rung's chips."""
    changes = [*shared, *rung.changes, "evaluate.unadapted=false", f"evaluate.chips={arguments.chips}"]
    changes.append(f"evaluate.times={json.dumps(LADDER_TIMES)}")
    config = load_run(RECIPE, changes)
    if rung.own_base:
        config = config.model_copy(update={"bundle": f"{config.bundle}-{rung.name}"})
    bundle = Path(config.bundle)
    if not (bundle / MANIFEST).exists():
        map.run(config, bundle)
    own = "" if rung.name == "default" else f"-{rung.name}"
    # Trained without hardware, so the rung's has no part in it; only its calibration would know it.
    plain = config.model_copy(update={"hardware": load_run(RECIPE, shared).hardware})
    digital = _adapter(
        config if rung.own_base else plain, "sst2-digital", hardware_aware=False, start_from=None
    )
    names = [digital, _adapter(config, f"sst2{own}", start_from=digital)]
    if arguments.published:
        published = {"noise": "weights", "weight_noise": rung.weight_noise}
        names.append(_adapter(config, f"sst2{own}-published", start_from=digital, **published))
    settings = config.evaluate.model_copy(update={"adapters": tuple(names)})
    measured = evaluate.run(
        config.model_copy(update={"evaluate": settings}), out=f"rung-{rung.name}", keep=True, progress=Lines()
    )
    _keep(measured, bundle, out / f"rung-{rung.name}")


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
    every = ["baselines", *[rung.name for rung in RUNGS]]
    measuring.add_argument("--rungs", nargs="+", default=every, choices=every, help="only these")
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
