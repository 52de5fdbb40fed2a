"""What is not written: names outside the layout, over what is no bundle, and half of anything."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors import SafetensorError
from small_bundle import (
    Interrupted,
    content,
    create,
    fields,
    leftovers,
    refusal,
    tree,
    write_adapter,
    write_base,
)

from aimc_deploy.artifact import bundle as bundle_module
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import ArtifactError

pytestmark = pytest.mark.usefixtures("no_flush")


NO_FOLDERS = """
../adapters adapters adapters/ adapters/a/b adapters/.. adapters/a..b adapters/.a adapters/ä tiles . /results
results/ results/a Results
"""
NO_FILES = """
manifest.json ../a.json /a.json c:a.json a/b.json .hidden.json A.json a.bin pytorch_model.bin results/a.pkl
results/../a.json results/a/b.json results/.a.json results\\a.json report/a.pkl report/a adapters/a.json
adapters/a/adapter_model.bin
"""


def write_file(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")

    return write


@pytest.mark.parametrize(
    "name",
    [*NO_FOLDERS.split(), "", "adapters/a\n", "adapters/" + "a" * 129],
)
def test_put_refuses_other_folders(bundle: Bundle, name: str) -> None:
    with pytest.raises(ArtifactError, match="is no folder of a bundle: adapters/NAME, results or report is"):
        bundle.put(name, lambda folder: pytest.fail("called"))
    assert leftovers(bundle.path) == []


@pytest.mark.parametrize(
    "name",
    [*NO_FILES.split(), "", "results/a.json\n"],
)
def test_put_files_refuses_other_names_and_writes_none(bundle: Bundle, name: str) -> None:
    before = tree(bundle.path.parent)
    with pytest.raises(ArtifactError, match=r"is no file name of a bundle, such as results/NAME\.json"):
        bundle.put_files({"results/good.json": b"{}", name: b"{}"})
    assert tree(bundle.path.parent) == before


@pytest.mark.parametrize(
    "name", ["adapter_model.bin", "model.pkl", "sub/adapter.json", "a b.json", "a\x1b[2J.json", "run.py"]
)
def test_a_writer_cannot_bring_other_files_into_a_folder(bundle: Bundle, name: str) -> None:
    old = content(bundle.path)
    with pytest.raises(
        ArtifactError, match=r"adapters/a/.* is no file name of a bundle: it cannot be"
    ) as caught:
        bundle.put("adapters/a", write_file(name))
    assert str(caught.value).isprintable()
    assert content(bundle.path) == old
    assert leftovers(bundle.path) == []
    assert os.listdir(bundle.path.parent) == ["bundle"]


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "optimizer.pt", "sub/a.json", "adapters/a.json", "X.json"]
)
def test_a_writer_cannot_bring_other_files_into_a_new_bundle(tmp_path: Path, name: str) -> None:
    with pytest.raises(
        ArtifactError, match=f"{name} is no file name of a bundle: it cannot be part of a bundle"
    ):
        Bundle.create(tmp_path / "bundle", write_file(name), **fields())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_a_writer_cannot_bring_links(bundle: Bundle, link: Callable[[Path, Path], None]) -> None:
    outside = bundle.path.parent / "outside"
    outside.write_text("{}")
    with pytest.raises(ArtifactError, match=r"adapters/a/a\.json (is a symbolic link|has a second name)"):
        bundle.put("adapters/a", lambda folder: link(outside, folder / "a.json"))
    assert content(bundle.path) is not None
    assert outside.read_text() == "{}"


def test_names_that_are_one_file_where_case_does_not_count_are_refused(bundle: Bundle) -> None:
    bundle.put_files({"results/a.json": b"{}"})
    old = content(bundle.path)
    with pytest.raises(
        ArtifactError, match=r"'results/a\.json' and 'results/A\.json' are one file where case"
    ):
        bundle.put_files({"results/A.json": b"{}"})
    assert content(bundle.path) == old
    assert leftovers(bundle.path) == []


def fail_with(error: BaseException) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        write_adapter(2)(folder)
        raise error

    return write


@pytest.mark.parametrize(
    ("error", "raised", "text"),
    [
        (OSError(errno.EIO, "Input/output error"), ArtifactError, "cannot be written: Input/output error"),
        (
            PermissionError(errno.EACCES, "Denied"),
            ArtifactError,
            "make it writable for you or choose another",
        ),
        (SafetensorError("disk is full"), ArtifactError, "cannot be written: disk is full"),
        (KeyError("ours"), KeyError, "ours"),
        (Interrupted("killed"), Interrupted, "killed"),
    ],
)
def test_a_writer_that_fails_changes_nothing(
    bundle: Bundle, error: BaseException, raised: type[BaseException], text: str
) -> None:
    bundle.put("adapters/a", write_adapter(1))
    old = content(bundle.path)
    parent = bundle.path.parent
    for step in (
        lambda: bundle.put("adapters/a", fail_with(error)),
        lambda: Bundle.create(bundle.path, fail_with(error), **fields(), overwrite=True),
        lambda: Bundle.create(parent / "other", fail_with(error), **fields()),
    ):
        with pytest.raises(raised, match=text):
            step()
        assert content(bundle.path) == old
        assert leftovers(bundle.path) == []
        assert os.listdir(parent) == ["bundle"]
    assert bundle.read_json("adapters/a/adapter.json") == {"version": 1}


def foreign_files(path: Path) -> None:
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")


def foreign_manifest(path: Path) -> None:
    foreign_files(path)
    (path / "manifest.json").write_text('{"tool": "another", "files": {}}')


def foreign_list(path: Path) -> None:
    foreign_files(path)
    (path / "manifest.json").write_text("[1]")


def hidden_file(path: Path) -> None:
    path.mkdir()
    (path / ".git").mkdir()
    (path / ".git" / "HEAD").write_text("ref")


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("make", [foreign_files, foreign_manifest, foreign_list, hidden_file])
def test_a_foreign_folder_is_never_overwritten(
    tmp_path: Path, make: Callable[[Path], None], overwrite: bool
) -> None:
    make(tmp_path / "bundle")
    before = tree(tmp_path)
    with pytest.raises(ArtifactError, match="bundle exists and is no bundle: choose another OUT"):
        create(tmp_path / "bundle", overwrite=overwrite)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_file_is_never_overwritten(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "bundle").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("bundle", "link"):
        with pytest.raises(ArtifactError, match=f"{name} is no folder: choose another OUT"):
            create(tmp_path / name, overwrite=overwrite)
    assert tree(tmp_path) == {"bundle": b"mine"}


def test_an_empty_folder_becomes_a_bundle(tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    create(tmp_path / "bundle")
    assert content(tmp_path / "bundle") is not None
    assert leftovers(tmp_path / "bundle") == []


def test_a_bundle_is_only_overwritten_when_asked(bundle: Bundle) -> None:
    old = tree(bundle.path)
    with pytest.raises(ArtifactError, match=r"has a bundle already: .* replace it with --overwrite"):
        create(bundle.path, 2)
    assert tree(bundle.path) == old
    create(bundle.path, 2, overwrite=True)
    assert Bundle.open(bundle.path).read_json("hardware.json")["version"] == 2
    assert leftovers(bundle.path) == []


@pytest.mark.parametrize(
    "name", ["notes.txt", "adapters/mine/notes.txt", ".git/HEAD", "results/.notes", ".tmp-mine"]
)
def test_a_bundle_that_holds_something_else_too_is_not_overwritten(bundle: Bundle, name: str) -> None:
    write_file(name)(bundle.path)
    before = tree(bundle.path)
    with pytest.raises(ArtifactError, match=rf"bundle holds {name}, which is not part .* and would be lost"):
        create(bundle.path, 2, overwrite=True)
    assert tree(bundle.path) == before


def test_a_damaged_bundle_can_be_overwritten(bundle: Bundle) -> None:
    (bundle.path / "tiles.safetensors").write_bytes(b"broken")
    (bundle.path / "hardware.json").unlink()
    create(bundle.path, 2, overwrite=True)
    assert content(bundle.path) is not None


def test_what_appeared_while_a_bundle_was_prepared_is_kept(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        write_base(folder)
        foreign_files(tmp_path / "bundle")

    with pytest.raises(ArtifactError, match="is no bundle: choose another OUT"):
        Bundle.create(tmp_path / "bundle", write, **fields(), overwrite=True)
    assert tree(tmp_path) == {"bundle/thesis.txt": b"years of work"}


class Race:
    """A thread that writes while the test reads: some versions, and more until the test has read enough."""

    def __init__(self, step: Callable[[int], object], steps: int, enough: Callable[[], bool]) -> None:
        self.error: BaseException | None = None
        self.done = threading.Event()
        self.last = 1
        self._thread = threading.Thread(target=self._run, args=(step, steps, enough))

    def _run(self, step: Callable[[int], object], steps: int, enough: Callable[[], bool]) -> None:
        try:
            while self.last <= steps or (not enough() and self.last < 100 * steps):
                step(self.last + 1)
                self.last += 1
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()

    def __enter__(self) -> Race:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join()
        assert self.error is None


def read_all(path: Path, names: tuple[str, str]) -> tuple[int, float] | None:
    """The version in two files of an open bundle; None if it was replaced in the meantime."""
    opened = Bundle.open(path)  # must never fail
    found = []
    message = refusal(lambda: found.append(opened.read_json(names[0])["version"])) or refusal(
        lambda: found.append(float(opened.read_tensors(names[1]).popitem()[1].flatten()[0]))
    )
    assert message is None or "was changed" in message or "is missing" in message
    return None if message else (found[0], found[1])


@pytest.mark.parametrize("whole", [False, True], ids=["put", "overwrite"])
def test_a_reader_sees_the_old_or_the_new_state_during_writes(bundle: Bundle, whole: bool) -> None:
    bundle.put("adapters/a", write_adapter(1))
    names = ("adapters/a/adapter.json", "adapters/a/adapter_model.safetensors")
    if whole:
        names = ("hardware.json", "model.safetensors")

    def step(version: int) -> None:
        if whole:
            create(bundle.path, version, overwrite=True)
        else:
            Bundle.open(bundle.path).put("adapters/a", write_adapter(version))

    seen: set[int] = set()
    with Race(step, 60, lambda: len(seen) > 2) as race:
        while not race.done.is_set():
            found = read_all(bundle.path, names)
            if found is not None:
                assert found[0] == found[1]
                seen.add(found[0])
    assert read_all(bundle.path, names) == (race.last, race.last)
    assert len(seen) > 2
    assert leftovers(bundle.path) == []


def test_a_bundle_that_stays_damaged_is_refused_at_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle.path / "tiles.safetensors").unlink()
    attempts = []
    real = bundle_module.read_manifest
    monkeypatch.setattr(bundle_module, "read_manifest", lambda path: attempts.append(path) or real(path))
    with pytest.raises(ArtifactError, match="is damaged"):
        Bundle.open(bundle.path)
    assert len(attempts) == 1
