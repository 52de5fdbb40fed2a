"""``aimc-deploy config``: look at, check and start configurations, without loading a model."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

from aimc_deploy.cli import options
from aimc_deploy.cli.output import emit, err, guarded, next_step, out

app = typer.Typer(help="Look at, check and start configurations.", no_args_is_help=True)


@app.command("init")
@guarded
def init(
    path: Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe to write.")] = Path("recipe.yaml"),
    overwrite: options.Overwrite = False,
    debug: options.Debug = False,
) -> None:
    """Write a commented recipe to start from, with the schema that editors check it by.

    Examples:

        aimc-deploy config init
        aimc-deploy config init sst2.yaml
    """
    from aimc_deploy.config.load import recipe_schema, starter_recipe
    from aimc_deploy.errors import ConfigError

    try:
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(starter_recipe())
    except FileExistsError:
        raise ConfigError(
            f"{path} is there already: choose another name or replace it with --overwrite"
        ) from None
    path.with_name("recipe.schema.json").write_text(
        json.dumps(recipe_schema(), indent=2) + "\n", encoding="utf-8"
    )
    out.print(str(path))
    next_step(options.Format.human, f"aimc-deploy run {shlex.quote(str(path))}")


@app.command("show")
@guarded
def show(
    config: options.ConfigFile = None,
    settings: options.Settings = None,
    hardware: options.Hardware = None,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Print the configuration with every default filled in, and its SHA-256.

    Examples:

        aimc-deploy config show
        aimc-deploy config show -c recipe.yaml --set hardware.adc.bits=6
    """
    import yaml

    from aimc_deploy.config.load import config_digest

    run = options.resolve(config, settings, {"hardware": hardware})
    content, digest = run.model_dump(mode="json"), config_digest(run)

    def human() -> None:
        out.print(f"# sha256 {digest}")
        out.print(yaml.safe_dump(content, sort_keys=False, width=100).rstrip())

    emit(output, {"sha256": digest, "config": content}, human)


@app.command("schema")
@guarded
def schema(
    sweep: Annotated[bool, typer.Option("--sweep", help="Of a sweep in the place of a recipe.")] = False,
    debug: options.Debug = False,
) -> None:
    """Print the JSON Schema of a recipe, for editors and other programs.

    Examples:

        aimc-deploy config schema > recipe.schema.json
        aimc-deploy config schema --sweep > sweep.schema.json
    """
    from aimc_deploy.config.load import recipe_schema, sweep_schema

    typer.echo(json.dumps(sweep_schema() if sweep else recipe_schema(), indent=2))


@app.command("validate")
@guarded
def validate(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe to check.")],
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """Check a recipe and show all its mistakes at once, each with its line.

    Examples:

        aimc-deploy config validate recipe.yaml
    """
    from aimc_deploy.config.load import config_digest

    digest = config_digest(options.resolve(recipe, None, {}))
    emit(
        output,
        {"valid": True, "sha256": digest},
        lambda: out.print(f"{recipe} is valid ({digest})"),
    )
    next_step(output, f"aimc-deploy run {shlex.quote(str(recipe))}")


@app.command("presets")
@guarded
def presets(
    pulsed: Annotated[
        bool, typer.Option("--pulsed", help="Devices for `train-in-memory` in the place of hardware.")
    ] = False,
    output: options.Output = options.Format.human,
    debug: options.Debug = False,
) -> None:
    """List the presets that come with the package: hardware, and devices that pulses can train.

    Examples:

        aimc-deploy config presets
        aimc-deploy config presets --pulsed
    """
    from aimc_deploy.config.load import presets as found
    from aimc_deploy.config.training_presets import training_presets

    listed = training_presets() if pulsed else found()
    width = max(map(len, listed))
    option, other = (
        ("aimc-deploy train-in-memory --pulsed-device", "hardware: without --pulsed")
        if pulsed
        else ("--hardware", "devices that pulses can train: with --pulsed")
    )

    def human() -> None:
        for name, description in listed.items():
            out.print(f"{name:<{width}}  {description}")
        err.print(f"use one with {option} NAME, or copy its file and give that ({other})")

    emit(output, listed, human)
