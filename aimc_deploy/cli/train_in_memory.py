"""``aimc-deploy train-in-memory``."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from aimc_deploy.cli import adapt, options
from aimc_deploy.cli.output import guarded
from aimc_deploy.cli.study import Named, run_study


class Algorithm(str, Enum):
    """The kinds of :mod:`aimc_deploy.config.algorithm`."""

    mixed_precision = "mixed_precision"
    residual = "residual"
    residual_v2 = "residual_v2"
    tt_v2 = "tt_v2"
    chopped_tt_v2 = "chopped_tt_v2"
    agad = "agad"
    e_rider = "e_rider"
    multi_tile = "multi_tile"
    analog_sgd = "analog_sgd"


@guarded
def command(
    task: options.TaskName = None,
    bundle: options.BundlePath = None,
    what: Annotated[
        str | None,
        typer.Option(help="head, adapter (LoRA and head), or layers=PATTERN; adapter if left out."),
    ] = None,
    algorithm: Annotated[
        Algorithm | None,
        typer.Option(help="How pulses train; mixed_precision if left out.", show_default=False),
    ] = None,
    pulsed: Annotated[
        str | None,
        typer.Option(
            "--pulsed-device", help="A preset of `aimc-deploy config presets --pulsed`, or a YAML file."
        ),
    ] = None,
    states: Annotated[
        float | None, typer.Option(help="Steps between the bounds of the default device.", min=2)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Of the pulses, in weight units; the algorithm's own if left out.")
    ] = None,
    chip: Annotated[
        int | None,
        typer.Option(help="The chip that it is trained on, 0 if left out; its base stays as it is.", min=0),
    ] = None,
    at: Annotated[str | None, typer.Option(help="Age of the chip, such as 1y; new if left out.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the adapter; of task and algorithm else.")] = None,
    train_samples: options.TrainSamples = None,
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the data; of a study, in the place of its own.")
    ] = None,
    data_dir: options.DataDir = None,
    start_from: options.StartFrom = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
    hardware: options.Hardware = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    device: options.Device = None,
    study: Annotated[
        Named | None,
        typer.Option(help="Compare methods on scikit-learn's digits instead, along one property of devices."),
    ] = None,
    seeds: Annotated[
        int, typer.Option(help="Of a study: runs of each point that are reported.", min=1, max=1000)
    ] = 5,
    workers: Annotated[
        int | None, typer.Option(help="Of a study: runs at a time; no figure depends on it.", min=1)
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Of a study: folder of runs and results; study-NAME if left out."),
    ] = None,
    output: options.Output = options.Format.human,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Train an adapter, a head or chosen layers by pulses, on one chip; or study how that works.

    The base stays programmed and aged as it is. What is trained is stored as any other adapter.

    A study trains a small network in many ways, with several seeds, at rates chosen on a validation part.
    Call it again to go on: what is done is kept.

    Examples:

        aimc-deploy train-in-memory
        aimc-deploy train-in-memory --task sst2 --what head --algorithm residual --data-dir glue
        aimc-deploy train-in-memory --task sst2 --pulsed-device reram-om --chip 3 --at 1y --data-dir glue
        aimc-deploy train-in-memory --what 'layers=*.layer.23.attention.self.*' --algorithm residual
        aimc-deploy train-in-memory --study tau
        aimc-deploy train-in-memory --study noise --epochs 2 --seeds 1 --workers 4
    """
    if study is not None:
        own = {"--task": task, "--bundle": bundle, "--what": what, "--algorithm": algorithm, "--name": name}
        given = [option for option, value in own.items() if value is not None]
        if given:
            raise typer.BadParameter(
                f"a study trains a network of its own: leave out {', '.join(given)}", param_hint="--study"
            )
        if epochs is not None and epochs != int(epochs):
            raise typer.BadParameter("a study has whole epochs", param_hint="--epochs")
        passes = None if epochs is None else int(epochs)
        run_study(
            study.value, folder or Path(f"study-{study.value}"), seeds, passes, workers, output, dry_run
        )
        return
    method, layers = _method(what)
    if chip is None and options.resolve(config, settings, {}).adapt.chip is None:
        chip = 0
    run = options.resolve(
        config,
        settings,
        {
            "task": task,
            "bundle": None if bundle is None else str(bundle),
            "data_dir": None if data_dir is None else str(data_dir),
            "adapt.method": method,
            "adapt.layers": layers,
            "adapt.name": name,
            "adapt.train_samples": train_samples,
            "adapt.epochs": epochs,
            "adapt.start_from": start_from,
            "adapt.chip": chip,
            "adapt.age": at,
            "adapt.in_memory": {},
            "adapt.in_memory.device": pulsed,
            "adapt.in_memory.device.states": states,
            "adapt.in_memory.learning_rate": learning_rate,
            "adapt.in_memory.algorithm": None if algorithm is None else {"kind": algorithm.value},
            "hardware": hardware,
            "seed": seed,
            "device": device,
        },
        hardware_of_bundle=True,
    )
    adapt.train(run, output, resume=resume, overwrite=overwrite, dry_run=dry_run)


def _method(what: str | None) -> tuple[str | None, list[str] | None]:
    """The method of adaptation, and the layers if it is of some."""
    if what is None:
        return None, None
    kind, _, pattern = what.partition("=")
    if kind == "layers" and pattern:
        return "layers", pattern.split(",")
    if what not in ("head", "adapter"):
        raise typer.BadParameter(
            f"'{what}' cannot be trained: head, adapter, or layers=PATTERN with a shell pattern of the names "
            "that `aimc-deploy inspect` lists",
            param_hint="--what",
        )
    return {"head": "head", "adapter": "lora"}[what], None
