"""A bundle: the folder that ``map`` writes and that ``adapt``, ``evaluate`` and ``report`` add to.

Its content is what the manifest says, file by file. It changes in whole steps: a reader finds the old
state or the new one, whatever happens to the writer. Its card changes with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import SafetensorError
from torch import Tensor

from aimc_deploy.artifact.card import CARD, card
from aimc_deploy.artifact.contents import check_free, entries_of, entry_of, layout_problems
from aimc_deploy.artifact.files import (
    TEMPORARY,
    load_json,
    open_regular,
    printable,
    read_json,
    reporting,
    sha256,
    write_atomic,
)
from aimc_deploy.artifact.journal import (
    beside,
    commit,
    finish,
    install,
    is_settled,
    locked,
    settle,
    staging,
    sweep,
    sweep_beside,
    sync_tree,
)
from aimc_deploy.artifact.manifest import (
    MANIFEST,
    FileEntry,
    Manifest,
    is_file_name,
    is_folder_name,
    read_manifest,
    write_manifest,
)
from aimc_deploy.artifact.tensors import load_tensors
from aimc_deploy.errors import ArtifactError
from aimc_deploy.version import __version__

Writer = Callable[[Path], None]
"""Puts files into the folder it is given."""

PATIENCE_S = 10.0
"""How long a reader waits for a bundle that others write to without a break."""

_CHANGED = "was changed: its SHA-256 is not the one in the manifest"
_REMEDY = "copy the bundle anew, or make it again with `aimc-deploy map`"
# What was already checked in this process: one version of one file, and the SHA-256 it must have.
_verified: set[tuple[int | str, ...]] = set()


class Bundle:
    """An open bundle.

    Attributes:
        path: the folder, as it was given.
        manifest: as it was when the bundle was opened, or after this object's last write.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(
        cls,
        path: Path,
        write: Writer,
        *,
        libraries: Mapping[str, str],
        source: Mapping[str, Any],
        config_sha256: str,
        hardware_digest: str,
        mapping_digest: str,
        seed: int,
        base_sha256: str,
        overwrite: bool = False,
    ) -> Bundle:
        """Write a new bundle; it appears under its name when it is complete.

        Args:
            overwrite: replace the bundle that is there; any other folder is left alone.

        Raises:
            ArtifactError: something is there already, a file has a name no bundle may hold, or the disk
                does not take it. What was there is unchanged.
        """
        path = Path(path)
        root = path.resolve()
        with reporting(f"{path} cannot be written"):
            root.parent.mkdir(parents=True, exist_ok=True)
            settle(path)
            check_free(path, overwrite)
            sweep_beside(path)
            with staging(root.parent, beside(root)) as staged:
                _fill(staged, write)
                manifest = Manifest(
                    tool_version=__version__,
                    created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
                    libraries=dict(libraries),
                    source=dict(source),
                    config_sha256=config_sha256,
                    hardware_digest=hardware_digest,
                    mapping_digest=mapping_digest,
                    seed=seed,
                    base_sha256=base_sha256,
                    files=entries_of(staged),
                )
                manifest = _with_card(manifest, lambda name: read_json(staged / name), staged / CARD)
                manifest = write_manifest(staged / MANIFEST, manifest)
                sync_tree(staged)
                check_free(path, overwrite)  # writing took a while
                install(staged, root, replace=overwrite)
        return cls(path, manifest)

    @classmethod
    def open(cls, path: Path, *, check: bool = True) -> Bundle:
        """Open a bundle, after finishing a write that was interrupted.

        Args:
            check: refuse a bundle with missing, extra or linked files, or files of another size; their
                content is checked when it is first used. False is for :meth:`verify`.

        Raises:
            ArtifactError: there is no bundle, or it is damaged or from a newer version.
        """
        path = Path(path)
        with reporting(f"{path} cannot be read"):
            patience = time.monotonic() + PATIENCE_S
            while True:
                settle(path)
                before = _stamp(path)
                try:
                    return cls._open_as_it_is(path, check)
                except (ArtifactError, OSError):
                    # Another process may have written while we read; if not, the bundle is damaged.
                    if (_stamp(path) == before and is_settled(path)) or time.monotonic() > patience:
                        raise

    @classmethod
    def _open_as_it_is(cls, path: Path, check: bool) -> Bundle:
        if _stamp(path) is None:
            raise ArtifactError(
                f"{path} is no bundle (it has no {MANIFEST}): make one with `aimc-deploy map`, "
                "or name another folder"
            )
        bundle = cls(path, read_manifest(path))
        problems = bundle._problems() if check else []
        if problems:
            shown = "; ".join(problems[:5]) + (f"; {len(problems) - 5} more" if len(problems) > 5 else "")
            raise ArtifactError(f"{path} is damaged: {shown}; {_REMEDY}")
        return bundle

    @property
    def work(self) -> Path:
        """See :func:`work_folder`."""
        return work_folder(self.path)

    def file(self, name: str) -> Path:
        """Path of a file whose content is what the manifest says; checked once per process.

        Raises:
            ArtifactError: there is no such file, it was changed, or it is a link.
        """
        with self._open_verified(name):
            return self.path / name

    def read_json(self, name: str) -> Any:
        """Content of a JSON file; raises as :meth:`file` does."""
        with self._open_verified(name) as stream:
            return load_json(stream, self.path / name)

    def read_tensors(self, name: str) -> dict[str, Tensor]:
        """Tensors of a safetensors file by name; raises as :meth:`file` does."""
        with self._open_verified(name) as stream:
            return load_tensors(stream, self.path / name)

    def adapters(self) -> tuple[str, ...]:
        """Names of the adapters, sorted."""
        return tuple(
            sorted({name.split("/")[1] for name in self.manifest.files if name.startswith("adapters/")})
        )

    def verify(self) -> list[str]:
        """Everything that is wrong with the files: missing, changed, extra, links. Empty means none."""
        return self._problems(hashes=True)

    def put(self, folder: str, write: Writer) -> None:
        """Replace a folder, such as ``adapters/sst2``, by what ``write`` puts into the one it is given.

        Raises:
            ArtifactError: a name is not allowed, another process is writing, or the disk does not take
                it. The bundle is as before, unless the message tells of an interrupted write.
        """
        if not is_folder_name(folder):
            raise ArtifactError(f"{folder!r} is no folder of a bundle: adapters/NAME, results or report is")
        with self._step() as staged:
            new = staged / "0"
            new.mkdir()
            _fill(new, write)
            self._commit(staged, [folder], entries_of(new, f"{folder}/"))

    def put_files(self, files: Mapping[str, bytes]) -> None:
        """Write single files, such as ``results/sst2.json``, all of them or none; raises as :meth:`put`."""
        for name in files:
            if not is_file_name(name):
                raise ArtifactError(f"{name!r} is no file name of a bundle, such as results/NAME.json")
        with self._step() as staged:
            entries = {}
            for index, (name, data) in enumerate(files.items()):
                write_atomic(staged / str(index), data)
                entries[name] = entry_of(staged / str(index))
            self._commit(staged, list(files), entries)

    @contextlib.contextmanager
    def _step(self) -> Iterator[Path]:
        """A folder for what is going to be put into the bundle."""
        with reporting(f"{self.path} cannot be written"):
            with locked(self.path):
                finish(self.path)
                sweep(self.path, TEMPORARY)
            with staging(self.path, TEMPORARY) as staged:
                yield staged

    def _commit(self, staged: Path, targets: list[str], entries: Mapping[str, FileEntry]) -> None:
        """Put ``staged/0``, ``staged/1``... in the place of ``targets``, with the manifest that fits."""
        sync_tree(staged)
        with locked(self.path):
            finish(self.path)
            current = read_manifest(self.path)  # another process may have added to it
            if current.base_sha256 != self.manifest.base_sha256:
                raise ArtifactError(
                    f"{self.path} was mapped again while this command ran: run it again on the new bundle"
                )
            kept = {
                name: entry
                for name, entry in current.files.items()
                if not any(name == target or name.startswith(f"{target}/") for target in targets)
            }
            changed = current.model_copy(update={"files": {**kept, **entries}})

            def read(name: str) -> Any:
                if name in entries:
                    return read_json(_place_of(name, staged, targets))
                return Bundle(self.path, changed).read_json(name)

            if CARD not in targets:
                described = _with_card(changed, read, staged / str(len(targets)))
                targets = [*targets, CARD] if described is not changed else targets
                changed = described
            changed = write_manifest(staged / str(len(targets)), changed)
            commit(self.path, staged, [*targets, MANIFEST])
        self.manifest = changed

    @contextlib.contextmanager
    def _open_verified(self, name: str) -> Iterator[BinaryIO]:
        entry = self.manifest.files.get(name)
        if entry is None:
            raise ArtifactError(f"{self.path} has no file {printable(name)}; see `aimc-deploy inspect`")
        with open_regular(self.path, name) as stream:
            now = os.fstat(stream.fileno())
            key = (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns, entry.sha256)
            if key not in _verified:
                if sha256(stream, self.path / name) != entry.sha256:
                    raise ArtifactError(f"{self.path / name} {_CHANGED}; {_REMEDY}")
                _verified.add(key)
                stream.seek(0)
            yield stream

    def _problems(self, *, hashes: bool = False) -> list[str]:
        problems = layout_problems(self.path, self.manifest.files)
        for name in sorted(self.manifest.files.keys() - problems) if hashes else ():
            with open_regular(self.path, name) as stream:
                if sha256(stream, self.path / name) != self.manifest.files[name].sha256:
                    problems[name] = _CHANGED
        return [f"{printable(name)} {problem}" for name, problem in sorted(problems.items())]


