"""The command line of the benchmark; see scripts/bench."""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from aimc_deploy.workflows.env import run as environment
from benchmark import breakdown, commands, models, scaling
from benchmark import table as lines
from benchmark.timing import Figure


def table(arguments: argparse.Namespace) -> None:
    """the ratios to plain torch beside their targets"""
    plain, analog = models.build()
    inputs, repeats = models.batch(), arguments.repeats
    figures: list[Figure] = []
    for threads in arguments.threads:
        torch.set_num_threads(threads)
        figures += lines.forward(plain, analog, inputs, repeats)
        figures += lines.training(plain, analog, inputs, repeats)
        figures += lines.chip(plain, analog, repeats)
    if arguments.commands:
        with tempfile.TemporaryDirectory() as folder:
            figures += commands.measure(Path(folder))
    print("| what | threads | measured | must | goal | reached | |\n|---|---|---|---|---|---|---|")
    for figure in figures:
        print(
            f"| {figure.what} | {figure.threads} | {figure.value:.2f} {figure.unit} | {figure.must:g} | "
            f"{figure.goal:g} | {figure.verdict} | {figure.detail} |"
        )
    print("\n" + "; ".join(f"{name} {value}" for name, value in machine().items()) + f"; seed {models.SEED}")
    told: dict[str, Any] = {"figures": [{**asdict(figure), "verdict": figure.verdict} for figure in figures]}
    if arguments.peers:
        from benchmark.peers import compare_peers, show

        found = [
            peer for threads in arguments.threads for peer in compare_peers(plain, inputs, repeats, threads)
        ]
        show(found)
        told["peers"] = [asdict(peer) for peer in found]
    write(arguments.out, told)


def scale(arguments: argparse.Namespace) -> None:
    """layers of BERT-base and BERT-large, as a plot beside the figures"""
    torch.set_num_threads(arguments.threads[0])
    rows = scaling.measure(arguments.repeats)
    print("| model | tile | tokens | over plain torch |\n|---|---|---|---|")
    for row in rows:
        print(f"| {row['model']} | {row['tile']} | {row['length']} | {row['ratio']:.2f} |")
    write(arguments.out, {"rows": rows})
    if arguments.out:
        scaling.draw(rows, arguments.out.with_suffix(".svg"))


def profile(arguments: argparse.Namespace) -> None:
    """where the time of a forward pass goes"""
    breakdown.show(arguments.threads[0])


def write(path: Path | None, told: dict[str, Any]) -> None:
    """Figures, with all that they depend on."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"seed": models.SEED, "machine": machine(), **told}, indent=1) + "\n")


def machine() -> dict[str, str]:
    """Processor, interpreter and versions."""
    about = Path("/proc/cpuinfo")
    lines_of_cpu = about.read_text().splitlines() if about.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines_of_cpu if line.startswith("model name")]
    return {"processor": names[0] if names else platform.processor(), **environment()}


def main() -> None:
    """Choose one of the three."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=models.__doc__)
    subcommands = parser.add_subparsers(required=True)
    for name, function in (("table", table), ("scaling", scale), ("profile", profile)):
        command = subcommands.add_parser(name, help=function.__doc__)
        command.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch [1 2]")
        command.add_argument("--repeats", type=int, default=7, help="runs of each [7]")
        command.add_argument("--out", type=Path, help="JSON file for the figures")
        command.set_defaults(function=function)
        if name == "table":
            command.add_argument("--peers", action="store_true", help="other simulators, where installed")
            command.add_argument(
                "--no-commands", dest="commands", action="store_false", help="leave out adapt and evaluate"
            )
    arguments = parser.parse_args()
    arguments.function(arguments)


main()
