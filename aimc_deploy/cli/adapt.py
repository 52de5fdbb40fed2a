"""``aimc-deploy adapt``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import Bar, emit, err, guarded, loading, next_step, note, out

if TYPE_CHECKING:
    from aimc_deploy.config.run import Run
    from aimc_deploy.workflows.adapt import AdaptResult


@guarded
def command(
    task: options.TaskName = None,
    bundle: options.BundlePath = None,
    name: Annotated[str | None, typer.Option(help="Name of the adapter; the task's if left out.")] = None,
    method: Annotated[
        str | None, typer.Option(help="lora, or full: retrain all weights and write a new bundle.")
    ] = None,
    no_hardware: Annotated[
        bool, typer.Option("--no-hardware", help="Plain digital training, for comparison.")
    ] = False,
    bundle_out: Annotated[
        Path | None, typer.Option("--out", help="With --method full: folder of the new bundle.")
    ] = None,
    train_samples: options.TrainSamples = None,
    epochs: Annotated[float | None, typer.Option(help="Passes over the data.")] = None,
    data_dir: options.DataDir = None,
    start_from: options.StartFrom = None,
    from_chip: Annotated[
        int | None, typer.Option(help="Train on this chip alone, as it is at --at.", min=0)
    ] = None,
    at: Annotated[str | None, typer.Option(help="Age of the chip, such as 1y.")] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="An adapter for each epoch of a chip's life, by the ages they begin at: 0s,1d,1y."),
    ] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(help="Tracker of the losses: tensorboard, trackio, mlflow or wandb. Repeatable."),
    ] = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    hardware: options.Hardware = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    device: options.Device = None,
    output: options.Output = options.Format.human,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Train a LoRA adapter for a task against the hardware; the analog weights stay as they are.

    Examples:

        aimc-deploy adapt
        aimc-deploy adapt --task sst2 --data-dir glue/SST-2 --train-samples 20000
        aimc-deploy adapt --task sst2,cola,rte --data-dir glue
        aimc-deploy adapt --task sst2 --no-hardware
        aimc-deploy adapt --task sst2 --start-from sst2 --set hardware.adc.bits=6
        aimc-deploy adapt --task sst2 --start-from sst2 --from-chip 3 --at 10y --train-samples 100
        aimc-deploy adapt --task sst2 --schedule 0s,1d,1y
        aimc-deploy adapt --task sst2 --method full --out retrained
        aimc-deploy adapt --task sst2 --report-to tensorboard
        torchrun --nproc-per-node 2 -m aimc_deploy adapt --task sst2
    """
    run = options.resolve(
        config,
        settings,
        {
            "task": task,
            "bundle": None if bundle is None else str(bundle),
            "data_dir": None if data_dir is None else str(data_dir),
            "adapt.name": name,
            "adapt.method": method,
            "adapt.hardware_aware": False if no_hardware else None,
            "adapt.train_samples": train_samples,
            "adapt.epochs": epochs,
            "adapt.start_from": start_from,
            "adapt.chip": from_chip,
            "adapt.age": at,
            "adapt.schedule": None if schedule is None else [part.strip() for part in schedule.split(",")],
            "adapt.report_to": options.listed(report_to),
            "hardware": hardware,
            "seed": seed,
            "device": device,
        },
        hardware_of_bundle=True,
    )
    train(run, output, resume=resume, overwrite=overwrite, dry_run=dry_run, bundle_out=bundle_out)


