"""``aimc-deploy map``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, err, guarded, next_step, note, out

if TYPE_CHECKING:
    from aimc_deploy.workflows.map import MapResult


@guarded
def command(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Hub id or local folder in Hugging Face layout; the bundled model if left out.",
        ),
    ] = None,
    bundle: Annotated[
        Path | None, typer.Argument(metavar="OUT", help="Folder to write the bundle to [./aimc-bundle].")
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit on the hub.")] = None,
    allow_pickle: Annotated[
        bool | None,
        typer.Option("--allow-pickle", help="Read a pytorch_model.bin: tensors only, in a separate process."),
    ] = None,
    hardware: options.Hardware = None,
    overwrite: options.Overwrite = False,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    output: options.Output = options.Format.human,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Place a pretrained model on analog tiles and write the bundle.

    Examples:

        aimc-deploy map
        aimc-deploy map google/mobilebert-uncased my-bundle
        aimc-deploy map ./checkpoint --hardware hermes-2dev --dry-run
    """
    run = options.resolve(
        config,
        settings,
        {
            "source.path": model,
            "source.revision": revision,
            "source.allow_pickle": allow_pickle,
            "bundle": None if bundle is None else str(bundle),
            "hardware": hardware,
            "seed": seed,
        },
    )
    if output is options.Format.human:
        err.print(f"loading {run.source.path or 'the bundled reduced MobileBERT'}")
    from aimc_deploy.workflows import map as workflow

    result = workflow.run(run, Path(run.bundle), dry_run=dry_run, overwrite=overwrite)
    payload = {
        "bundle": None if dry_run else run.bundle,
        "source": result.provenance,
        "hardware": run.hardware.name,
        "plan": {key: value for key, value in result.plan.items() if key != "schema_version"},
    }
    emit(output, payload, lambda: show(result))
    if dry_run:
        note(output, "dry run: nothing was written")
    else:
        next_step(output, f"aimc-deploy adapt --task {shlex.quote(run.task)}{options.place(run.bundle)}")


def show(result: MapResult) -> None:
    """The plan as a table: analog layers, then why the others are digital."""
    from rich.table import Table

    plan = result.plan
    table = Table(title="analog layers", title_justify="left")
    for name, side in (
        ("layer", "left"),
        ("inputs x outputs", "right"),
        ("tiles", "right"),
        ("used", "right"),
    ):
        table.add_column(name, justify=side, overflow="fold")  # type: ignore[arg-type]
    for entry in plan["analog"]:
        table.add_row(
            entry["layer"],
            f"{entry['rows']} x {entry['cols']}",
            str(len(entry["blocks"])),
            f"{entry['utilisation']:.0%}",
        )
    out.print(table)
    table = Table(title="digital layers", title_justify="left")
    for name in ("layer", "reason"):
        table.add_column(name, overflow="fold")
    for entry in plan["digital"]:
        table.add_row(entry["layer"], entry["reason"])
    out.print(table)
    summary(result)


def summary(result: MapResult) -> None:
    """One line, and where the bundle is."""
    plan, size = result.plan, result.plan["tile"]
    out.print(
        f"{len(plan['analog'])} matrices, {plan['weights']:,} weights on {plan['tiles']} tiles of "
        f"{size['rows']} x {size['cols']}, {plan['utilisation']:.1%} used"
    )
    if plan["strategy"] != "naive":
        out.print(
            f"placed {plan['strategy']}: the area alone would need {plan['tiles_bound']} tiles; at most "
            f"{plan['initiation_interval']} products of one tile for a token"
        )
    if result.bundle is not None:
        out.print(f"bundle: {result.bundle.path}")
