"""Files that are written whole or not at all, and read without trusting them.

Writing goes to a temporary file beside the target, is flushed to the disk and renamed. Reading refuses
links, devices and FIFOs, and turns every defect of a file into an :class:`ArtifactError` that names it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from aimc_deploy.errors import ArtifactError

LOCK = ".lock"
TEMPORARY = ".tmp-"  # how the name of every unfinished file or folder begins
MAX_JSON_BYTES = 64 * 1024**2
MAX_JSON_DEPTH = 64
MAX_JSON_ITEMS = 4_000_000  # the smallest takes 64 bytes as a Python object: 256 MiB
_CHUNK_BYTES = 1024**2


def is_temporary(name: str, prefix: str = TEMPORARY) -> bool:
    """Whether a name is one that this package gave to something unfinished, and nobody else."""
    return re.fullmatch(rf"{re.escape(prefix)}[0-9a-f]{{16}}", name) is not None


def printable(name: str) -> str:
    """A name that is safe to show: a hostile one may hold line ends, escapes or broken Unicode."""
    return name if name.isprintable() else ascii(name)


@contextlib.contextmanager
def reporting(what: str) -> Iterator[None]:
    """Turn an ``OSError`` inside the block into an ArtifactError "``what``: reason; what to do"."""
    try:
        yield
    except OSError as error:
        hint = ""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "; free some space and run the command again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            hint = "; make it writable for you or choose another place"
        raise ArtifactError(f"{what}: {error.strerror or error}{hint}") from error


def sync_folder(path: Path) -> None:
    """Flush a folder, so that the names in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Flush what somebody else wrote to a file."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that its name always stands for the old content or for all of the new.

    Raises:
        ArtifactError: it cannot be written; the old content is still there.
    """
    path = Path(path)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    with reporting(f"{path} cannot be written"):
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
            with open(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    with reporting(f"{path} is written, but may not survive a power cut"):
        sync_folder(path.parent)


def dump_json(content: Any, where: Path | str) -> str:
    """JSON text that is the same for the same content: sorted keys, indented, ended by a newline.

    Raises:
        ArtifactError: a number is not finite or a text is not Unicode.
    """
    try:
        text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        text.encode()
    except ValueError as error:
        raise ArtifactError(f"{where} cannot be written as JSON: {error}") from None
    return text


def write_json(path: Path, content: Any) -> None:
    """Write ``content`` as the JSON of :func:`dump_json`, atomically."""
    write_atomic(path, dump_json(content, path).encode())


def parse_json(data: bytes, where: Path | str) -> Any:
    """The content of JSON text, refusing whatever two readers could understand differently.

    Raises:
        ArtifactError: no UTF-8, no JSON, a key twice, a number that is not finite, or nested too deep.
    """
    if sum(data.count(mark) for mark in (b",", b"[", b"{")) > MAX_JSON_ITEMS:
        raise ArtifactError(f"{where} holds more than {MAX_JSON_ITEMS:,} items")
    try:
        content = json.loads(
            data.decode(), object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite
        )
        _check_depth(content)
    except RecursionError:
        raise ArtifactError(f"{where} is nested more than {MAX_JSON_DEPTH} levels deep") from None
    except ValueError as error:
        raise ArtifactError(f"{where} is no valid JSON: {error}") from None
    return content


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {twice!r} is there twice")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text} is not finite")
    return value


def _check_depth(content: Any) -> None:
    level = [content]
    for _ in range(MAX_JSON_DEPTH + 1):
        inner = [value for value in level if isinstance(value, (dict, list))]
        for value in level:
            if isinstance(value, str):
                value.encode()  # half a surrogate pair is no text: UnicodeEncodeError is a ValueError
        if not inner:
            return
        level = [
            part
            for value in inner
            for part in (itertools.chain(value, value.values()) if isinstance(value, dict) else value)
        ]
    raise ValueError(f"it is nested more than {MAX_JSON_DEPTH} levels deep")


def read_json(path: Path, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """The content of a JSON file; see :func:`parse_json` for what is refused.

    Raises:
        ArtifactError: also if the file is missing, a link, no regular file, or above ``max_bytes``.
    """
    path = Path(path)
    with open_regular(path.parent, path.name) as stream:
        return load_json(stream, path, max_bytes)


def load_json(stream: BinaryIO, where: Path | str, max_bytes: int = MAX_JSON_BYTES) -> Any:
    """:func:`read_json` of an open file."""
    with reporting(f"{where} cannot be read"):
        data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ArtifactError(f"{where} is larger than the {max_bytes:,} bytes allowed")
    return parse_json(data, where)


def sha256_file(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    path = Path(path)
    with open_regular(path.parent, path.name) as stream:
        return sha256(stream, path)


def sha256(stream: BinaryIO, where: Path | str) -> str:
    """:func:`sha256_file` of an open file, from where it stands to its end."""
    digest = hashlib.sha256()
    with reporting(f"{where} cannot be read"):
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def defect(status: os.stat_result) -> str | None:
    """Why a file is not to be trusted, or None for a regular file with one name."""
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "is no regular file"
    if status.st_nlink > 1:
        return "has a second name elsewhere (hard link)"
    return None


@contextlib.contextmanager
def open_regular(root: Path, name: str) -> Iterator[BinaryIO]:
    """Open ``root/name`` for reading; ``root`` is trusted, nothing below it is.

    Every folder on the way is opened without following links, so that no swap can lead elsewhere.

    Raises:
        ArtifactError: missing, a link anywhere below ``root``, a hard link, a device, a FIFO.
    """
    where = root / name
    *folders, last = name.split("/")
    with contextlib.ExitStack() as stack:
        with reporting(f"{where} cannot be read"):
            try:
                folder = _open_at(stack, str(root), os.O_DIRECTORY, None)
                for part in folders:
                    folder = _open_at(stack, part, os.O_DIRECTORY | os.O_NOFOLLOW, folder)
                # O_NONBLOCK: a FIFO without a writer would wait for ever.
                descriptor = _open_at(stack, last, os.O_NOFOLLOW | os.O_NONBLOCK, folder)
                problem = defect(os.fstat(descriptor))
            except OSError as error:
                if error.errno == errno.ENOENT:
                    raise ArtifactError(f"{where} is missing") from None
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise ArtifactError(f"{where} is a symbolic link or lies behind one") from None
                raise
        if problem:
            raise ArtifactError(f"{where} {problem}; put a copy of the file in its place")
        yield stack.enter_context(open(descriptor, "rb", closefd=False))


def _open_at(stack: contextlib.ExitStack, name: str, flags: int, folder: int | None) -> int:
    descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    stack.callback(os.close, descriptor)
    return descriptor
