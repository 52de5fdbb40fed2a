"""Which manifests are believed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_bundle import create, refusal, write_adapter

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import (
    MAX_MANIFEST_BYTES,
    FileEntry,
    Manifest,
    read_manifest,
    write_manifest,
)
from aimc_deploy.errors import ArtifactError

pytestmark = pytest.mark.usefixtures("no_flush")

LOOSE = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
ENTRY = {"sha256": "f" * 64, "size": 3}
GOOD: dict[str, Any] = {
    "schema_version": "1.0",
    "tool": "aimc-deploy",
    "tool_version": "0.1.0",
    "created": "2026-01-01T00:00:00+00:00",
    "libraries": {"torch": "2.13.0"},
    "source": {"path": "µ", "loss": 0.5, "revision": None},
    "config_sha256": "a" * 64,
    "hardware_digest": "b" * 64,
    "mapping_digest": "c" * 64,
    "seed": 0,
    "base_sha256": "d" * 64,
    "required_features": [],
    "files": {"config.json": ENTRY},
}


def save(root: Path, content: Any, **changes: Any) -> None:
    """Write a manifest with the seal that fits, computed here and not by the code under test."""
    if isinstance(content, dict):
        content = {**content, **changes}
        text = json.dumps(content, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
        content["manifest_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    (root / "manifest.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_manifest_is_what_the_document_says(tmp_path: Path) -> None:
    save(tmp_path, GOOD)
    assert read_manifest(tmp_path).model_dump(mode="json") == GOOD


def test_a_written_manifest_is_sealed_and_read_back(tmp_path: Path) -> None:
    manifest = Manifest.model_validate(GOOD)
    assert write_manifest(tmp_path / "manifest.json", manifest) == manifest
    assert read_manifest(tmp_path) == manifest
    written = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    save(tmp_path, GOOD)
    assert written == json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("field", GOOD)
def test_a_changed_or_lost_field_breaks_the_seal(tmp_path: Path, field: str) -> None:
    save(tmp_path, GOOD)
    sealed = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    changed = {**sealed, field: "1.1" if field == "schema_version" else [1]}
    lost = {name: value for name, value in sealed.items() if name != field}
    for content in (changed, lost):
        (tmp_path / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
        with pytest.raises(ArtifactError, match=r"manifest\.json (was changed|has no schema_version)"):
            read_manifest(tmp_path)


@pytest.mark.parametrize("seal", [None, "", "a" * 64, 1, []])
def test_a_missing_or_wrong_seal_is_refused(tmp_path: Path, seal: object) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({**GOOD, "manifest_sha256": seal}), encoding="utf-8")
    with pytest.raises(
        ArtifactError, match="its manifest_sha256 does not fit; copy the bundle anew or map again"
    ):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(GOOD), encoding="utf-8")
    with pytest.raises(ArtifactError, match="its manifest_sha256 does not fit"):
        read_manifest(tmp_path)


def test_every_byte_that_is_changed_or_lost_is_noticed_or_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    good = write_manifest(path, Manifest.model_validate(GOOD))
    data = path.read_bytes()
    harmless = 0
    for place in range(len(data)):
        variants = [data[place] ^ 1 << bit for bit in range(8)]
        texts = [data[:place] + bytes([byte]) + data[place + 1 :] for byte in variants]
        for text in (*texts, data[:place] + data[place + 1 :], data[:place]):
            path.write_bytes(text)
            found: list[Manifest] = []
            message = refusal(lambda: found.append(read_manifest(tmp_path)))  # noqa: B023
            if message is None:
                # White space between the tokens is all that does not count.
                assert found == [good]
                assert json.loads(text) == json.loads(data)
                harmless += 1
            else:
                assert "manifest.json" in message
    assert harmless < len(data)


@pytest.mark.parametrize("version", ["2.0", "10.0", "9999.9999"])
def test_a_newer_major_version_is_refused(tmp_path: Path, version: str) -> None:
    save(tmp_path, {"anything": 1}, schema_version=version)
    with pytest.raises(
        ArtifactError, match=rf"has schema version {version} and this aimc-deploy reads 1\.x: upg"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    "version",
    [
        None,
        1,
        1.0,
        "",
        "1",
        "1.0.0",
        "0.1",
        "-1.0",
        "01.0",
        "1.0\n",
        "1.x",
        "v1.0",
        "١.٠",
        "1.00000",
        ["1.0"],
    ],
)
def test_a_version_that_is_none_is_refused(tmp_path: Path, version: object) -> None:
    save(tmp_path, GOOD, schema_version=version)
    with pytest.raises(ArtifactError, match=r'has no schema_version such as "1\.0"'):
        read_manifest(tmp_path)


def test_what_a_newer_minor_version_added_is_kept_when_the_bundle_grows(bundle: Bundle) -> None:
    content = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))
    del content["manifest_sha256"]
    content["files"]["config.json"]["licence"] = ["MIT"]
    save(bundle.path, content, schema_version="1.7", signed_by={"key": "µ"}, model_config=[1], copy=None)
    opened = Bundle.open(bundle.path)
    opened.put("adapters/sst2", write_adapter(1))
    kept = json.loads((bundle.path / "manifest.json").read_text(encoding="utf-8"))
    assert kept["schema_version"] == "1.7"
    assert kept["signed_by"] == {"key": "µ"}
    assert kept["model_config"] == [1]
    assert kept["copy"] is None
    assert kept["files"]["config.json"]["licence"] == ["MIT"]
    assert Bundle.open(bundle.path).adapters() == ("sst2",)


def test_a_feature_this_version_does_not_know_is_refused(tmp_path: Path) -> None:
    save(tmp_path, GOOD, required_features=["sparse-tiles", "bits"])
    with pytest.raises(
        ArtifactError, match=r"required_features: .* cannot do what the bundle needs: sparse-tiles, bits"
    ):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": "0"}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": 0.5}, "seed"),
        ({"config_sha256": "a" * 63}, "config_sha256"),
        ({"base_sha256": "A" * 64}, "base_sha256"),
        ({"hardware_digest": "a" * 64 + "\n"}, "hardware_digest"),
        ({"libraries": {"torch": 2}}, "libraries.torch"),
        ({"source": []}, "source"),
        ({"files": []}, "files"),
        ({"files": {"config.json": None}}, "files.config.json"),
        ({"files": {"config.json": {**ENTRY, "size": -1}}}, "files.config.json.size"),
        ({"files": {"config.json": {**ENTRY, "size": 3.5}}}, "files.config.json.size"),
        ({"files": {"config.json": {"size": 1}}}, "files.config.json.sha256"),
        ({"files": {"../config.json": ENTRY}}, "'../config.json' is no file name of a bundle"),
        ({"files": {"manifest.json": ENTRY}}, "'manifest.json' is no file name of a bundle"),
        ({"files": {"model.pkl": ENTRY}}, "'model.pkl' is no file name of a bundle"),
        (
            {"files": {"results/a.json": ENTRY, "results/A.json": ENTRY}},
            "are one file where case does not count",
        ),
        ({"files": {"\x1b[2J": {}}}, r"\x1b[2J"),
    ],
)
def test_a_wrong_field_is_named(tmp_path: Path, changes: dict[str, Any], field: str) -> None:
    save(tmp_path, GOOD, **changes)
    with pytest.raises(ArtifactError, match=r"manifest\.json: ") as caught:
        read_manifest(tmp_path)
    assert field in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("field", sorted(GOOD.keys() - {"schema_version", "tool", "required_features"}))
def test_a_missing_field_is_named(tmp_path: Path, field: str) -> None:
    save(tmp_path, {name: value for name, value in GOOD.items() if name != field})
    with pytest.raises(ArtifactError, match=rf"manifest\.json: {field}: Field required"):
        read_manifest(tmp_path)


def test_a_manifest_no_reader_would_take_is_not_written(tmp_path: Path) -> None:
    good = Manifest.model_validate(GOOD)
    for files in ({"../a.json": FileEntry(**ENTRY)}, {"A.json": FileEntry(**ENTRY)}):
        with pytest.raises(ArtifactError, match="is no file name of a bundle"):
            write_manifest(tmp_path / "manifest.json", good.model_copy(update={"files": files}))
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_that_is_too_large_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))
    with pytest.raises(ArtifactError, match=r"manifest\.json is larger than the 4,194,304 bytes allowed"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("else")], ids=["folder", "link"])
def test_a_manifest_that_is_no_file_is_refused(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "manifest.json")
    for read in (read_manifest, Bundle.open):
        with pytest.raises(ArtifactError, match=r"manifest\.json is (no regular file|a symbolic link)"):
            read(tmp_path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


@LOOSE
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_random_text_is_refused_as_it_should_be(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(data)
    assert "manifest.json" in (refusal(lambda: read_manifest(tmp_path)) or "taken")


@LOOSE
@given(
    JSON,
    st.sampled_from([*GOOD, "files.config.json", "files.config.json.size", "files.new", "libraries.new"]),
)
def test_a_sealed_manifest_with_random_parts_is_taken_or_refused_as_it_should_be(
    tmp_path: Path, value: Any, place: str
) -> None:
    content = json.loads(json.dumps(GOOD))
    match place.split(".", 1):
        case [top]:
            content[top] = value
        case ["libraries", new]:
            content["libraries"][new] = value
        case ["files", "config.json.size"]:
            content["files"]["config.json"]["size"] = value
        case ["files", name]:
            content["files"][name] = value
    save(tmp_path, content)
    message = refusal(lambda: read_manifest(tmp_path))
    if message is None:
        assert read_manifest(tmp_path).model_dump(mode="json") == content
    else:
        assert message.startswith(str(tmp_path / "manifest.json"))
        assert message.isprintable()


def test_the_seal_does_not_stand_for_the_files(bundle: Bundle) -> None:
    other = create(bundle.path.parent / "other", 2)
    (other.path / "manifest.json").replace(bundle.path / "manifest.json")
    opened = Bundle.open(bundle.path)  # of the same layout and sizes, and sealed: only content tells
    assert [problem.split()[0] for problem in opened.verify()] == [
        "hardware.json",
        "model.safetensors",
        "tiles.safetensors",
    ]
