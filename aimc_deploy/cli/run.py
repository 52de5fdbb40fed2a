"""``aimc-deploy run``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from aimc_deploy.cli import adapt, ci, evaluate, map, options, report
from aimc_deploy.cli.output import Bar, emit, guarded, loading, next_step, note, out


@guarded
def command(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="YAML recipe; `aimc-deploy config init` writes one.")
    ],
    bundle: options.BundlePath = None,
    data_dir: options.DataDir = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    device: options.Device = None,
    junit: ci.JUnit = None,
    output: options.Output = options.Format.human,
    dry_run: options.DryRun = False,
    debug: options.Debug = False,
) -> None:
    """Do all that a recipe says: map, adapt, evaluate, report; finished steps are skipped.

    Examples:

        aimc-deploy config init
        aimc-deploy run recipe.yaml
        aimc-deploy run recipe.yaml --set adapt.epochs=1 --bundle other
    """
    run = options.resolve(
        recipe,
        settings,
        {
            "bundle": None if bundle is None else str(bundle),
            "data_dir": None if data_dir is None else str(data_dir),
            "seed": seed,
            "device": device,
        },
    )
    if dry_run:
        emit(output, run.model_dump(mode="json"), lambda: out.print_json(run.model_dump_json()))
        note(output, "dry run: nothing was done")
        return
    ci.check_junit(junit, run.evaluate.gate.is_set())
    from aimc_deploy.artifact.gate import Judged

    with loading(output):
        from aimc_deploy.workflows import run as workflow
        from aimc_deploy.workflows.evaluate import EvaluateResult

    steps: list[dict[str, Any]] = []
    judged: list[Judged] = []
    human = output is options.Format.human
    with Bar(output) as bar:
        for step in workflow.run(run, progress=bar):
            steps.append({"step": step.name, "skipped": step.skipped})
            bar.say(f"{step.name}: {'finished before' if step.skipped else 'done'}")
            if human:
                _show(step.result)
            if isinstance(step.result, EvaluateResult):
                name = step.name.removeprefix("evaluate ")
                judged.append(Judged(name, step.result.results, step.result.verdicts))
    if not human:
        failures = [line for part in judged for line in part.failures]
        emit(output, {"bundle": run.bundle, "steps": steps, "gate_failures": failures}, lambda: None)
    ci.conclude(judged, junit)
    next_step(output, f"aimc-deploy inspect{options.place(run.bundle)}")


def _show(result: Any) -> None:
    shown: dict[str, Callable[[Any], None]] = {
        "MapResult": map.summary,
        "AdaptResult": adapt.show,
        "EvaluateResult": evaluate.show,
        "ReportResult": report.show,
    }
    if result is not None:
        shown[type(result).__name__](result)
