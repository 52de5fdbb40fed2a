"""What is in the folder of a bundle: how it differs from the manifest, and whether it may be overwritten."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from aimc_deploy.artifact.files import LOCK, defect, is_temporary, printable, read_json, sha256_file
from aimc_deploy.artifact.manifest import MANIFEST, MAX_MANIFEST_BYTES, TOOL, FileEntry, is_file_name
from aimc_deploy.errors import ArtifactError


def walk(root: Path, *, hidden: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    """Relative name and status of everything below ``root`` that is no folder; links are not followed.

    Args:
        hidden: also names that begin with a dot; the files of a bundle have none, and nothing reads them.
    """
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(root / prefix) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") and not hidden:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{prefix}{entry.name}/")
                else:
                    yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)


def entries_of(root: Path, prefix: str = "") -> dict[str, FileEntry]:
    """The manifest's entries for all files below ``root``, with ``prefix`` before their names.

    Raises:
        ArtifactError: a name is not allowed in a bundle, or a file is a link.
    """
    entries = {}
    for name, status in walk(root):
        problem = defect(status) or (None if is_file_name(prefix + name) else "is no file name of a bundle")
        if problem:
            raise ArtifactError(f"{printable(prefix + name)} {problem}: it cannot be part of a bundle")
        entries[prefix + name] = entry_of(root / name)
    return entries


def entry_of(path: Path) -> FileEntry:
    """The manifest's entry for a file."""
    return FileEntry(sha256=sha256_file(path), size=path.stat().st_size)


def layout_problems(root: Path, files: Mapping[str, FileEntry]) -> dict[str, str]:
    """What is wrong with each name: missing, not in the manifest, a link, or of another size."""
    found = dict(walk(root))
    found.pop(MANIFEST, None)
    problems = {}
    for name in sorted({*files, *found}):
        if name not in found:
            problems[name] = "is missing"
        elif name not in files:
            problems[name] = "is not in the manifest"
        elif (flaw := defect(found[name])) is not None:
            problems[name] = flaw
        elif found[name].st_size != files[name].size:
            problems[name] = f"has {found[name].st_size} bytes and not {files[name].size}"
    return problems


def check_free(path: Path, overwrite: bool) -> None:
    """Refuse to write over anything but nothing, or a bundle that may be overwritten."""
    if not os.path.lexists(path):
        return
    if not path.is_dir():
        raise ArtifactError(f"{path} is no folder: choose another OUT")
    if not any(path.iterdir()):
        return
    try:
        content = read_json(path / MANIFEST, MAX_MANIFEST_BYTES)
    except ArtifactError:
        content = None
    match content:
        case {"tool": str(tool), "files": dict(files)} if tool == TOOL:
            pass
        case _:
            raise ArtifactError(f"{path} exists and is no bundle: choose another OUT")
    if not overwrite:
        raise ArtifactError(f"{path} has a bundle already: choose another OUT or replace it with --overwrite")
    ours = {*files, MANIFEST, LOCK}
    extra = [name for name, _ in walk(path, hidden=True) if name not in ours]
    extra = [name for name in extra if not is_temporary(name.split("/")[0])]
    if extra:
        raise ArtifactError(
            f"{path} holds {printable(min(extra))}, which is not part of the bundle and would be lost: "
            "move it elsewhere or choose another OUT"
        )
