"""Measure what docs/in_memory.md says, and write it: every figure on that page comes from here.

    python scripts/in_memory.py measure
    python scripts/in_memory.py sst2 --data-dir glue --set source.path=MINILM_FOLDER
    python scripts/in_memory.py page

``measure`` runs the studies of `aimc-deploy train-in-memory` one after the other in the folder ``runs``, and
copies the results of each into docs/in_memory; ``sst2`` trains adapters and heads of a pretrained encoder.
What is finished is kept, so it can be stopped and called again at any time. ``page`` draws the plots and
writes the page from those results alone.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

import in_memory_sst2
from in_memory_page import page
from results import Lines

from aimc_deploy.config.executor import Local
from aimc_deploy.errors import AimcError
from aimc_deploy.workflows.study import run
from aimc_deploy.workflows.study.results import drawn, read
from aimc_deploy.workflows.study.studies import STUDIES, study

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "in_memory"
SST2 = RESULTS / "sst2" / "results.json"


def measure(arguments: argparse.Namespace) -> None:
    """All that are asked for, leaving out what is finished."""
    RESULTS.mkdir(exist_ok=True)
    for name in arguments.studies:
        print(name, file=sys.stderr, flush=True)
        measured = run(
            study(name),
            arguments.work / f"study-{name}",
            seeds=arguments.seeds,
            executor=Local(workers=arguments.workers),
            progress=Lines(),
        )
        shutil.copyfile(measured.files[0], RESULTS / f"{name}.json")


def sst2(arguments: argparse.Namespace) -> None:
    """SST-2 on a pretrained encoder, leaving out what is finished."""
    work = arguments.work / "in-memory-sst2"
    work.mkdir(parents=True, exist_ok=True)
    found = in_memory_sst2.measure(arguments.data_dir, work, arguments.set, arguments.workers, Lines())
    in_memory_sst2.write(SST2, found)


def write(arguments: argparse.Namespace) -> None:
    """The page, and a plot of each study beside its results."""
    for path in RESULTS.glob("*.json"):
        path.with_suffix(".svg").write_bytes(drawn(read(path)))
    (ROOT / "docs" / "in_memory.md").write_text(page(RESULTS), encoding="utf-8")


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    measuring = commands.add_parser("measure", help="run what is not finished")
    measuring.add_argument("--studies", nargs="+", default=STUDIES, choices=STUDIES, help="only these")
    measuring.add_argument("--seeds", type=int, default=5, help="of each point [5]")
    measuring.set_defaults(function=measure)
    encoder = commands.add_parser("sst2", help="the same on a pretrained encoder")
    encoder.add_argument("--data-dir", type=Path, required=True, help="folder with GLUE's SST-2")
    encoder.add_argument("--set", action="append", default=[], help="a key of a recipe, as in aimc-deploy")
    encoder.set_defaults(function=sst2)
    for command in (measuring, encoder):
        command.add_argument("--work", type=Path, default=ROOT / "runs", help="folder for the runs [runs]")
        command.add_argument("--workers", type=int, help="runs at a time [one a processor]")
    commands.add_parser("page", help="write docs/in_memory.md from docs/in_memory").set_defaults(
        function=write
    )
    arguments = parser.parse_args()
    try:
        arguments.function(arguments)
    except AimcError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
