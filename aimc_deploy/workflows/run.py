"""Run: every step of a recipe in order, leaving out those that are finished."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import MANIFEST
from aimc_deploy.config.load import config_digest
from aimc_deploy.config.run import Run, Source
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import adapt, evaluate, map, report, several
from aimc_deploy.workflows.progress import Progress, Silent
from aimc_deploy.workflows.trackers import check_trackers


@dataclass(frozen=True)
class Step:
    """One step: ``skipped`` if it was finished before.

    ``result`` is the workflow's own; None for a map that was skipped.
    """

    name: str
    skipped: bool
    result: map.MapResult | adapt.AdaptResult | evaluate.EvaluateResult | report.ReportResult | None


def run(config: Run, *, progress: Progress | None = None) -> Iterator[Step]:
    """Map, then adapt (baselines too) and evaluate each task, report; yields each step when it is done.

    An interrupted adapt continues from its last checkpoint.

    Raises:
        ArtifactError: the bundle or an adapter is there and comes from other settings.
        ConfigError: a tracker is not installed.
        AimcError: as the steps raise it.
    """
    yield from deploy(config, progress=progress)
    yield Step("report", False, report.run(Path(config.bundle)))


def deploy(config: Run, *, results: str | None = None, progress: Progress | None = None) -> Iterator[Step]:
    """:func:`run` without its report.

    Args:
        results: a name for the results of one task; then only the recipe's own adapter is measured.
    """
    progress = progress or Silent()
    check_trackers(config.adapt)
    path = Path(config.bundle)
    if (path / MANIFEST).exists():
        _check_same_base(config, path)
        yield Step("map", True, None)
    else:
        yield Step("map", False, map.run(config, path, progress=progress))
    for task in several.with_data(config).tasks:
        yield from _task(config.model_copy(update={"task": task}), results, progress)


def _task(config: Run, results: str | None, progress: Progress) -> Iterator[Step]:
    """Train the adapters of one task and measure them, those with a base of their own by themselves."""
    trained = []
    for variant in variants(config):
        result = adapt.run(variant, resume=None, existing="keep", progress=progress)
        trained.append((variant, result))
        yield Step(f"adapt {result.name}", result.kept, result)
    trained.sort(key=lambda pair: pair[0] is not config)  # the recipe's own heads every table
    if results is not None:
        trained = trained[:1]
    for bundle in dict.fromkeys(str(result.bundle.path) for _, result in trained):
        names = tuple(result.name for _, result in trained if str(result.bundle.path) == bundle)
        if bundle == config.bundle:
            names = config.evaluate.adapters or names
        settings = config.evaluate.model_copy(update={"adapters": names})
        measured = evaluate.run(
            config.model_copy(update={"bundle": bundle, "evaluate": settings}),
            out=results,
            keep=True,
            progress=progress,
        )
        other = "" if bundle == config.bundle else f" in {bundle}"
        yield Step(f"evaluate {measured.results.task}{other}", measured.kept, measured)


def variants(config: Run) -> list[Run]:
    """The adapter of a recipe and its baselines, in the order of training.

    The digital one comes first: the adapter may go on from it.
    """
    quiet = {"hardware_aware": False, "method": "lora", "noise_ramp": 0.0, "gap_weight": 0.0}
    # A learning rate for LoRA is far too high for all the weights.
    changes = {"digital": quiet, "full": {"method": "full", "learning_rate": None}}
    # What only LoRA on chips has: neither of them meets any.
    no_chips = {"chip": None, "age": "0s", "schedule": (), "youngest": "0s", "noise_level": 1.0}
    found = [config]
    for baseline in config.baselines:
        name = config.adapt.name and f"{config.adapt.name}-{baseline}"
        update = {**changes[baseline], "name": name, "start_from": None, "in_memory": None, "layers": ()}
        update |= no_chips
        variant = config.model_copy(update={"adapt": config.adapt.model_copy(update=update)})
        found.insert(0 if baseline == "digital" else len(found), variant)
    return found


def _check_same_base(config: Run, path: Path) -> None:
    """Refuse a bundle that another model, mapping or seed gave."""
    bundle = Bundle.open(path)
    # Not the whole of it, of which another version may know other keys.
    mapped = Source.model_validate(bundle.read_json("run.json").get("source", {}))
    same = config_digest(mapped) == config_digest(config.source)
    if not same or bundle.manifest.mapping_digest != config.hardware.mapping_digest():
        raise ArtifactError(
            f"{path} was mapped from another model or for other tiles than this recipe asks for: choose "
            "another bundle, or map it again with `aimc-deploy map --overwrite`"
        )
