"""The points of a sweep: from its file to one checked configuration each, and what makes two the same."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from aimc_deploy.config.load import merge, override, read_recipe, under
from aimc_deploy.config.mistakes import checked
from aimc_deploy.config.model import digest_of
from aimc_deploy.config.run import Run, Source
from aimc_deploy.config.sweep import Sweep
from aimc_deploy.config.yaml_file import Document, Key, read_yaml
from aimc_deploy.errors import AimcError, ConfigError, ModelError
from aimc_deploy.models.bundled import BUNDLED
from aimc_deploy.tasks.data import data_files
from aimc_deploy.tasks.registry import Task, get_task

ROWS = 1
"""To be counted up when a row's meaning changes, so that none of another version is taken for one of ours."""

CHECKPOINT_FILES = (".json", ".txt", ".model", ".safetensors", ".bin")
# What of the hardware no tile map depends on.
_NO_PLAN = {
    *("name", "description", "chip", "cluster", "dac", "adc", "faults"),
    *("output_noise", "drift_compensation", "read_noise_per"),
}


@dataclass(frozen=True)
class Point:
    """One point.

    Attributes:
        number: from 1, in the order of the file.
        swept: what it differs in, as the file says it.
        key: SHA-256 of everything its row depends on: settings, data, checkpoint.
        group: of what it can share with others: base and adapter, or the tile map.
    """

    number: int
    swept: Mapping[str, Any]
    config: Run
    key: str
    group: str

    @property
    def label(self) -> str:
        """Short words for an error or a list."""
        return f"point {self.number} ({', '.join(f'{key}={value}' for key, value in self.swept.items())})"


@dataclass(frozen=True)
class SweepFile:
    """A sweep's file, read and checked; ``layers`` are the settings that all points share."""

    sweep: Sweep
    layers: tuple[Document, ...]
    recipe: Path | None
    places: Mapping[Key, str]

    def grid(self) -> list[Point]:
        """The points of its grid, the last key running fastest, and those that are listed.

        Raises:
            ConfigError: every mistake of every point at once.
        """
        sweep = self.sweep
        found: list[dict[str, tuple[Any, Key]]] = []
        if sweep.grid:
            numbered = [list(enumerate(values)) for values in sweep.grid.values()]
            for values in itertools.product(*numbered):
                chosen = zip(sweep.grid, values, strict=True)
                found.append({key: (value, ("grid", key, at)) for key, (at, value) in chosen})
        for at, point in enumerate(sweep.points):
            found.append({key: (value, ("points", at, key)) for key, value in point.items()})
        if not found:
            raise ConfigError("no grid and no points: search this with --search optuna --trials N")
        return self.points(found)

    def points(self, found: Sequence[Mapping[str, tuple[Any, Key]]], first: int = 1) -> list[Point]:
        """Points with these values, each with the place in the file that it comes from.

        Raises:
            ConfigError: every mistake of every point at once.
        """
        points, mistakes = [], {}
        for number, chosen in enumerate(found, first):
            swept = {key: value for key, (value, _) in chosen.items()}
            label = Point(number, swept, Run(), "", "").label
            layers = [
                under(tuple(key.split(".")), value, _below(self.places, place))
                for key, (value, place) in chosen.items()
            ]
            try:
                config = merge([*self.layers, *layers], self.recipe)
                key, group = _digests(config, self.sweep.accuracy)
                points.append(Point(number, swept, config, key, group))
            except AimcError as error:
                for line in str(error).splitlines():
                    mistakes.setdefault(line, label)
        if mistakes:
            raise ConfigError("\n".join(f"{label}: {line}" for line, label in mistakes.items()))
        return points


