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
from benchmark import breakdown, commands, in_memory, in_memory_peers, models, scaling
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
    told = show(figures)
    if arguments.peers:
        from benchmark.peers import compare_peers
        from benchmark.peers import show as show_peers

        found = [
            peer for threads in arguments.threads for peer in compare_peers(plain, inputs, repeats, threads)
        ]
        show_peers(found)
        told["peers"] = [asdict(peer) for peer in found]
    write(arguments.out, told)


def memory(arguments: argparse.Namespace) -> None:
    """a training step in memory against a plain one"""
    torch.set_num_threads(1)
    told = show(in_memory.measure(arguments.repeats))
    if arguments.peers:
        told["peers"] = in_memory_peers.compare_peers(arguments.repeats)
        in_memory_peers.show(told["peers"])
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


def show(figures: list[Figure]) -> dict[str, Any]:
    """Print them beside their targets; returns them as plain data."""
    print("| what | threads | measured | must | goal | reached | |\n|---|---|---|---|---|---|---|")
    for figure in figures:
        print(
            f"| {figure.what} | {figure.threads} | {figure.value:.2f} {figure.unit} | {figure.must:g} | "
            f"{figure.goal:g} | {figure.verdict} | {figure.detail} |"
        )
    print("\n" + "; ".join(f"{name} {value}" for name, value in machine().items()) + f"; seed {models.SEED}")
    return {"figures": [{**asdict(figure), "verdict": figure.verdict} for figure in figures]}


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
    """Choose one of the four."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=models.__doc__)
    subcommands = parser.add_subparsers(required=True)
    ways = {"table": table, "in-memory": memory, "scaling": scale, "profile": profile}
    for name, function in ways.items():
        repeats = 300 if function is memory else 7
        command = subcommands.add_parser(name, help=function.__doc__)
        command.add_argument("--repeats", type=int, default=repeats, help=f"runs of each [{repeats}]")
        command.add_argument("--out", type=Path, help="JSON file for the figures")
        command.set_defaults(function=function)
        if function is not memory:
            command.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="of torch [1 2]")
        if function in (table, memory):
            command.add_argument("--peers", action="store_true", help="other simulators, where installed")
        if function is table:
            command.add_argument(
                "--no-commands", dest="commands", action="store_false", help="leave out adapt and evaluate"
            )
    arguments = parser.parse_args()
    arguments.function(arguments)


main()
