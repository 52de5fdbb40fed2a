"""Steps that a crash cannot split: a whole bundle gets its name, or several parts of one are replaced.

What is to come is complete in a temporary folder first. A bundle that is overwritten is moved aside until
the new one has its name; if that never happens, whoever looks for it next moves it back. Parts of a bundle
are replaced once ``.pending.json`` names them: without that file nothing has happened, with it the step is
decided, and whoever opens the bundle next finishes it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from aimc_deploy.artifact.files import (
    LOCK,
    TEMPORARY,
    is_temporary,
    read_json,
    reporting,
    sync_file,
    sync_folder,
    write_json,
)
from aimc_deploy.artifact.manifest import MANIFEST, is_file_name, is_folder_name
from aimc_deploy.errors import ArtifactError

PENDING = ".pending.json"
LOCK_WAIT_S = 5.0  # a commit is a few renames; whoever holds the lock longer is stuck
_POLL_S = 0.02


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Be the only process that changes the bundle at ``root``.

    Raises:
        ArtifactError: another process keeps the lock, or the folder cannot be written.
    """
    deadline = time.monotonic() + LOCK_WAIT_S
    with reporting(f"{root} cannot be locked for writing"):
        while (descriptor := _try_lock(root / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)) is None:
            if time.monotonic() > deadline:
                raise ArtifactError(
                    f"another aimc-deploy process is writing to {root}: wait for it to end and run this again"
                )
            time.sleep(_POLL_S)
    try:
        yield
    finally:
        os.close(descriptor)