def train(
    run: Run,
    output: options.Format,
    *,
    resume: bool,
    overwrite: bool,
    dry_run: bool,
    bundle_out: Path | None = None,
) -> None:
    """Do what a configuration says, tell of it, and name the command that measures it."""
    if dry_run:
        emit(output, run.model_dump(mode="json"), lambda: out.print_json(run.model_dump_json()))
        note(output, "dry run: nothing was trained or written")
        return
    with loading(output):
        from aimc_deploy.workflows import adapt as workflow
        from aimc_deploy.workflows import processes, several

    try:
        with Bar(output) as bar:
            if several.is_several(run.task):
                result = _several(run, overwrite, output, bar)
            else:
                existing: Literal["replace", "refuse"] = "replace" if overwrite else "refuse"
                result = workflow.run(run, out=bundle_out, resume=resume, existing=existing, progress=bar)
                emit(output, _payload(result), lambda: show(result))
    except KeyboardInterrupt:
        err.print("stopped; the last checkpoint is kept: continue with the same command and --resume")
        raise
    processes.leave()
    data = "" if run.data_dir is None else f" --data-dir {shlex.quote(run.data_dir)}"
    chip = f" --chip {run.adapt.chip}" if run.adapt.in_memory and run.adapt.chip is not None else ""
    next_step(
        output,
        f"aimc-deploy evaluate --task {shlex.quote(run.task)}{options.place(result.bundle.path)}{data}{chip}",
    )


def _several(run: Run, overwrite: bool, output: options.Format, bar: Bar) -> AdaptResult:
    """One task after the other; what is finished is kept, and what was interrupted goes on."""
    from aimc_deploy.workflows import several

    chosen, results = several.with_data(run), []
    for result in several.adapt_each(run, chosen.tasks, overwrite=overwrite, progress=bar):
        results.append(result)
        if output is options.Format.human:
            show(result)
    if output is options.Format.json:
        emit(output, [_payload(result) for result in results], lambda: None)
    for name, reason in chosen.left_out.items():
        note(output, f"left out {name}: {reason}")
    return results[-1]


def _payload(result: AdaptResult) -> dict[str, Any]:
    """What ``--format json`` prints."""
    record = result.record
    return {
        "bundle": str(result.bundle.path),
        "adapter": result.name,
        "task": record.task,
        "metric": record.metric,
        **record.scores,
        "parameters": record.parameters,
        "samples": record.training["samples"],
        "steps": record.training["steps"],
        "base_before": result.base_before,
        "base_after": result.base_after,
        **({"devices": record.training["devices"]} if "devices" in record.training else {}),
    }


def show(result: AdaptResult) -> None:
    """Two lines: what was trained, and how good it is."""
    record = result.record
    same = result.base_before == result.base_after
    base = f"base unchanged ({result.base_after[:12]})" if same else f"new base in {result.bundle.path}"
    out.print(
        f"adapter '{result.name}': {record.parameters:,} parameters, {record.training['samples']:,} samples, "
        f"{record.training['steps']:,} steps; {base}",
    )
    words = {"digital": "without hardware", "unadapted": "on tiles, LoRA off", "adapted": "on tiles, adapted"}
    scores = {word: record.scores.get(key) for key, word in words.items()}
    parts = [f"{word} {value:.3f}" for word, value in scores.items() if value is not None]
    out.print(f"{record.metric} on dev (chip 0, 0 s): " + ", ".join(parts))
    if "devices" in record.training:
        _show_devices(record.training["devices"])


def _show_devices(devices: dict[str, Any]) -> None:
    """The arrays of all layers that pulses trained, each kind in a line."""
    for kind in next(iter(devices.values()))["arrays"]:
        arrays = [found["arrays"][kind] for found in devices.values()]
        pulses = [array["pulses_per_device"] for array in arrays]
        worst = max(arrays, key=lambda array: array["saturated"])
        largest = max(arrays, key=lambda array: array["rms_by_tau"])
        told = (
            f"arrays {kind} of {len(arrays)} layers: {min(pulses):.3g} to {max(pulses):.3g} pulses a device, "
            f"at most {worst['saturated']:.1%} at a bound, rms at most {largest['rms_by_tau']:.2f} tau"
        )
        known = [array["energy_pj"] for array in arrays if array["energy_pj"] is not None]
        out.print(told + (f", {sum(known) / 1e6:.3g} uJ in all" if known else ""))
    warnings = {
        (warned["reason"].partition(": ")[2], warned["change"])
        for found in devices.values()
        for warned in found["warnings"]
    }
    for reason, change in sorted(warnings):
        err.print(f"warning: {reason}; better: {change}")
