"""``aimc-deploy predict``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import Bar, emit, guarded, loading, out

if TYPE_CHECKING:
    from aimc_deploy.workflows.predict import Prediction


@guarded
def command(
    text: Annotated[
        list[str] | None,
        typer.Argument(help="What to ask about; of a task with pairs, both of each.", metavar="[TEXT]..."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="A table with the task's text columns, in the place of TEXT.")
    ] = None,
    task: options.TaskName = None,
    bundle: options.BundlePath = None,
    adapter: Annotated[str | None, typer.Option(help="Adapter; the task's if left out.")] = None,
    chip: Annotated[int, typer.Option(help="Number of the chip.", min=0)] = 0,
    at: Annotated[str, typer.Option(help="Time since it was programmed, such as 1y.")] = "0s",
    no_hardware: Annotated[bool, typer.Option("--no-hardware", help="Compute without any hardware.")] = False,
    hardware: options.Hardware = None,
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    seed: options.Seed = None,
    device: options.Device = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Ask one chip, at one time, about texts.

    Examples:

        aimc-deploy predict "It works, and it keeps working."
        aimc-deploy predict --task sst2 --chip 3 --at 10y "a film to forget" "a quiet joy"
        aimc-deploy predict --task squad "Who wrote it?" "The letter is by Ada."
        aimc-deploy predict --task sst2 --file sentences.tsv --format json
    """
    run = options.resolve(
        config,
        settings,
        {
            "task": task,
            "bundle": None if bundle is None else str(bundle),
            "hardware": hardware,
            "seed": seed,
            "device": device,
        },
        hardware_of_bundle=True,
    )
    with loading(output):
        from aimc_deploy.workflows import predict as workflow

    with Bar(output) as bar:
        found = workflow.run(
            run,
            text or (),
            file=file,
            adapter=adapter,
            chip=None if no_hardware else chip,
            at=at,
            progress=bar,
        )
    emit(output, [asdict(part) for part in found], lambda: show(found))


def show(predictions: list[Prediction]) -> None:
    """A line for each: the answer, how sure, the text."""
    for part in predictions:
        answer = f"{part.answer:.3f}" if isinstance(part.answer, float) else part.answer or "(no answer)"
        sure = "" if part.probability is None else f" {part.probability:.3f}"
        out.print(f"{answer}{sure}\t{' | '.join(part.texts)}")
