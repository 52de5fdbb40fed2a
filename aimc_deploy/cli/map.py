"""``aimc-deploy map``."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import Bar, emit, guarded, loading, next_step, note, out

if TYPE_CHECKING:
    from aimc_deploy.artifact.sensitivity import Sensitivity
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
    fault_map: Annotated[
        Path | None,
        typer.Option(
            help="YAML or JSON file with the faulty rows, columns and tiles of your chip, not used."
        ),
    ] = None,
    auto_digital: Annotated[
        bool,
        typer.Option(
            "--auto-digital",
            help="Measure what each layer costs a task, and keep the most sensitive ones digital.",
        ),
    ] = False,
    task: options.TaskName = None,
    data_dir: options.DataDir = None,
    max_drop: Annotated[
        str | None,
        typer.Option(
            help="With --auto-digital: what the task's metric may lose, such as 0.5% or 0.005 [0.5%]."
        ),
    ] = None,
    chips: Annotated[
        int | None, typer.Option(help="With --auto-digital: chips to average over [2].", min=1)
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="With --auto-digital: of the task's dev set [200].", min=1)
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="With --auto-digital: time since programming [0s].", metavar="TIME")
    ] = None,
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
        aimc-deploy map --auto-digital --task reviews --max-drop 0.5%
    """
    about = {"--max-drop": max_drop, "--chips": chips, "--samples": samples, "--at": at}
    for option, value in about.items():
        if value is not None and not auto_digital:
            raise typer.BadParameter("only --auto-digital measures anything: add it", param_hint=option)
    if auto_digital and dry_run:
        raise typer.BadParameter("what to keep digital has to be measured", param_hint="--dry-run")
    allowed = options.fraction(max_drop or "0.5%", "--max-drop")
    run = options.resolve(
        config,
        settings,
        {
            "source.path": model,
            "source.revision": revision,
            "source.allow_pickle": allow_pickle,
            "bundle": None if bundle is None else str(bundle),
            "hardware": hardware,
            "hardware.placement.faults": None if fault_map is None else read_faults(fault_map),
            "task": task,
            "data_dir": None if data_dir is None else str(data_dir),
            "seed": seed,
        },
    )
    with loading(output):
        from aimc_deploy.workflows import map as workflow
    measured = None
    with Bar(output) as bar:
        bar.say(f"loading {run.source.path or 'the bundled reduced MobileBERT'}")
        if auto_digital:
            from aimc_deploy.workflows import sensitivity

            result, measured = sensitivity.run(
                run,
                Path(run.bundle),
                max_drop=allowed,
                chips=chips or 2,
                samples=samples or 200,
                at=at or "0s",
                overwrite=overwrite,
                progress=bar,
            )
        else:
            result = workflow.run(run, Path(run.bundle), dry_run=dry_run, overwrite=overwrite, progress=bar)
    payload = {
        "bundle": None if dry_run else run.bundle,
        "source": result.provenance,
        "hardware": run.hardware.name,
        "plan": {key: value for key, value in result.plan.items() if key != "schema_version"},
    }
    if measured is not None:
        payload["sensitivity"] = measured.model_dump(mode="json")
    emit(output, payload, lambda: show(result, measured))
    if dry_run:
        note(output, "dry run: nothing was written")
    else:
        next_step(output, f"aimc-deploy adapt --task {shlex.quote(run.task)}{options.place(run.bundle)}")


def read_faults(path: Path) -> list[dict[str, Any]]:
    """The content of a fault map as a value of ``hardware.placement.faults``."""
    from aimc_deploy.config.load import load_faults

    return load_faults(path).model_dump(mode="json")["faults"]


def show(result: MapResult, measured: Sensitivity | None = None) -> None:
    """The plan as tables: analog layers, why the others are digital, and what each layer costs."""
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
    if measured is not None:
        show_sensitivity(measured)
    summary(result)


def show_sensitivity(measured: Sensitivity) -> None:
    """Every layer, the most sensitive first, and what keeping some digital is worth and costs."""
    from rich.table import Table

    table = Table(
        title=f"what each layer does to {measured.task}, {measured.samples} samples, chips: {measured.chips}",
        title_justify="left",
    )
    table.add_column("layer", overflow="fold")
    for name in ("SQNR", "logits", "alone", "all but it", ""):
        table.add_column(name, justify="right", no_wrap=True)
    common = len(os.path.commonpath([effect.layer.replace(".", "/") for effect in measured.layers]))
    for effect in measured.layers:
        table.add_row(
            effect.layer[common:].removeprefix("."),
            f"{effect.sqnr_db:.1f} dB",
            f"{effect.error:.1%}",
            f"{effect.alone:.4f}",
            f"{effect.without:.4f}",
            "digital" if effect.layer in measured.digital else "",
        )
    out.print(table)
    out.print(
        "logits: how far off they are with that layer alone analog; alone, all but it: "
        f"{measured.metric} with that layer alone analog, and with every other one"
    )
    share = measured.digital_weights / measured.weights
    out.print(
        f"{measured.metric} {measured.exact:.4f} without hardware, {measured.analog:.4f} with every layer "
        f"analog, {measured.chosen:.4f} with {len(measured.digital)} of {len(measured.layers)} digital: "
        f"{measured.digital_weights:,} weights, {share:.1%}, off the tiles"
    )


def summary(result: MapResult) -> None:
    """One line, and where the bundle is."""
    plan, size = result.plan, result.plan["tile"]
    out.print(
        f"{len(plan['analog'])} matrices, {plan['weights']:,} weights on {plan['tiles']} tiles of "
        f"{size['rows']} x {size['cols']}, {plan['utilisation']:.1%} used"
    )
    if plan["strategy"] != "naive":
        gap = plan["tiles"] / plan["tiles_bound"] - 1
        out.print(
            f"placed {plan['strategy']}: {gap:.0%} more tiles than the {plan['tiles_bound']} that the area "
            f"alone would need; at most {plan['initiation_interval']} products of one tile for a token"
        )
    if result.hardware.placement.tiles is not None:
        out.print(f"{result.hardware.placement.tiles - plan['tiles']} of the chip's tiles hold nothing")
    if result.bundle is not None:
        out.print(f"bundle: {result.bundle.path}")