def work_folder(path: Path) -> Path:
    """The folder beside a bundle for what an interrupted command goes on from; it may not be there."""
    return companion(path, ".work")


def companion(path: Path, ending: str) -> Path:
    """What lies beside a bundle under its name and an ending."""
    path = path if path.name not in ("", "..") else path.resolve()  # "." has no name
    return path.with_name(f"{path.name}{ending}")


def _fill(folder: Path, write: Writer) -> None:
    try:
        write(folder)
    except SafetensorError as error:  # how safetensors says that the disk is full
        raise ArtifactError(f"{folder.parent} cannot be written: {error}") from None


def _with_card(manifest: Manifest, read: Callable[[str], Any], path: Path) -> Manifest:
    """The manifest with the card of what it lists, written to ``path``; itself where the card is the same."""
    text = card(manifest, read)
    if text is None or getattr(manifest.files.get(CARD), "sha256", None) == hashlib.sha256(text).hexdigest():
        return manifest
    write_atomic(path, text)
    return manifest.model_copy(update={"files": {**manifest.files, CARD: entry_of(path)}})


def _place_of(name: str, staged: Path, targets: list[str]) -> Path:
    """Where a new file of the bundle is before it is put into its place."""
    at = next(at for at, part in enumerate(targets) if name == part or name.startswith(f"{part}/"))
    return staged / str(at) / name.removeprefix(targets[at]).removeprefix("/")


def _stamp(root: Path) -> tuple[int, int] | None:
    """Changes whenever the manifest is written; None where there is none."""
    try:
        status = os.lstat(root / MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_ino, status.st_mtime_ns
