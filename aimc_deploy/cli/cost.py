"""``aimc-deploy cost``."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, guarded, loading, next_step, out
from aimc_deploy.cost.estimate import LENGTH, RANK, TOKENS
from aimc_deploy.report.quantities import UNCOUNTED, percent_told, sizes, sources, time_told, totals

if TYPE_CHECKING:
    from aimc_deploy.workflows.cost import CostResult


@guarded
def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Plan this model in the place of a bundle: a folder with a config.json or a hub id. No "
            "weights are read.",
        ),
    ] = None,
    bundle: options.BundlePath = None,
    rank: Annotated[int, typer.Option(help="Rank of every layer's adapter.", min=1)] = RANK,
    tokens: Annotated[int, typer.Option(help="Tokens handed to an adapter together.", min=1)] = TOKENS,
    length: Annotated[int, typer.Option(help="Tokens of a sequence.", min=1)] = LENGTH,
    budget: Annotated[
        str,
        typer.Option(help="Largest overhead of an adapter, such as 5%; the rank that keeps to it is told."),
    ] = "5%",
    hardware: options.Hardware = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Time, energy and area of a mapped model with its adapters, on a chip whose figures are known.

    Examples:

        aimc-deploy cost --hardware ahwa-lora-256
        aimc-deploy cost --hardware analog-fabric --rank 16 --tokens 32 --length 320
        aimc-deploy cost --hardware ahwa-lora-128 --budget 10% --format json
        aimc-deploy cost google/mobilebert-uncased --hardware hermes64-4p
    """
    share = options.share(budget, "--budget")
    if model is not None and bundle is not None:
        raise typer.BadParameter(
            "it is for a model or for a bundle: leave one of them out", param_hint="MODEL"
        )
    run = options.resolve(
        config,
        settings,
        {
            "source.path": model,
            "bundle": None if bundle is None else str(bundle),
            "hardware": hardware,
        },
        hardware_of_bundle=model is None,
    )
    with loading(output):
        from aimc_deploy.workflows import cost as workflow

    result = workflow.run(
        Path(run.bundle) if model is None else run.source,
        run.hardware,
        rank=rank,
        tokens=tokens,
        length=length,
        budget=share,
    )
    payload = {
        **asdict(result.cost),
        "budget": share,
        "hidden": None
        if result.hidden is None
        else dict(zip(("rank", "tokens"), result.hidden, strict=True)),
        "hardware": run.hardware.name,
        "chip": run.hardware.chip.model_dump(mode="json"),
        "cluster": run.hardware.cluster.model_dump(mode="json"),
    }
    emit(output, payload, lambda: show(result))
    if model is None:
        next_step(output, f"aimc-deploy report{options.place(run.bundle)}")
    else:
        next_step(output, f"aimc-deploy map {shlex.quote(model)} --hardware {run.hardware.name}")


def show(result: CostResult) -> None:
    """A table of the totals, one of the kinds of layers, and where the chip's figures are from."""
    from rich.table import Table

    cost = result.cost
    table = Table(title=f"on {result.hardware.name}", title_justify="left")
    table.add_column("")
    for name in ("tiles alone", f"with adapters of rank {cost.rank}"):
        table.add_column(name, justify="right")
    for row in totals(cost):
        table.add_row(*row)
    out.print(table)
    table = Table(title="layers by inputs x outputs: time of a token, and what the adapter adds to it")
    for name in ("size", "layers", "tiles", "adapter", "memory", "pipelined", "serial"):
        table.add_column(name, justify="right", no_wrap=True)
    kinds: dict[tuple[int, int, int], list] = {}
    for layer in cost.layers:
        kinds.setdefault((layer.rows, layer.cols, layer.turns), []).append(layer)
    for (rows, cols, _), layers in sorted(kinds.items()):
        layer = layers[0]
        table.add_row(
            f"{rows} x {cols}",
            str(len(layers)),
            time_told(layer.tile_ns),
            time_told(layer.adapter_ns),
            f"{layer.adapter_bytes / 1024:.1f} KiB",
            percent_told(layer.pipelined),
            percent_told(layer.serial),
        )
    out.print(table)
    out.print(sizes(cost))
    for name, told in sources(result.hardware):
        out.print(f"{name:<9} {told}")
    if result.cost.token_ns is None:
        out.print("no time is known of this chip: choose one with --hardware, or set hardware.chip.mvm_ns")
    elif result.hidden is None:
        out.print(f"no rank keeps every adapter within {result.budget:.1%}")
    else:
        rank, tokens = result.hidden
        out.print(f"within {result.budget:.1%}: rank {rank} with {tokens} tokens together")
    out.print(UNCOUNTED)
