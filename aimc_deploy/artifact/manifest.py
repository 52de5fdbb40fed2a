"""The manifest of a bundle: where it comes from, and the name, size and SHA-256 of every file in it.

Names follow a fixed layout, so that no manifest can point outside its bundle or at a kind of file that
this package neither writes nor reads, such as a pickle.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from aimc_deploy.artifact.files import dump_json, load_json, open_regular, printable, write_json
from aimc_deploy.errors import ArtifactError

SCHEMA_VERSION = "1.0"
MANIFEST = "manifest.json"
TOOL = "aimc-deploy"
MAX_MANIFEST_BYTES = 4 * 1024**2
_SEAL = "manifest_sha256"

_PART = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_FILE = re.compile(
    r"(?:tiles|model)\.safetensors"
    r"|README\.md"
    r"|[a-z0-9_][a-z0-9_.]{0,127}\.(?:json|txt|model)"  # ours, and those of any tokenizer
    rf"|adapters/{_PART}/{_PART}\.(?:safetensors|json|md|txt)"
    rf"|results/{_PART}\.(?:json|csv|svg|png)"
    rf"|report/{_PART}\.(?:html|json|csv|svg|png|xml|md|txt)"
)
_FOLDER = re.compile(rf"adapters/{_PART}|results|report")
_Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def is_file_name(name: str) -> bool:
    """Whether a bundle may hold a file of that name beside its manifest."""
    return name != MANIFEST and ".." not in name and _FILE.fullmatch(name) is not None


def is_folder_name(name: str) -> bool:
    """Whether a bundle may hold a folder of that name which is replaced as a whole."""
    return ".." not in name and _FOLDER.fullmatch(name) is not None


class _Kept(BaseModel):
    """Frozen; fields that a later minor version added are kept when the manifest is written again."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class FileEntry(_Kept):
    """One file: its SHA-256 in hexadecimal and its size in bytes."""

    sha256: _Digest
    size: Annotated[int, Field(ge=0)]


class Manifest(_Kept):
    """What ``manifest.json`` holds.

    Attributes:
        created: ISO 8601, UTC; the only timestamp in a bundle.
        libraries: version of every library that took part.
        source: where the model comes from.
        config_sha256: of the resolved configuration.
        hardware_digest, mapping_digest: of the hardware, and of the part of it that fixes the tiles.
        base_sha256: of what the tiles were asked to hold.
        required_features: what a reader must understand; none are defined in this version.
        files: every file but the manifest, by its name relative to the bundle.
    """

    schema_version: str = SCHEMA_VERSION
    tool: str = TOOL
    tool_version: str
    created: str
    libraries: dict[str, str]
    source: dict[str, Any]
    config_sha256: _Digest
    hardware_digest: _Digest
    mapping_digest: _Digest
    seed: Annotated[int, Field(ge=0)]
    base_sha256: _Digest
    required_features: list[str] = []
    files: dict[str, FileEntry]

    @field_validator("required_features")
    @classmethod
    def _known_features(cls, features: list[str]) -> list[str]:
        if features:
            raise ValueError(f"this version cannot do what the bundle needs: {', '.join(features)}")
        return features

    @field_validator("files")
    @classmethod
    def _names(cls, files: dict[str, FileEntry]) -> dict[str, FileEntry]:
        folded: dict[str, str] = {}
        for name in files:
            if not is_file_name(name):
                raise ValueError(f"{name!r} is no file name of a bundle")
            other = folded.setdefault(name.lower(), name)
            if other != name:
                raise ValueError(f"{other!r} and {name!r} are one file where case does not count")
        return files


def write_manifest(path: Path, manifest: Manifest) -> Manifest:
    """Write a manifest, sealed by a SHA-256 of all its fields; return it as a reader will see it.

    Raises:
        ArtifactError: no reader would take it, or the file cannot be written.
    """
    content = manifest.model_dump(mode="json")
    seen = validated(Manifest, content, MANIFEST)
    write_json(path, {**content, _SEAL: _seal(content)})
    return seen


def read_manifest(root: Path) -> Manifest:
    """The manifest of the bundle at ``root``.

    Raises:
        ArtifactError: missing, no valid JSON, from a newer major version, changed, or a field is wrong.
    """
    where = root / MANIFEST
    with open_regular(root, MANIFEST) as stream:
        content = load_json(stream, where, MAX_MANIFEST_BYTES)
    check_version(content, where)
    if content.pop(_SEAL, None) != _seal(content):
        raise ArtifactError(
            f"{where} was changed: its {_SEAL} does not fit; copy the bundle anew or map again"
        )
    return validated(Manifest, content, where)


def _seal(content: Any) -> str:
    return hashlib.sha256(dump_json(content, MANIFEST).encode()).hexdigest()


def check_version(content: Any, where: Path | str) -> None:
    """Refuse a document whose ``schema_version`` this package cannot read."""
    version = content.get("schema_version") if isinstance(content, dict) else None
    parts = re.fullmatch(r"([1-9][0-9]{0,3})\.[0-9]{1,4}", version) if isinstance(version, str) else None
    if parts is None:
        raise ArtifactError(
            f'{where} has no schema_version such as "{SCHEMA_VERSION}": it is damaged, or not from {TOOL}'
        )
    major = SCHEMA_VERSION.split(".")[0]
    if parts[1] != major:
        raise ArtifactError(
            f"{where} has schema version {version} and this {TOOL} reads {major}.x: upgrade {TOOL}"
        )


_Model = TypeVar("_Model", bound=BaseModel)


def validated(model: type[_Model], content: Any, where: Path | str) -> _Model:
    """``content``, as read from JSON, as a model; an ArtifactError names the field that is wrong."""
    try:
        return model.model_validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the document"
        problem = printable(f"{field}: {first['msg'].removeprefix('Value error, ')}")
        raise ArtifactError(f"{where}: {problem}") from None