def _try_lock(path: Path, flags: int) -> int | None:
    """A descriptor that holds the lock of ``path``, or None while somebody else does."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # While we waited, the bundle may have been replaced by another one.
        if os.path.samestat(os.fstat(descriptor), os.lstat(path)):
            return descriptor
    except OSError as error:
        if error.errno not in (errno.EWOULDBLOCK, errno.ENOENT):
            os.close(descriptor)
            raise
    os.close(descriptor)
    return None


@contextlib.contextmanager
def staging(parent: Path, prefix: str) -> Iterator[Path]:
    """A new folder ``parent/prefix...``, removed at the end unless it was renamed or is pending.

    Its lock tells it from one that a killed process left behind; see :func:`sweep`.
    """
    while True:
        folder = parent / f"{prefix}{secrets.token_hex(8)}"
        folder.mkdir()
        with contextlib.suppress(FileNotFoundError):
            descriptor = _try_lock(folder, os.O_RDONLY | os.O_DIRECTORY)
            if descriptor is not None:  # else another process took it for one left behind
                break
    try:
        yield folder
    finally:
        os.close(descriptor)
        if not (parent / PENDING).exists():
            shutil.rmtree(folder, ignore_errors=True)


def sweep(parent: Path, prefix: str) -> None:
    """Remove the temporary files and folders that killed processes left in ``parent``."""
    for entry in list(os.scandir(parent)):
        if not is_temporary(entry.name, prefix):
            continue
        if not entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                os.unlink(entry.path)
            continue
        with contextlib.suppress(OSError):
            descriptor = _try_lock(Path(entry.path), os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            if descriptor is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flush every file and folder below ``folder``, and ``folder`` itself."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(parent, name))
        sync_folder(Path(parent))


def install(staged: Path, root: Path, *, replace: bool) -> None:
    """Give a complete, flushed bundle the name ``root``; ``replace`` the one that may be there."""
    if not (replace and (root / MANIFEST).exists()):
        os.rename(staged, root)
        with reporting(f"{root} is written, but may not survive a power cut"):
            sync_folder(root.parent)
        return
    aside = root.with_name(f"{_aside(root)}{secrets.token_hex(8)}")
    with locked(root):
        os.rename(root, aside)
        try:
            os.rename(staged, root)
        except OSError:
            os.rename(aside, root)
            raise
        with reporting(f"{root} is written, but may not survive a power cut"):
            sync_folder(root.parent)
        # From here on it is a leftover, and no bundle to be moved back.
        discarded = root.with_name(f"{beside(root)}{secrets.token_hex(8)}")
        with contextlib.suppress(OSError):
            os.rename(aside, discarded)
    shutil.rmtree(discarded, ignore_errors=True)


def settle(path: Path) -> None:
    """Finish or undo what an interrupted process left of its step, waiting for one that still runs."""
    root = path.resolve()
    for aside in _asides(root) if not root.exists() else ():
        try:
            with locked(aside):
                if not root.exists():
                    os.rename(aside, root)
        except ArtifactError:
            if aside.exists():
                raise
    if (path / PENDING).exists():
        with locked(path):
            finish(path)
    _tidy(path)


def _tidy(root: Path) -> None:
    """Remove what killed processes left in a bundle, unless somebody is changing it.

    A process may be killed when its last write is done but for its temporary folder, and nothing be written
    any more.
    """
    with contextlib.suppress(OSError):
        if not any(is_temporary(name, TEMPORARY) for name in os.listdir(root)):
            return
        descriptor = _try_lock(root / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        if descriptor is not None:
            try:
                if not (root / PENDING).exists():  # else a folder that nobody holds may be needed
                    sweep(root, TEMPORARY)
            finally:
                os.close(descriptor)


def is_settled(path: Path) -> bool:
    """Whether no step is under way."""
    return not (path / PENDING).exists() and not _asides(path.resolve())


def sweep_beside(path: Path) -> None:
    """Remove what interrupted processes that wrote the whole bundle left beside it."""
    root = path.resolve()
    sweep(root.parent, beside(root))
    asides = _asides(root)  # listed before the bundle is seen to be there, so that they are not it
    if root.exists():
        for aside in asides:
            shutil.rmtree(aside, ignore_errors=True)


def beside(root: Path) -> str:
    """How the names of unfinished bundles beside ``root`` begin."""
    return f".{root.name}{TEMPORARY}"


def _aside(root: Path) -> str:
    return f".{root.name}.old-"


def _asides(root: Path) -> list[Path]:
    if not root.parent.is_dir():
        return []
    return sorted(entry for entry in root.parent.iterdir() if is_temporary(entry.name, _aside(root)))


def commit(root: Path, staged: Path, targets: Sequence[str]) -> None:
    """Put ``staged/0`` in the place of ``root/targets[0]``, and so on: all of them or none.

    The lock must be held, and ``staged`` must be flushed to the disk.
    """
    write_json(root / PENDING, {"staged": staged.name, "targets": list(targets)})
    finish(root)


def finish(root: Path) -> None:
    """Finish the step that ``.pending.json`` tells of, if there is one. The lock must be held.

    Raises:
        ArtifactError: the file tells of something no commit ever writes; nothing is touched then.
    """
    if not (root / PENDING).exists():
        return
    staged, targets = _read_journal(root)
    with reporting(f"{root}: an interrupted write cannot be finished"):
        for index, target in enumerate(targets):
            new, place = staged / str(index), root / target
            if not os.path.lexists(new):  # renamed before the interruption
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.is_dir():
                os.rename(place, staged / f"{index}.old")
            os.replace(new, place)
        for folder in _folders(root, targets):
            sync_folder(folder)
        os.unlink(root / PENDING)
        sync_folder(root)
    shutil.rmtree(staged, ignore_errors=True)


def _read_journal(root: Path) -> tuple[Path, list[str]]:
    match read_json(root / PENDING, max_bytes=1024**2):
        case {"staged": str(name), "targets": [*targets]} if is_temporary(name) and all(
            isinstance(target, str) and _is_target(target) for target in targets
        ):
            folders = {root / name, *_folders(root, targets)} - {root}
            # A link in the place of a folder would lead the renames out of the bundle.
            if (root / name).is_dir() and not any(map(os.path.islink, folders)):
                return root / name, targets
    raise ArtifactError(
        f"{root / PENDING} does not belong to this bundle: delete it, then check the bundle with "
        "`aimc-deploy verify`"
    )


def _folders(root: Path, targets: Sequence[str]) -> list[Path]:
    """``root`` and every folder between it and the targets."""
    return sorted({root / folder for target in targets for folder in Path(target).parents})


def _is_target(name: str) -> bool:
    return name == MANIFEST or is_file_name(name) or is_folder_name(name)
