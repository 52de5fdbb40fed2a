"""Steps that are interrupted, or that the disk does not take."""

from __future__ import annotations

import errno
import os
import re
import resource
import shutil
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from small_bundle import (
    Interrupted,
    content,
    create,
    failing,
    leftovers,
    refusal,
    takes_space,
    write_adapter,
)

from aimc_deploy.artifact.bundle import Bundle

NEW_FILES = {"README.md": b"new\n", "results/a.csv": b"1\n", "adapters/new/adapter_config.json": b"{}\n"}
STEPS: dict[str, Callable[[Path], object]] = {
    "create": lambda path: create(path, 2, overwrite=path.exists()),
    "overwrite": lambda path: create(path, 2, overwrite=True),
    "put": lambda path: Bundle.open(path).put("adapters/sst2", write_adapter(2, files=3)),
    "put_files": lambda path: Bundle.open(path).put_files(NEW_FILES),
}
FROM_THEN_ON = pytest.mark.parametrize("from_then_on", [False, True], ids=["once", "from then on"])


def die() -> None:
    raise Interrupted


def disk_full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Before:
    """The state before a step, of which every test run takes a copy, and that after it."""

    def __init__(self, root: Path, step: str) -> None:
        self.root, self.step, self.copies = root, STEPS[step], 0
        (root / "before").mkdir()
        if step != "create":
            create(root / "before" / "bundle").put("adapters/sst2", write_adapter(1))
            Bundle.open(root / "before" / "bundle").put_files({"README.md": b"old\n"})
        self.old = content(root / "before" / "bundle")
        path = self.copy()
        self.step(path)
        self.new = content(path)
        assert self.new != self.old

    def copy(self) -> Path:
        self.copies += 1
        folder = self.root / str(self.copies)
        shutil.copytree(self.root / "before", folder)
        return folder / "bundle"

    def interrupted(self, nth: int, *, from_then_on: bool = True) -> Path | None:
        """A bundle whose writer died at the ``nth`` system call; None if it needs fewer."""
        path = self.copy()
        with failing(nth, die, from_then_on=from_then_on) as count:
            try:
                self.step(path)
            except Interrupted:
                return path
        assert count[0] <= nth
        return None


def on_disk(root: Path) -> frozenset[tuple[str, int]]:
    """Name and size of all there is, which is all that a later process can see of what happened."""
    return frozenset(
        (re.sub("[0-9a-f]{16}", "random", str(path.relative_to(root))), path.stat().st_size)
        for path in root.rglob("*")
    )


@pytest.fixture
def before(tmp_path: Path, no_flush: None, request: pytest.FixtureRequest) -> Before:
    return Before(tmp_path, request.param)


@FROM_THEN_ON
@pytest.mark.parametrize("before", STEPS, indirect=True)
def test_an_interruption_anywhere_leaves_the_old_or_the_new_state(before: Before, from_then_on: bool) -> None:
    seen: list[bool] = []
    states: set[frozenset[tuple[str, int]]] = set()
    nth = 0
    while (path := before.interrupted(nth, from_then_on=from_then_on)) is not None:
        nth += 1
        if (state := on_disk(path.parent)) in states:
            continue
        states.add(state)
        found = content(path)
        assert found in (before.old, before.new), f"a mixture after call {nth}"
        seen.append(found == before.new)
        before.step(path)
        assert content(path) == before.new
        assert leftovers(path) == [], f"left over after call {nth}"
    assert nth > 20
    assert len(states) > 2
    # Once the new state is there, no later interruption brings the old one back.
    assert seen == sorted(seen)
    assert set(seen) == {False, True}


