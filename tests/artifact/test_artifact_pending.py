"""A journal that came with the bundle and that no step of ours wrote."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from small_bundle import create, leftovers, tree

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import ArtifactError

pytestmark = pytest.mark.usefixtures("no_flush")

STAGED = ".tmp-0123456789abcdef"


def hostile(root: Path, staged: object, targets: object, payload: str = "0") -> None:
    (root / STAGED).mkdir()
    (root / STAGED / payload).write_text("hostile")
    (root / ".pending.json").write_text(json.dumps({"staged": staged, "targets": targets}))


@pytest.mark.parametrize(
    ("staged", "targets"),
    [
        (STAGED, ["../outside/a.json"]),
        (STAGED, ["adapters/../../outside"]),
        (STAGED, ["/tmp/a.json"]),
        (STAGED, ["results/../../outside/a.json"]),
        (STAGED, ["tiles.safetensors/x"]),
        (STAGED, [".lock"]),
        (STAGED, ["a.json", 1]),
        (STAGED, "a.json"),
        (STAGED, None),
        ("../outside", ["a.json"]),
        (f"../{STAGED}", ["a.json"]),
        (f"{STAGED}/", ["a.json"]),
        (f"{STAGED}\n", ["a.json"]),
        (".tmp-fedcba9876543210", ["a.json"]),
        ("", ["a.json"]),
        (None, ["a.json"]),
    ],
)
def test_a_journal_that_no_commit_wrote_is_refused(bundle: Bundle, staged: object, targets: object) -> None:
    outside = bundle.path.parent / "outside"
    outside.mkdir()
    (outside / "0").write_text("mine")
    hostile(bundle.path, staged, targets)
    state = tree(bundle.path.parent)
    for attempt in (
        Bundle.open,
        lambda path: create(path, 2, overwrite=True),
        lambda path: bundle.put_files({}),
    ):
        with pytest.raises(ArtifactError, match=r"\.pending\.json does not belong to this bundle: delete it"):
            attempt(bundle.path)
        assert tree(bundle.path.parent) == {**state, "bundle/.lock": b""}
    (bundle.path / ".pending.json").unlink()
    bundle.put_files({})
    assert leftovers(bundle.path) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "no valid JSON"),
        (b"[]", "does not belong"),
        (b'{"staged": 1, "staged": 2}', "there twice"),
        (b'"' + b"x" * 1024**2 + b'"', "larger than"),
    ],
)
def test_a_journal_that_cannot_be_read_is_refused(bundle: Bundle, text: bytes, reason: str) -> None:
    (bundle.path / ".pending.json").write_bytes(text)
    with pytest.raises(ArtifactError, match=rf"\.pending\.json.*{reason}"):
        Bundle.open(bundle.path)


@pytest.mark.parametrize(
    "target", ["results/a.json", "adapters/a", "adapters/a/b.json", "adapters/new/b.json"]
)
def test_no_journal_leads_through_a_link_out_of_the_bundle(bundle: Bundle, target: str) -> None:
    outside = bundle.path.parent / "outside"
    (outside / "a").mkdir(parents=True)
    (bundle.path / target.split("/")[0]).symlink_to(outside)
    hostile(bundle.path, STAGED, [target])
    with pytest.raises(ArtifactError, match="does not belong to this bundle"):
        Bundle.open(bundle.path)
    assert tree(outside) == {}
    assert sorted(os.listdir(outside)) == ["a"]


def test_a_linked_folder_is_no_place_to_take_files_from(bundle: Bundle) -> None:
    outside = bundle.path.parent / "outside"
    outside.mkdir()
    (outside / "0").write_text("mine")
    (bundle.path / STAGED).symlink_to(outside)
    (bundle.path / ".pending.json").write_text(json.dumps({"staged": STAGED, "targets": ["a.json"]}))
    with pytest.raises(ArtifactError, match="does not belong to this bundle"):
        Bundle.open(bundle.path)
    assert tree(outside) == {"0": b"mine"}


@pytest.mark.parametrize("link", ["symlink", "hard link"])
def test_a_linked_journal_is_not_read(bundle: Bundle, link: str) -> None:
    outside = bundle.path.parent / "journal"
    outside.write_text(json.dumps({"staged": STAGED, "targets": []}))
    if link == "symlink":
        (bundle.path / ".pending.json").symlink_to(outside)
    else:
        os.link(outside, bundle.path / ".pending.json")
    with pytest.raises(ArtifactError, match=r"\.pending\.json (is a symbolic link|has a second name)"):
        Bundle.open(bundle.path)
    assert outside.exists()


def test_what_a_genuine_journal_brings_is_checked_all_the_same(bundle: Bundle) -> None:
    hostile(bundle.path, STAGED, ["hardware.json"])
    with pytest.raises(ArtifactError, match=r"is damaged: hardware\.json has 7 bytes"):
        Bundle.open(bundle.path)
