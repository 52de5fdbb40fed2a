"""A bundle as a whole: what may be put into it, and what a reader refuses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from small_bundle import content, create, fields, leftovers, write_adapter

from aimc_deploy import __version__
from aimc_deploy.artifact.bundle import Bundle, work_folder
from aimc_deploy.errors import ArtifactError

FILES = ["config.json", "hardware.json", "model.safetensors", "tiles.safetensors", "vocab.txt"]


def replace(path: Path, data: bytes) -> None:
    """Another file in the place of one, as a copy or an editor leaves it."""
    new = path.with_name(".new")
    new.write_bytes(data)
    os.replace(new, path)


def test_create_records_what_it_was_given_and_every_file(tmp_path: Path) -> None:
    made = create(tmp_path / "new" / "bundle", seed=7)
    opened = Bundle.open(tmp_path / "new" / "bundle")
    assert opened.manifest == made.manifest
    assert opened.manifest.model_dump(include=set(fields())) == fields(seed=7)
    assert opened.manifest.tool_version == __version__
    assert sorted(opened.manifest.files) == FILES
    for name, entry in opened.manifest.files.items():
        assert entry.size == (opened.path / name).stat().st_size
    assert sorted(os.listdir(opened.path)) == sorted([*FILES, "manifest.json"])
    assert opened.verify() == []
    assert opened.adapters() == ()


def test_the_same_input_gives_the_same_files(tmp_path: Path) -> None:
    one, two = create(tmp_path / "one"), create(tmp_path / "two")
    assert one.manifest.files == two.manifest.files
    # The time of creation is the only thing that may differ.
    assert one.manifest == two.manifest.model_copy(update={"created": one.manifest.created})


def test_read_json_and_tensors(bundle: Bundle) -> None:
    assert bundle.read_json("hardware.json") == {"name": "pcm", "version": 1}
    tiles = bundle.read_tensors("tiles.safetensors")
    assert torch.equal(tiles["layer.0.g_plus"], torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]))
    assert sorted(tiles) == ["layer.0.g_plus", "layer.0.w_scale"]
    assert bundle.file("vocab.txt") == bundle.path / "vocab.txt"
    with pytest.raises(ArtifactError, match=r"tiles\.safetensors is no valid JSON"):
        bundle.read_json("tiles.safetensors")
    with pytest.raises(ArtifactError, match=r"vocab\.txt"):
        bundle.read_tensors("vocab.txt")


@pytest.mark.parametrize("name", ["nowhere.json", "manifest.json", "../hardware.json", "", "a\x1b[2J.json"])
def test_a_file_that_is_not_in_the_manifest_is_not_read(bundle: Bundle, name: str) -> None:
    (bundle.path.parent / "hardware.json").write_text("{}")
    for read in (bundle.file, bundle.read_json, bundle.read_tensors):
        with pytest.raises(ArtifactError, match=r"has no file .*; see `aimc-deploy inspect`") as caught:
            read(name)
        assert "\x1b" not in str(caught.value)


def test_put_replaces_a_folder_and_nothing_else(bundle: Bundle) -> None:
    base = content(bundle.path)
    assert base is not None
    bundle.put("adapters/a", write_adapter(1, files=4))
    bundle.put("adapters/b", write_adapter(1))
    bundle.put("adapters/a", write_adapter(2))
    assert bundle.manifest == Bundle.open(bundle.path).manifest
    assert bundle.adapters() == ("a", "b")
    assert sorted(os.listdir(bundle.path / "adapters" / "a")) == ["adapter.json", "adapter_model.safetensors"]
    assert bundle.read_json("adapters/a/adapter.json") == {"version": 2}
    assert bundle.read_json("adapters/b/adapter.json") == {"version": 1}
    now = content(bundle.path)
    assert now is not None
    assert {name: now[name] for name in base} == base
    assert leftovers(bundle.path) == []


def test_put_of_nothing_removes(bundle: Bundle) -> None:
    base = content(bundle.path)
    bundle.put("adapters/a", write_adapter(1))
    bundle.put("adapters/a", lambda folder: None)
    assert bundle.adapters() == ()
    assert content(bundle.path) == base


def test_put_files_keeps_the_others_of_a_folder(bundle: Bundle) -> None:
    bundle.put_files({"results/a.json": b"1\n", "results/a.csv": b"1\n"})
    bundle.put_files({"results/a.json": b"2\n", "adapters/new/adapter_config.json": b"{}\n"})
    now = content(bundle.path)
    assert now is not None
    assert now["results/a.json"] == b"2\n"
    assert now["results/a.csv"] == b"1\n"
    assert bundle.adapters() == ("new",)


def test_two_bundles_in_one_process_are_not_confused(tmp_path: Path) -> None:
    one, two = create(tmp_path / "one", 1), create(tmp_path / "two", 2)
    for _ in range(2):
        assert one.read_json("hardware.json")["version"] == 1
        assert two.read_json("hardware.json")["version"] == 2
    # What was found right in one bundle says nothing about the same name, or content, in the other.
    replace(two.path / "hardware.json", (one.path / "hardware.json").read_bytes())
    with pytest.raises(ArtifactError, match=r"two/hardware\.json was changed"):
        two.read_json("hardware.json")
    assert one.read_json("hardware.json")["version"] == 1
    assert one.verify() == []


def test_a_copied_and_a_moved_bundle_are_bundles(bundle: Bundle) -> None:
    expected = content(bundle.path)
    shutil.copytree(bundle.path, bundle.path.parent / "copy")
    bundle.path.rename(bundle.path.parent / "moved")
    assert content(bundle.path.parent / "copy") == expected
    assert content(bundle.path.parent / "moved") == expected
    assert content(bundle.path) is None


def test_a_bundle_behind_a_link_is_read_and_overwritten_in_its_place(bundle: Bundle) -> None:
    link = bundle.path.parent / "link"
    link.symlink_to(bundle.path.name)
    Bundle.open(link).put("adapters/a", write_adapter(1))
    assert Bundle.open(bundle.path).adapters() == ("a",)
    create(link, 2, overwrite=True)
    assert link.is_symlink()
    assert Bundle.open(bundle.path).read_json("hardware.json")["version"] == 2


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("place", [0, 9, -1])
def test_a_changed_file_is_refused_when_it_is_used(bundle: Bundle, name: str, place: int) -> None:
    bundle.file(name)  # right the first time
    changed = bytearray((bundle.path / name).read_bytes())
    changed[place] ^= 1
    replace(bundle.path / name, changed)
    opened = Bundle.open(bundle.path)
    for read in (opened.file, opened.read_json, opened.read_tensors, bundle.file):
        with pytest.raises(ArtifactError, match=rf"{name} was changed: its SHA-256 .*; copy the bundle anew"):
            read(name)
    assert opened.verify() == [f"{name} was changed: its SHA-256 is not the one in the manifest"]
    assert opened.file("config.json" if name != "config.json" else "vocab.txt")


def link(path: Path) -> None:
    path.rename(path.parent.parent / "target")
    path.symlink_to(path.parent.parent / "target")


def swap(path: Path) -> None:
    (path.parent / "model.safetensors").rename(path.parent / "x")
    path.rename(path.parent / "model.safetensors")
    (path.parent / "x").rename(path)


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("harm", "problem"),
    [
        (Path.unlink, "is missing"),
        (folder, "is missing"),
        (link, "is a symbolic link"),
        (
            lambda path: os.link(path, path.parent.parent / "second"),
            "has a second name elsewhere (hard link)",
        ),
        (fifo, "is no regular file"),
        (lambda path: replace(path, b""), "has 0 bytes and not"),
        (lambda path: replace(path, path.read_bytes() + b"x"), "bytes and not"),
        (lambda path: replace(path, path.read_bytes()[:-1]), "bytes and not"),
        (swap, "bytes and not"),
    ],
)
def test_a_missing_linked_or_resized_file_is_refused_by_name(
    bundle: Bundle, harm: Callable[[Path], object], problem: str
) -> None:
    harm(bundle.path / "tiles.safetensors")
    with pytest.raises(
        ArtifactError, match=r"bundle is damaged: .*; copy the bundle anew, or make it"
    ) as caught:
        Bundle.open(bundle.path)
    assert problem in str(caught.value)
    assert "tiles.safetensors " in str(caught.value)
    found = Bundle.open(bundle.path, check=False).verify()
    assert any(text.startswith("tiles.safetensors") and problem in text for text in found)
    for read in (bundle.file, bundle.read_tensors):
        with pytest.raises(ArtifactError, match=r"tiles\.safetensors"):
            read("tiles.safetensors")


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "more.json", "adapters/a/adapter.json", "a/b/c.txt", "a\x1b[2J", "a\nb"]
)
def test_an_extra_file_is_refused_by_name(bundle: Bundle, name: str) -> None:
    (bundle.path / name).parent.mkdir(parents=True, exist_ok=True)
    (bundle.path / name).write_text("{}")
    shown = name if name.isprintable() else ascii(name)
    with pytest.raises(ArtifactError) as caught:
        Bundle.open(bundle.path)
    assert f"{shown} is not in the manifest" in str(caught.value)
    assert str(caught.value).isprintable()
    assert Bundle.open(bundle.path, check=False).verify() == [f"{shown} is not in the manifest"]


def test_a_linked_folder_is_refused(bundle: Bundle) -> None:
    bundle.put("adapters/a", write_adapter(1))
    outside = bundle.path.parent / "outside"
    (bundle.path / "adapters").rename(outside)
    (bundle.path / "adapters").symlink_to(outside)
    with pytest.raises(
        ArtifactError, match=r"adapters is not in the manifest; adapters/a/adapter\.json is miss"
    ):
        Bundle.open(bundle.path)
    with pytest.raises(ArtifactError, match="is a symbolic link or lies behind one"):
        bundle.read_json("adapters/a/adapter.json")


def test_many_problems_are_counted(bundle: Bundle) -> None:
    for index in range(8):
        (bundle.path / f"extra_{index}.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"extra_4\.json is not in the manifest; 3 more; copy"):
        Bundle.open(bundle.path)
    assert len(Bundle.open(bundle.path, check=False).verify()) == 8


def test_names_that_begin_with_a_dot_do_not_count(bundle: Bundle) -> None:
    (bundle.path / ".git").mkdir()
    (bundle.path / ".git" / "config").write_text("")
    (bundle.path / ".gitattributes").write_text("")
    assert Bundle.open(bundle.path).verify() == []


@pytest.mark.parametrize(
    "make",
    [
        lambda path: None,
        Path.mkdir,
        lambda path: path.write_text("x"),
        lambda path: path.symlink_to("nowhere"),
    ],
    ids=["nothing", "empty folder", "file", "dangling link"],
)
def test_what_is_no_bundle_is_not_opened(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "bundle")
    before = sorted(os.listdir(tmp_path))
    for check in (True, False):
        with pytest.raises(
            ArtifactError, match=r"bundle is no bundle \(it has no manifest\.json\): make one"
        ):
            Bundle.open(tmp_path / "bundle", check=check)
    assert sorted(os.listdir(tmp_path)) == before


def test_the_work_folder_is_beside_the_bundle_however_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bundle"
    path.mkdir()
    assert work_folder(path) == tmp_path / "bundle.work"
    assert work_folder(Path("bundle")) == Path("bundle.work")
    monkeypatch.chdir(path)
    assert work_folder(Path(".")) == tmp_path / "bundle.work"
    (path / "inner").mkdir()
    monkeypatch.chdir(path / "inner")
    assert work_folder(Path("..")) == tmp_path / "bundle.work"
