"""Where the data of a task is, and its two splits in memory.

The reviews come with the package; with a data folder, only files in it are read; without one, the hub is
asked. What is missing is an error: nothing ever takes its place.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib import resources
from pathlib import Path

from aimc_deploy.errors import DataError
from aimc_deploy.tasks.registry import Task
from aimc_deploy.tasks.rows import column_rows, readers
from aimc_deploy.tasks.tables import Labels, Table, read_table, to_table


@dataclass(frozen=True)
class Split:
    """Labelled texts, in the order of their source.

    Attributes:
        texts: one list for each text column of the task, all of the same length.
        labels: class numbers, scores, or lists of answers: a text and where it begins.
        source: where they come from, for people.
        sha256: of texts and labels in this order, whatever format they were read from.
    """

    texts: tuple[list[str], ...]
    labels: Labels
    source: str
    sha256: str

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class TaskData:
    """What a task is learned from and what it is measured on.

    Attributes:
        second: the other dev set of a task that has one; None where its file is not there.
    """

    train: Split
    dev: Split
    second: Split | None = None


def load_data(task: Task, data_dir: Path | None) -> TaskData:
    """Both splits of a task.

    A split may hold one class only; the metrics are defined for that too.

    Args:
        data_dir: a folder with the task's files, or with its GLUE folder (``SST-2``), or with ``glue/SST-2``.

    Raises:
        DataError: the data is missing (and how to get it) or malformed (file and line).
    """
    if task.files is not None:
        if data_dir is not None:
            raise DataError(
                f"the file that describes task '{task.name}' names its data, so that none is read from "
                f"{data_dir}: leave out --data-dir"
            )
        train, dev = task.files
        return TaskData(_from_file(task, train), _from_file(task, dev))
    if task.hub is None:
        if data_dir is not None:
            raise DataError(
                f"task '{task.name}' comes with its own data and reads none from {data_dir}: leave out "
                "--data-dir, or use --task sst2 for sentences and labels of your own"
            )
        return TaskData(_bundled(task, "train"), _bundled(task, "dev"))
    if data_dir is not None:
        train, dev = _find(task, data_dir)
        second = _pick(dev.parent, task, task.second_files)
        return TaskData(
            _from_file(task, train),
            _from_file(task, dev),
            None if second is None else _from_file(task, second),
        )
    return TaskData(*_from_hub(task, task.hub))


def data_files(task: Task, data_dir: Path | None) -> tuple[Path, ...]:
    """The files that :func:`load_data` would read, which nobody has read yet; none where the hub is asked.

    Raises:
        DataError: they are missing.
    """
    if task.files is not None:
        return task.files
    if task.hub is None:
        folder = Path(str(resources.files("aimc_deploy"))) / "data" / task.folder
        return folder / "train.tsv", folder / "dev.tsv"
    if data_dir is None:
        return ()
    train, dev = _find(task, data_dir)
    second = _pick(dev.parent, task, task.second_files)
    return (train, dev) if second is None else (train, dev, second)


def where(task: Task, data_dir: Path | None) -> str:
    """For a listing: ``bundled``, the folder of the files, or ``missing: `` and how to get them.

    Neither reads a file nor asks the hub.
    """
    if task.hub is None:
        return "bundled"
    if data_dir is None:
        return f"missing: taken from the hub ({' '.join(task.hub)}) when used, or from --data-dir"
    try:
        return str(_find(task, data_dir)[0].parent)
    except DataError as error:
        return f"missing: {error}"


def sample(split: Split, n: int, seed: int) -> Split:
    """``n`` samples without replacement: the first ``n`` of an order that only ``seed`` and the size fix.

    More samples of the same seed begin with the fewer.

    Raises:
        DataError: ``n`` is less than 1 or more than there are.
    """
    if not 1 <= n <= len(split):
        raise DataError(
            f"{n} samples asked for, but {split.source} has {len(split)}: ask for 1 to {len(split)}"
        )

    def rank(place: int) -> bytes:
        return hashlib.sha256(f"sample {seed} {place}".encode()).digest()

    chosen = sorted(range(len(split)), key=rank)[:n]
    return _split(
        tuple([column[place] for place in chosen] for column in split.texts),
        [split.labels[place] for place in chosen],
        f"{split.source} ({n} of {len(split)}, seed {seed})",
    )


def _split(texts: tuple[list[str], ...], labels: Labels, source: str) -> Split:
    digest = hashlib.sha256()
    for row in zip(*texts, labels, strict=True):
        digest.update(json.dumps(row).encode() + b"\n")
    return Split(texts, labels, source, digest.hexdigest())


def _from_table(table: Table, source: str) -> Split:
    note = f" ({table.left_out} damaged left out)" if table.left_out else ""
    return _split(table.texts, table.labels, source + note)


def _bundled(task: Task, name: str) -> Split:
    file = resources.files("aimc_deploy") / "data" / task.folder / f"{name}.tsv"
    if not file.is_file():
        raise DataError(f"{file} is missing: this installation is incomplete, install aimc-deploy again")
    with resources.as_file(file) as path:
        return _from_table(read_table(path, task), f"bundled {task.name} {name}")


def _from_file(task: Task, path: Path) -> Split:
    return _from_table(read_table(path, task), str(path))


def _from_hub(task: Task, hub: tuple[str, str]) -> list[Split]:
    """The splits through ``datasets``, which keeps what it has downloaded once."""
    splits = []
    for name in filter(None, (task.train_split, task.dev_split, task.second_split)):
        source = f"{' '.join(hub)} {name}"
        try:
            from datasets import load_dataset

            columns = load_dataset(*hub, split=name)[:]
        except Exception as error:  # a dozen libraries below may fail, each in its own way
            reason = str(error).partition("\n")[0] or type(error).__name__
            raise DataError(
                f"the data of task '{task.name}' is missing: the hub did not give {source} ({reason}); "
                f"connect to the network once, or give --data-dir FOLDER with {_expected(task)} in it or in "
                f"FOLDER/{task.folder}"
            ) from error
        splits.append(_from_table(to_table(column_rows(columns, source), task, source), source))
    return splits


def _find(task: Task, data_dir: Path) -> tuple[Path, Path]:
    """The train and the dev file, which lie in the same folder."""
    folders = (data_dir, data_dir / task.folder, data_dir / "glue" / task.folder)
    if not os.path.isdir(data_dir):
        raise DataError(f"--data-dir {data_dir} is not a folder: name the one that holds {_expected(task)}")
    lonely = None
    for folder in folders:
        train, dev = _pick(folder, task, task.train_files), _pick(folder, task, task.dev_files)
        if train and dev:
            return train, dev
        lonely = lonely or train or dev
    found = f"found only {lonely}" if lonely else "found neither"
    raise DataError(
        f"the data of task '{task.name}' is missing: {found} in {', '.join(map(str, folders))}; needed are "
        f"{_expected(task)} in the same folder"
    )


def _pick(folder: Path, task: Task, stems: Iterable[str]) -> Path | None:
    """The one file of a split, or None."""
    try:
        there = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror or error}): check --data-dir") from None
    patterns = [stem + ending for stem in stems for ending in readers(task)]
    found = [name for pattern in patterns for name in sorted(there) if fnmatchcase(name, pattern)]
    if len(found) > 1:
        raise DataError(
            f"{folder} has both {found[0]} and {found[1]}, and only one can count: remove the other"
        )
    return folder / found[0] if found else None


def _expected(task: Task) -> str:
    """The file names that are looked for."""
    (train, *other_train), (dev, *other_dev) = task.train_files, task.dev_files
    first, *other_endings = readers(task)
    others = ", ".join((*other_train, *other_dev, *other_endings))
    return f"{train}{first} and {dev}{first} (also {others})"
