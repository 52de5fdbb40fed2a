"""``aimc-deploy evaluate``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aimc_deploy.cli import ci, options
from aimc_deploy.cli.inspect import show_ledger
from aimc_deploy.cli.output import Bar, emit, err, guarded, loading, next_step, note, out
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ConfigError

if TYPE_CHECKING:
    from aimc_deploy.artifact.results import Results
    from aimc_deploy.workflows.evaluate import EvaluateResult
    from aimc_deploy.workflows.several import Overview


@guarded
def command(
    task: options.TaskName = None,
    bundle: options.BundlePath = None,
    adapter: Annotated[
        list[str] | None, typer.Option(help="Adapter to evaluate; repeatable; all of the task if left out.")
    ] = None,
    chips: Annotated[int | None, typer.Option(help="Independently programmed chips.")] = None,
    chip: Annotated[int | None, typer.Option(help="Measure this chip alone.", min=0)] = None,
    times: Annotated[str | None, typer.Option(help="Times since programming, such as 0s,1h,1d,1y.")] = None,
    compensation: Annotated[str | None, typer.Option(help="none, global or per_column.")] = None,
    min_accuracy: Annotated[
        str | None,
        typer.Option(help="Fail (exit 3) if the lower confidence bound is below this: 0.9 or 90%."),
    ] = None,
    max_drop: Annotated[
        str | None,
        typer.Option(help="Fail (exit 3) if the lower bound is more than this below digital: 0.01 or 1%."),
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Time at which the gate looks; every time if left out.")
    ] = None,
    unadapted: Annotated[
        bool, typer.Option("--unadapted", help="Measure each adapter's head with LoRA switched off, too.")
    ] = False,
    noise_budget: Annotated[
        int | None,
        typer.Option(help="Measure each non-ideality alone too, on so many chips.", min=0),
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Use only so many dev samples, drawn by seed.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; the result does not depend on it.")] = None,
    results: Annotated[
        str | None, typer.Option(help="Name of the results in the bundle; the task's.")
    ] = None,
    data_dir: options.DataDir = None,
    junit: ci.JUnit = None,
    hardware: options.Hardware = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    device: options.Device = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Measure adapters on many chips, from the end of programming to ten years.

    Examples:

        aimc-deploy evaluate
        aimc-deploy evaluate --task sst2 --chips 10 --times 0s,1d,1y,10y --data-dir glue/SST-2
        aimc-deploy evaluate --task all --data-dir glue
        aimc-deploy evaluate --task sst2 --max-drop 0.01 --at 1y
        aimc-deploy evaluate --task sst2 --noise-budget 3
    """
    run = options.resolve(
        config,
        settings,
        {
            "task": task,
            "bundle": None if bundle is None else str(bundle),
            "data_dir": None if data_dir is None else str(data_dir),
            "evaluate.adapters": adapter or None,
            "evaluate.chips": chips,
            "evaluate.chip": chip,
            "evaluate.times": None if times is None else [part.strip() for part in times.split(",")],
            "evaluate.compensation": compensation,
            "evaluate.gate.min_accuracy": None
            if min_accuracy is None
            else options.fraction(min_accuracy, "--min-accuracy"),
            "evaluate.gate.max_drop": None if max_drop is None else options.fraction(max_drop, "--max-drop"),
            "evaluate.gate.at": at,
            "evaluate.unadapted": unadapted or None,
            "evaluate.noise_budget": noise_budget,
            "evaluate.eval_samples": samples,
            "executor.workers": workers,
            "hardware": hardware,
            "seed": seed,
            "device": device,
        },
        hardware_of_bundle=True,
    )
    ci.check_junit(junit, run.evaluate.gate.is_set())
    with loading(output):
        from aimc_deploy.workflows import evaluate as workflow
        from aimc_deploy.workflows import several

    if several.is_several(run.task):
        if results is not None:
            raise ConfigError("--results names the results of one task: leave it out, or name one task")
        evaluate_several(run, output, junit)
        return
    with Bar(output) as bar:
        result = workflow.run(run, out=results, progress=bar)
    from aimc_deploy.artifact.gate import Judged
    from aimc_deploy.artifact.results import summarise

    payload = {
        **result.results.model_dump(mode="json"),
        "summary": [part.model_dump(mode="json") for part in summarise(result.results)],
        "verdicts": [asdict(verdict) for verdict in result.verdicts],
        "gate_failures": result.failures,
        "files": [str(path) for path in result.files],
    }
    emit(output, payload, lambda: show(result))
    ci.conclude([Judged(results or result.results.task, result.results, result.verdicts)], junit)
    next_step(output, f"aimc-deploy report{options.place(run.bundle)}")