def read_sweep(
    path: Path, settings: Iterable[str] = (), executor: Mapping[str, Any] | None = None
) -> SweepFile:
    """Read a sweep's file.

    Args:
        settings: ``KEY=VALUE`` for all points, over the file's own.
        executor: keys of an executor, over the file's own.

    Raises:
        ConfigError: it or its recipe cannot be read, or every mistake in it at once.
    """
    document = read_yaml(path)
    if not isinstance(document.data, dict):
        raise ConfigError(f"{path}: a sweep is a mapping of keys to values: recipe, set, grid, points")
    data = {**document.data, "executor": _executor(document.data.get("executor"), executor or {})}
    sweep = checked(Sweep, data, document.places)
    own = [override(text) for text in settings]
    swept = {*sweep.grid, *sweep.search, *(key for point in sweep.points for key in point)}
    for text in settings:
        key = text.partition("=")[0].strip()
        if key in swept:
            raise ConfigError(f"--set {text}: {path} sweeps {key}: take it out there, or leave it out here")
    recipe = None if sweep.recipe is None else path.parent / sweep.recipe
    fixed = [
        under(tuple(key.split(".")), value, _below(document.places, ("set", key)))
        for key, value in sweep.set.items()
    ]
    layers = ([] if recipe is None else [read_recipe(recipe)]) + fixed + own
    return SweepFile(sweep, tuple(layers), recipe, document.places)


def _executor(given: Any, changes: Mapping[str, Any]) -> Any:
    """The executor of the file with changes; another kind replaces the whole."""
    if given is not None and not isinstance(given, dict):
        return given  # a mistake, told where all are
    own = {"kind": "local", **(given or {})}
    if changes.get("kind", own["kind"]) != own["kind"]:
        own = {}
    return {**own, **changes}


def _below(places: Mapping[Key, str], key: Key) -> dict[Key, str]:
    """Where a value and all that is in it stand."""
    return {other[len(key) :]: place for other, place in places.items() if other[: len(key)] == key}


def _digests(config: Run, accuracy: bool) -> tuple[str, str]:
    """The key of a point and that of its group.

    Paths, the device and the executor do not count, and what is behind the paths does.
    """
    task = _one_task(config)
    source = {**config.source.essentials(("path",)), "files": list(_checkpoint(config.source, accuracy))}
    base = {
        **config.essentials(_ELSEWHERE),
        "source": source,
        "hardware": config.hardware.essentials(("name", "description")),
        "adapt": config.adapt.essentials(_NO_TRAINING),
        "task": task.identity(),
    }
    if not accuracy:
        plan = {"source": source, "hardware": config.hardware.essentials(_NO_PLAN)}
        return _digest(base, False), _digest(plan, False)
    files = data_files(task, None if config.data_dir is None else Path(config.data_dir))
    base["data"] = [_sha256(file) for file in files]
    return _digest({**base, "evaluate": config.evaluate.essentials(("gate",))}, True), _digest(base, True)


# Told by what they stand for, or of no influence on a row.
_ELSEWHERE = {
    *("bundle", "device", "executor", "data_dir"),
    *("task", "source", "hardware", "adapt", "evaluate"),
}
_NO_TRAINING = {"report_to"}  # who is told of it


def _digest(content: dict[str, Any], accuracy: bool) -> str:
    return digest_of({"rows": ROWS, "accuracy": accuracy, **content})[:32]


def _one_task(config: Run) -> Task:
    """The task of a point.

    Raises:
        ConfigError: several are meant.
        DataError: there is no such task.
    """
    if config.task == "all" or "," in config.task:
        raise ConfigError(
            f"task: a point has one task, not '{config.task}': sweep them, with `task: [a, b]` under grid"
        )
    return get_task(config.task)


def _checkpoint(source: Source, weights: bool) -> Iterator[tuple[str, str]]:
    """Names and SHA-256 of the files of a checkpoint; of one on the hub only its name is known.

    Args:
        weights: count the weights and the tokenizer too, not only the configuration.

    Raises:
        ModelError: the folder has no configuration.
    """
    folder = BUNDLED if source.path is None else Path(source.path).expanduser()
    if not folder.is_dir():
        yield "hub", str(source.path)
        return
    if not (folder / "config.json").is_file():
        raise ModelError(f"source.path: {folder} has no config.json: give a folder in Hugging Face layout")
    for file in sorted(folder.iterdir()):
        if file.suffix in CHECKPOINT_FILES and file.is_file() and (weights or file.name == "config.json"):
            yield file.name, _sha256(file)


def _sha256(path: Path) -> str:
    status = path.stat()
    return _sha256_of(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=10_000)
def _sha256_of(path: Path, changed_ns: int, size: int) -> str:
    """Of a file as it was when it was last changed."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1024**2):
            digest.update(chunk)
    return digest.hexdigest()
