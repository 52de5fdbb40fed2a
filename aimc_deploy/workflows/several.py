"""Several tasks on one base: which ones are meant, and their results side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import Results, summarise
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, ConfigError, DataError
from aimc_deploy.tasks.data import where
from aimc_deploy.tasks.registry import TASKS, get_task
from aimc_deploy.workflows import adapt, evaluate
from aimc_deploy.workflows.adapters import read_record
from aimc_deploy.workflows.progress import Progress

ALL = "all"


@dataclass(frozen=True)
class Choice:
    """Tasks to work on, and why others that ``all`` could mean are left out."""

    tasks: tuple[str, ...]
    left_out: Mapping[str, str]


def is_several(task: str) -> bool:
    """Whether more than one task may be meant."""
    return task == ALL or "," in task


def with_data(config: Run) -> Choice:
    """The tasks of a list, or with ``all`` every task whose data is there.

    Without a data folder that is every task of the hub, and the bundled one.

    Raises:
        DataError: there is no such task, or none whose data is there.
    """
    if config.task != ALL:
        return _listed(config.task)
    folder = None if config.data_dir is None else Path(config.data_dir)
    left_out = {}
    for name, task in TASKS.items():
        place = where(task, folder)
        if folder is not None and (task.hub is None or place.startswith("missing")):
            left_out[name] = "needs no folder" if task.hub is None else place
    tasks = tuple(name for name in TASKS if name not in left_out)
    if not tasks:
        raise DataError(
            f"{folder} has the data of no task: `aimc-deploy tasks --data-dir {folder}` says what is missing"
        )
    return Choice(tasks, left_out)


def with_adapters(config: Run) -> Choice:
    """The tasks of a list, or with ``all`` every task that the bundle has an adapter for.

    Raises:
        ArtifactError: there is no bundle, or no adapter in it.
        DataError: there is no such task.
    """
    if config.task != ALL:
        return _listed(config.task)
    bundle = Bundle.open(Path(config.bundle))
    there = {read_record(bundle, name).task for name in bundle.adapters()}
    if not there:
        raise ArtifactError(f"{bundle.path} has no adapters: train some with `aimc-deploy adapt --task all`")
    own = dict.fromkeys(sorted(there - set(TASKS)), "described in a file: name that file")
    return Choice(tuple(name for name in TASKS if name in there), own)


def _listed(text: str) -> Choice:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    for name in names:
        get_task(name)
    return Choice(names, {})


def _is_of_glue(task: str) -> bool:
    hub = TASKS[task].hub if task in TASKS else None
    return hub is not None and hub[0].endswith("/glue")


def adapt_each(
    config: Run, tasks: tuple[str, ...], *, overwrite: bool = False, progress: Progress | None = None
) -> Iterator[adapt.AdaptResult]:
    """An adapter for each task, on the same base.

    What is finished is kept, and what was interrupted goes on.

    Raises:
        ConfigError: the settings are for one adapter alone.
    """
    _each_its_own(config, "adapt.name (--name)", config.adapt.name)
    _each_its_own(config, "adapt.start_from (--start-from)", config.adapt.start_from)
    for task in tasks:
        one = config.model_copy(update={"task": task})
        yield adapt.run(one, resume=None, existing="replace" if overwrite else "keep", progress=progress)


def evaluate_each(
    config: Run, tasks: tuple[str, ...], *, progress: Progress | None = None
) -> list[evaluate.EvaluateResult]:
    """All adapters of each task; results that are there for the same request are kept.

    Raises:
        ConfigError: the settings are for one task alone.
    """
    if config.evaluate.adapters:
        raise ConfigError(
            f"evaluate.adapters (--adapter) is for one task, not for '{config.task}': leave it out, or name "
            "one task"
        )
    return [
        evaluate.run(config.model_copy(update={"task": task}), keep=True, progress=progress) for task in tasks
    ]


def _each_its_own(config: Run, what: str, name: str | None) -> None:
    if name is not None and "{task}" not in name:
        raise ConfigError(
            f"{what}: '{name}' cannot be the same for each of '{config.task}': write {{task}} for the task's "
            "name, or leave it out"
        )


@dataclass(frozen=True)
class Line:
    """One adapter over time: means over chips of its task's own metric, and without hardware."""

    task: str
    metric: str
    adapter: str
    digital: float
    means: tuple[float, ...]


@dataclass(frozen=True)
class Overview:
    """Results of several tasks side by side.

    Attributes:
        average: means over the tasks of GLUE, of the adapters that are named like their task; None where
            there are fewer than two.
    """

    times: tuple[str, ...]
    lines: tuple[Line, ...]
    average: Line | None


def overview(results: list[Results]) -> Overview:
    """One table of evaluations at the same times."""
    lines: list[Line] = []
    times: tuple[str, ...] = ()
    for part in results:
        own = [found for found in summarise(part) if found.metric == part.metric]
        means = {(found.adapter, found.time): found.mean for found in own}
        times = tuple(part.settings["times"])
        lines += [
            Line(
                part.task,
                part.metric,
                baseline.adapter,
                baseline.metrics[part.metric],
                tuple(means[baseline.adapter, time] for time in times),
            )
            for baseline in part.baselines
        ]
    glue = [line for line in lines if line.adapter == line.task and _is_of_glue(line.task)]
    average = None
    if len(glue) > 1:
        columns = zip(*((line.digital, *line.means) for line in glue), strict=True)
        digital, *means = (sum(column) / len(glue) for column in columns)
        average = Line("GLUE", "average", f"{len(glue)} tasks", digital, tuple(means))
    return Overview(times, tuple(lines), average)