def evaluate_several(run: Run, output: options.Format, junit: Path | None) -> None:
    """Every task of a list, or every one with an adapter, and one table of all."""
    from aimc_deploy.artifact.gate import Judged
    from aimc_deploy.workflows import inspect, several

    chosen = several.with_adapters(run)
    with Bar(output) as bar:
        measured = several.evaluate_each(run, chosen.tasks, progress=bar)
    found = several.overview([result.results for result in measured])
    bundle = inspect.run(Path(run.bundle))
    payload = {**asdict(found), **{key: bundle[key] for key in ("base_sha256", "ledger")}}
    emit(output, payload, lambda: show_several(found, bundle))
    for name, reason in chosen.left_out.items():
        note(output, f"left out {name}: {reason}")
    ci.conclude([Judged(part.results.task, part.results, part.verdicts) for part in measured], junit)
    next_step(output, f"aimc-deploy report{options.place(run.bundle)}")


def show_several(found: Overview, bundle: dict[str, Any]) -> None:
    """A line for each adapter, a column for each time; and the base that all of them share."""
    from rich.table import Table

    table = Table()
    for name in ("task", "metric", "adapter"):
        table.add_column(name, overflow="fold")
    for name in ("no hardware", *found.times):
        table.add_column(name, justify="right", no_wrap=True)
    for line in found.lines:
        values = [f"{value:.3f}" for value in (line.digital, *line.means)]
        table.add_row(line.task, line.metric, line.adapter, *values)
    if found.average is not None:
        table.add_section()
        values = [f"{value:.3f}" for value in (found.average.digital, *found.average.means)]
        table.add_row(found.average.task, found.average.metric, found.average.adapter, *values)
    out.print(table)
    out.print(f"base      {bundle['base_sha256']}  (unchanged by adapters)")
    show_ledger(bundle["ledger"])


def show(result: EvaluateResult) -> None:
    """One table: for each adapter the digital model, then a line a time."""
    from rich.table import Table

    from aimc_deploy.artifact.results import summarise

    results = result.results
    chips = len({row.chip for row in results.rows})
    table = Table(
        title=f"{results.task}: {results.metric} on {results.samples} samples, over {chips} chips",
        title_justify="left",
    )
    table.add_column("adapter", overflow="fold")
    for name in ("time", "mean", "std", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    for baseline in results.baselines:
        own = [
            part
            for part in summarise(results)
            if part.adapter == baseline.adapter and part.metric == results.metric
        ]
        table.add_row(baseline.adapter, "no hardware", f"{baseline.metrics[results.metric]:.3f}", "", "")
        for part in sorted(own, key=lambda part: part.t_s):
            spread = "" if part.std is None else f"{part.std:.3f}"
            interval = "" if part.ci_low is None else f"{part.ci_low:.3f} to {part.ci_high:.3f}"
            table.add_row("", part.time, f"{part.mean:.3f}", spread, interval)
        table.add_section()
    out.print(table)
    if results.noise_budget:
        show_noise_budget(results)
    for name in results.settings["trained_for_other_hardware"]:
        err.print(f"note: adapter '{name}' was trained for other hardware than this evaluation simulates")
    for path in result.files:
        out.print(str(path))


def show_noise_budget(results: Results) -> None:
    """One table: what each non-ideality costs by itself, the costliest first."""
    from rich.table import Table

    from aimc_deploy.artifact.noise_budget import losses

    found = losses(results)
    table = Table(
        title=f"what each non-ideality costs by itself: {results.metric} lost by {found[0].adapter}, "
        f"over {found[0].chips} chips",
        title_justify="left",
    )
    table.add_column("")
    times = list(dict.fromkeys(part.time for part in found))
    for time in times:
        table.add_column(time, justify="right", no_wrap=True)
    for part in dict.fromkeys(loss.part for loss in found):
        own = {loss.time: loss for loss in found if loss.part == part}
        table.add_row(part, *(f"{own[time].mean:+.3f}" for time in times))
    out.print(table)