@pytest.mark.parametrize("before", ["overwrite", "put", "put_files"], indirect=True)
def test_an_interruption_of_the_reader_that_finishes_a_step_loses_nothing(before: Before) -> None:
    states: set[frozenset[tuple[str, int]]] = set()
    nth, resumed = 0, 0
    while (path := before.interrupted(nth)) is not None:
        nth += 1
        undecided = (path / ".pending.json").exists() or not path.exists()
        if not undecided or (state := on_disk(path.parent)) in states:
            continue
        states.add(state)
        shutil.copytree(path.parent, before.root / "half")
        expected = content(path)
        for call in range(100):
            again = before.root / f"again {nth} {call}"
            shutil.copytree(before.root / "half", again)
            with failing(call, die, from_then_on=True):
                try:
                    Bundle.open(again / "bundle")
                except Interrupted:
                    resumed += 1
                else:
                    break
            assert content(again / "bundle") == expected
        else:
            pytest.fail("opening the bundle never ended")
        shutil.rmtree(before.root / "half")
    assert resumed > 3


@FROM_THEN_ON
@pytest.mark.parametrize("before", STEPS, indirect=True)
def test_a_full_disk_leaves_the_old_state_and_is_reported(before: Before, from_then_on: bool) -> None:
    with failing(-1, die, among=takes_space) as count:
        before.step(before.copy())
    refused = 0
    for nth in range(count[0]):
        path = before.copy()
        with failing(nth, disk_full, from_then_on=from_then_on, among=takes_space):
            message = refusal(partial(before.step, path))
        # A message about the bundle itself or its journal tells that the step is decided.
        told = re.search(r"interrupted write|bundle(/\.pending\.json)? is written, but", message or "")
        assert content(path) == (before.new if message is None or told else before.old), message
        if message is not None:
            refused += 1
            assert str(path.parent) in message
            assert "bundle" in message
            assert "No space left on device; free some space and run the command again" in message
        before.step(path)
        assert content(path) == before.new
        assert leftovers(path) == []
    assert refused > 10


@pytest.mark.parametrize("before", STEPS, indirect=True)
def test_a_file_that_does_not_fit_leaves_the_old_state(before: Before) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    refused = 0
    try:
        for limit in range(0, 4096, 128):
            path = before.copy()
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            message = refusal(partial(before.step, path))
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            assert content(path) == (before.new if message is None else before.old)
            if message is not None:
                refused += 1
                assert "cannot be written: File too large" in message
                assert leftovers(path) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert 1 < refused < 32


class Flushes:
    """What was flushed, and when what got its name."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flushed: set[int] = set()
        self.checked: list[str] = []
        self.folders: set[Path] = set()
        for name in ("rename", "replace"):
            monkeypatch.setattr(os, name, self._watched(getattr(os, name)))
        real = os.unlink

        def unlink(path: Path, **kwargs: int) -> None:
            if Path(path).name == ".pending.json":
                self.check_folders()
            real(path, **kwargs)

        monkeypatch.setattr(os, "fsync", lambda descriptor: self.flushed.add(os.fstat(descriptor).st_ino))
        monkeypatch.setattr(os, "unlink", unlink)

    def _watched(self, real: Callable[[Path, Path], None]) -> Callable[[Path, Path], None]:
        def move(source: Path, target: Path) -> None:
            source, target = Path(source), Path(target)
            if target.name in ("bundle", ".pending.json"):
                staged = [source] if target.name == "bundle" else list(target.parent.glob(".tmp-*"))
                for path in (part for top in staged for part in (top, *top.rglob("*"))):
                    assert path.stat().st_ino in self.flushed, f"{path} may be lost in a power cut"
                self.checked.append(target.name)
            real(source, target)
            self.flushed.discard(target.parent.stat().st_ino)
            self.folders.add(target.parent)

        return move

    def check_folders(self) -> None:
        for folder in self.folders:
            assert ".tmp-" in str(folder) or folder.stat().st_ino in self.flushed, folder
        self.checked.append("folders")


def test_everything_is_flushed_before_a_bundle_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushes = Flushes(monkeypatch)
    create(tmp_path / "bundle")
    flushes.check_folders()
    assert flushes.checked == ["bundle", "folders"]


@pytest.mark.parametrize("step", ["put", "put_files"])
def test_everything_is_flushed_before_a_step_is_decided_and_ended(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    flushes = Flushes(monkeypatch)
    STEPS[step](bundle.path)
    flushes.check_folders()
    assert flushes.checked == [".pending.json", "folders", "folders"]
