"""Writers at the same time, and what one of them finds that is not its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from small_bundle import content, create, fields, leftovers, tree, write_adapter, write_base

from aimc_deploy.artifact import journal
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import ArtifactError

pytestmark = pytest.mark.usefixtures("no_flush")

HOLD = """
import fcntl, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def locked_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that keeps the lock of a bundle until its input ends."""
    command = [sys.executable, "-I", "-S", "-c", HOLD, str(path / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        yield other
        other.stdin.close()


def at_once(*steps: Callable[[], object]) -> list[ArtifactError | None]:
    """Run steps in threads that start together; what each was refused with."""
    start = threading.Barrier(len(steps))
    refused: list[ArtifactError | None] = [None] * len(steps)
    unexpected: list[BaseException] = []

    def run(index: int) -> None:
        start.wait()
        try:
            steps[index]()
        except ArtifactError as error:
            refused[index] = error
        except BaseException as error:
            unexpected.append(error)

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(steps))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert unexpected == []
    return refused


@pytest.mark.parametrize(
    "step",
    [
        lambda path: Bundle.open(path).put("adapters/sst2", write_adapter(2)),
        lambda path: Bundle.open(path).put_files({"README.md": b"new"}),
        lambda path: create(path, 2, overwrite=True),
    ],
    ids=["put", "put_files", "overwrite"],
)
def test_a_writer_gives_up_when_another_process_keeps_the_lock(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, step: Callable[[Path], object]
) -> None:
    monkeypatch.setattr(journal, "LOCK_WAIT_S", 0.1)
    old = content(bundle.path)
    with locked_elsewhere(bundle.path):
        with pytest.raises(ArtifactError, match=r"another aimc-deploy process is writing to .*bundle: wait"):
            step(bundle.path)
        assert content(bundle.path) == old
    step(bundle.path)
    assert content(bundle.path) != old
    assert leftovers(bundle.path) == []


def test_a_writer_waits_for_another_process(bundle: Bundle) -> None:
    with locked_elsewhere(bundle.path) as other:
        assert other.stdin is not None
        release = threading.Timer(0.3, other.stdin.close)
        start = time.monotonic()
        release.start()
        bundle.put("adapters/sst2", write_adapter(1))
        assert time.monotonic() - start >= 0.3
        release.join()
    assert Bundle.open(bundle.path).adapters() == ("sst2",)


def test_a_reader_needs_no_lock(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "LOCK_WAIT_S", 0.0)
    with locked_elsewhere(bundle.path):
        assert Bundle.open(bundle.path).read_json("hardware.json") == {"name": "pcm", "version": 1}


def test_the_lock_is_never_taken_through_a_link(bundle: Bundle) -> None:
    outside = bundle.path.parent / "outside"
    (bundle.path / ".lock").symlink_to(outside)
    with pytest.raises(
        ArtifactError, match="cannot be locked for writing: Too many levels of symbolic links"
    ):
        bundle.put_files({"README.md": b"new"})
    assert not outside.exists()


def test_the_lock_of_a_bundle_that_was_replaced_meanwhile_is_not_enough(bundle: Bundle) -> None:
    lock = bundle.path / ".lock"
    lock.touch()
    real = os.path.samestat
    with pytest.MonkeyPatch.context() as patch:

        def replaced_once(*args: os.stat_result) -> bool:
            patch.undo()
            lock.unlink()  # what an overwrite does between our open and our check
            lock.touch()
            return real(args[0], os.lstat(lock))

        patch.setattr(os.path, "samestat", replaced_once)
        with journal.locked(bundle.path):
            # The file that is there now is the one that is held.
            assert journal._try_lock(lock, os.O_RDWR) is None


def test_two_writers_of_different_parts_both_succeed(bundle: Bundle) -> None:
    for version in range(5):
        one, two, three, four = (Bundle.open(bundle.path) for _ in range(4))
        refused = at_once(
            partial(one.put, "adapters/a", write_adapter(version)),
            partial(two.put, "adapters/b", write_adapter(version)),
            partial(three.put_files, {"results/a.csv": b"%d" % version}),
            partial(four.put_files, {"results/b.csv": b"%d" % version}),
        )
        assert refused == [None] * 4
        found = content(bundle.path)
        assert found is not None
        assert {name for name in found if "/" in name} == {
            *(f"adapters/{name}/adapter.json" for name in "ab"),
            *(f"adapters/{name}/adapter_model.safetensors" for name in "ab"),
            "results/a.csv",
            "results/b.csv",
        }
        assert Bundle.open(bundle.path).read_json("adapters/a/adapter.json") == {"version": version}
        assert found["results/b.csv"] == b"%d" % version
        assert leftovers(bundle.path) == []


def test_one_of_two_writers_of_a_new_bundle_wins(tmp_path: Path) -> None:
    for attempt in range(10):
        path = tmp_path / str(attempt) / "bundle"
        refused = at_once(partial(create, path, 1), partial(create, path, 2))
        assert sum(error is None for error in refused) == 1
        winner = 1 + refused.index(None)
        assert Bundle.open(path).read_json("hardware.json")["version"] == winner
        assert content(path) is not None
        assert leftovers(path) == []


def test_writers_that_overwrite_each_other_leave_one_whole_bundle(bundle: Bundle) -> None:
    versions = iter(range(2, 100))
    for _ in range(10):
        first, second = next(versions), next(versions)
        refused = at_once(
            partial(create, bundle.path, first, overwrite=True),
            partial(create, bundle.path, second, overwrite=True),
        )
        assert None in refused
        assert content(bundle.path) is not None
        assert Bundle.open(bundle.path).read_json("hardware.json")["version"] in (first, second)
    create(bundle.path, 100, overwrite=True)
    assert leftovers(bundle.path) == []


def test_nothing_is_added_to_a_bundle_that_was_mapped_again(bundle: Bundle) -> None:
    create(bundle.path, 2, overwrite=True, base_sha256="e" * 64)
    new = content(bundle.path)
    for step in (
        lambda: bundle.put("adapters/sst2", write_adapter(1)),
        lambda: bundle.put_files({"results/a.csv": b""}),
    ):
        with pytest.raises(ArtifactError, match="was mapped again while this command ran: run it again"):
            step()
    assert content(bundle.path) == new
    assert leftovers(bundle.path) == []


def test_a_folder_another_process_took_for_one_left_behind_is_made_again(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, taken = journal._try_lock, []

    def sweep_first(path: Path, flags: int) -> int | None:
        if path.name.startswith(".tmp-") and len(taken) < 2:
            taken.append(path)
            if len(taken) == 2:
                return None  # the other process is about to remove it
            path.rmdir()
        return real(path, flags)

    monkeypatch.setattr(journal, "_try_lock", sweep_first)
    bundle.put("adapters/sst2", write_adapter(1))
    monkeypatch.undo()
    assert len(taken) == 2
    assert Bundle.open(bundle.path).adapters() == ("sst2",)
    bundle.put_files({})
    assert leftovers(bundle.path) == []


def test_what_a_running_writer_prepares_is_not_swept(bundle: Bundle) -> None:
    other = Bundle.open(bundle.path)

    def write(folder: Path) -> None:
        write_adapter(1)(folder)
        other.put("adapters/b", write_adapter(2))  # sweeps before it writes
        create(bundle.path.parent / "second")

    bundle.put("adapters/a", write)
    assert Bundle.open(bundle.path).adapters() == ("a", "b")


def test_what_a_running_writer_of_a_bundle_prepares_is_not_swept(tmp_path: Path) -> None:
    path = tmp_path / "bundle"

    def write(folder: Path) -> None:
        write_base(folder)
        create(path, 2)

    with pytest.raises(ArtifactError, match="has a bundle already"):
        Bundle.create(path, write, **fields())
    assert Bundle.open(path).read_json("hardware.json")["version"] == 2
    assert leftovers(path) == []


@pytest.mark.parametrize("name", [".bundle.old-2024", ".bundle.tmp-mine", ".bundle.old-0123456789abcdef.zip"])
def test_folders_beside_a_bundle_that_only_look_like_leftovers_are_kept(tmp_path: Path, name: str) -> None:
    mine = tmp_path / name
    mine.mkdir()
    (mine / "a.txt").write_text("mine")
    path = tmp_path / "bundle"
    with pytest.raises(ArtifactError, match="is no bundle"):
        Bundle.open(path)
    create(path, 1)
    create(path, 2, overwrite=True)
    assert tree(mine) == {"a.txt": b"mine"}


def test_leftovers_of_killed_writers_are_removed_by_who_opens_the_bundle_next(bundle: Bundle) -> None:
    def leave() -> None:
        (bundle.path / ".tmp-0123456789abcdef").mkdir()
        (bundle.path / ".tmp-0123456789abcdef" / "0").write_text("half")
        (bundle.path / ".tmp-fedcba9876543210").write_text("half")

    leave()
    with locked_elsewhere(bundle.path):
        start = time.monotonic()
        Bundle.open(bundle.path)
        assert time.monotonic() - start < journal.LOCK_WAIT_S / 2, "a reader waits for nobody"
        assert len(leftovers(bundle.path)) == 2
    Bundle.open(bundle.path)
    assert leftovers(bundle.path) == []

    def write(folder: Path) -> None:
        write_adapter(1)(folder)
        leave()
        Bundle.open(bundle.path)

    bundle.put("adapters/a", write)
    assert Bundle.open(bundle.path).adapters() == ("a",)
    assert leftovers(bundle.path) == []


def test_leftovers_of_killed_writers_are_removed_by_the_next(bundle: Bundle) -> None:
    (bundle.path / ".tmp-0123456789abcdef").mkdir()
    (bundle.path / ".tmp-0123456789abcdef" / "0").write_text("half")
    (bundle.path / ".tmp-fedcba9876543210").write_text("half")
    bundle.put_files({})
    assert leftovers(bundle.path) == []
    for name in (".bundle.tmp-0123456789abcdef", ".bundle.old-0123456789abcdef"):
        (bundle.path.parent / name).mkdir()
        (bundle.path.parent / name / "tiles.safetensors").write_text("half")
    create(bundle.path, 2, overwrite=True)
    assert leftovers(bundle.path) == []
