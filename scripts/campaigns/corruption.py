"""Corrupted bundles: flipped bits, truncated, swapped, renamed, missing, extra and stale files."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from small_bundle import write_adapter

from aimc_deploy.artifact import bundle as artifact
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import MANIFEST, is_file_name, read_manifest
from aimc_deploy.errors import AimcError
from campaigns import target
from campaigns.cases import Case, Tally, chosen, run

PAYLOAD_BITS = 12_000
"""Random bits of everything but the headers."""
COMMANDS = 100
"""Of the cases, so many are given to the command line too."""

Step = Callable[[Path], object]


def campaign(folder: Path, size: int | None, seed: int, only: str | None) -> Tally:
    """Every case on a bundle of its own in ``folder``."""
    tally = Tally("corruption", seed, figures={"without effect": 0, "given to `verify`": 0})
    bench = Bench(folder, tally, seed, always=only is not None)
    return run(tally, chosen(list(bench.cases()), size, seed, only))


class Bench:
    """A sound bundle, and one that is broken and mended again."""

    def __init__(self, folder: Path, tally: Tally, seed: int, *, always: bool) -> None:
        self.sound, self.path, self.old = (folder / name for name in ("sound", "broken", "old"))
        target.complete(self.old, 1)
        shutil.copytree(self.old, self.sound)
        opened = Bundle.open(self.sound)  # the same bundle, one step later
        opened.put("adapters/one", write_adapter(7))
        opened.put_files(target.results(7))
        shutil.copytree(self.sound, self.path)
        self.files = {
            path.relative_to(self.sound).as_posix(): path.read_bytes()
            for path in sorted(self.sound.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
        self.manifest = read_manifest(self.sound)
        self.tally = tally
        self.draw = random.Random(seed)
        self.left, self.always = COMMANDS, always

    def cases(self) -> Iterator[Case]:
        """All of them, the same for the same seed."""
        for name, data in self.files.items():
            for bit in self._watched_bits(name, data):
                change = partial(flipped, bit=bit)
                yield self._of_file("bit of a header or map", f"{name} bit {bit}", name, change)
            for length in range(len(data)):
                change = partial(cut, length=length)
                yield self._of_file("truncation", f"{name} cut to {length}", name, change)
            for count in (1, 7, 8, 512, 4096):
                for what, tail in (("zeros", bytes(count)), ("of it again", (data * count)[:count])):
                    label, change = f"{name} and {count} {what}", partial(followed, tail=tail)
                    yield self._of_file("appended", label, name, change)
            for length in (0, len(data) // 2):
                label = f"{name} zero from {length}"
                yield self._of_file("zeroed", label, name, partial(zeroed, length=length))
        payload = [name for name in self.files if name != MANIFEST]
        drawn: set[tuple[str, int]] = set()
        while len(drawn) < PAYLOAD_BITS:
            name = self.draw.choice(payload)
            bit = self.draw.randrange(8 * len(self.files[name]))
            if bit in self._watched_bits(name, self.files[name]) or (name, bit) in drawn:
                continue
            drawn.add((name, bit))
            change = partial(flipped, bit=bit)
            yield self._of_file("random bit of the rest", f"{name} bit {bit}", name, change)
        yield from self._of_names()

    def _watched_bits(self, name: str, data: bytes) -> range:
        """Bits of which every one is flipped."""
        if name in (MANIFEST, "tile_map.json"):
            return range(8 * len(data))
        if name.endswith(".safetensors"):
            return range(8 * (8 + int.from_bytes(data[:8], "little")))
        return range(0)

    def _of_names(self) -> Iterator[Case]:
        """What is wrong is not in a file, but which files there are."""
        payload = [name for name in self.files if name != MANIFEST]
        for name in self.files:
            yield self._of_step("missing", f"no {name}", (name,), partial(_remove, name=name))
            for kind, make in KINDS.items():
                step = partial(_in_place, name=name, make=make)
                yield self._of_step(f"is no plain file: {kind}", f"{name} is a {kind}", (name,), step)
        for one in payload:
            for other in payload:
                if one < other and self.files[one] != self.files[other]:
                    step = partial(_swap, one=one, other=other)
                    yield self._of_step("swapped", f"{one} for {other}", (one, other), step)
                new = other.replace(".", "_2.")
                if one != other and is_file_name(new):
                    label, step = f"{one} is called {new}", partial(_rename, one=one, new=new)
                    yield self._of_step("renamed", label, (one, new), step)
        for name in payload:
            new = name.replace(".", "_2.")
            step = partial(_copy, one=name, new=new)
            yield self._of_step("extra", f"{new} beside {name}", (new,), step)
        for name in ("model.bin", "pytorch_model.bin", "adapters/one/adapter_model.bin", "a.py", "x/y.json"):
            yield self._of_step("extra", f"a {name}", (name,), partial(_extra, name=name))
        for name, data in self.files.items():
            stale = (self.old / name).read_bytes()
            if stale != data:
                step = partial(_write_all, files={name: stale})
                # An old manifest is sound in itself: what is named is a file that it does not fit.
                names = tuple(self.files) if name == MANIFEST else (name,)
                yield self._of_step("stale", f"{name} of before", names, step)
        both = {name: (self.old / name).read_bytes() for name in self.files}
        step = partial(_write_all, files={name: both[name] for name in payload})
        yield self._of_step("stale", "all but the manifest of before", tuple(payload), step)
        foreign = b'{"staged": ".tmp-0123456789abcdef", "targets": ["tiles.safetensors"]}'
        for label, data in (("foreign", foreign), ("empty", b""), ("no", b"{}")):
            step = partial(_write_all, files={".pending.json": data})
            yield self._of_step("stale", f"a journal that is {label}", (".pending.json",), step)

    def _of_file(self, kind: str, label: str, name: str, change: Callable[[bytes], bytes]) -> Case:
        return self._of_step(kind, label, (name,), partial(_changed, name=name, change=change))

    def _of_step(self, kind: str, label: str, names: tuple[str, ...], step: Step) -> Case:
        return Case(kind, label, partial(self._check, names, step))

    def _check(self, names: tuple[str, ...], step: Step) -> str | None:
        """What is wrong with how a broken bundle was taken; the bundle is mended again."""
        try:
            step(self.path)
            return self._judge(names)
        finally:
            self._mend(names)

    def _judge(self, names: tuple[str, ...]) -> str | None:
        artifact._verified.clear()  # each case stands for a process of its own
        told = []
        for what, attempt in (("use", target.use), ("verify", _verified)):
            try:
                attempt(self.path)
            except AimcError as error:
                if error.exit_code != 2:
                    return f"{what}: exit code {error.exit_code}"
                if not any(name in str(error) for name in names):
                    return f"{what}: the message names none of {', '.join(names)}: {error}"
                told.append(what)
        if told == ["use", "verify"]:
            return self._command(names)
        if not told and names == (MANIFEST,) and read_manifest(self.path) == self.manifest:
            self.tally.figures["without effect"] += 1  # such as a lost line end after the last bracket
            return None
        return f"noticed by {told or 'nothing'} alone"

    def _command(self, names: tuple[str, ...]) -> str | None:
        """The same of `aimc-deploy verify`, for some of them: it takes longer."""
        if not self.always and (self.left <= 0 or self.draw.random() > 0.02):
            return None
        self.left -= 1
        from typer.testing import CliRunner

        from aimc_deploy.cli.app import app

        self.tally.figures["given to `verify`"] += 1
        ended = CliRunner().invoke(app, ["verify", "--bundle", str(self.path)])
        said = " ".join(ended.output.split())
        if ended.exit_code != 2 or "Traceback" in said or not any(name in said for name in names):
            return f"`verify` ended with {ended.exit_code} and said: {said}"
        return None

    def _mend(self, names: tuple[str, ...]) -> None:
        for name in names:
            path = self.path / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.is_symlink() or path.exists():
                path.unlink()
            if name in self.files:
                path.write_bytes(self.files[name])
        shutil.rmtree(self.path / "x", ignore_errors=True)


def _verified(path: Path) -> None:
    problems = Bundle.open(path, check=False).verify()
    if problems:
        raise AimcError("; ".join(problems))


def flipped(data: bytes, bit: int) -> bytes:
    """``data`` with one bit the other way."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def cut(data: bytes, length: int) -> bytes:
    """The beginning of ``data``."""
    return data[:length]


def followed(data: bytes, tail: bytes) -> bytes:
    """``data`` with something behind it."""
    return data + tail


def zeroed(data: bytes, length: int) -> bytes:
    """The beginning of ``data``, and zeros in the place of the rest."""
    return data[:length] + bytes(len(data) - length)


def _changed(path: Path, name: str, change: Callable[[bytes], bytes]) -> None:
    (path / name).write_bytes(change((path / name).read_bytes()))


def _write_all(path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (path / name).write_bytes(data)


def _remove(path: Path, name: str) -> None:
    (path / name).unlink()


def _swap(path: Path, one: str, other: str) -> None:
    first, second = (path / one).read_bytes(), (path / other).read_bytes()
    _write_all(path, {one: second, other: first})


def _rename(path: Path, one: str, new: str) -> None:
    (path / one).rename(path / new)


def _copy(path: Path, one: str, new: str) -> None:
    shutil.copyfile(path / one, path / new)


def _extra(path: Path, name: str) -> None:
    (path / name).parent.mkdir(exist_ok=True)
    (path / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")


def _in_place(path: Path, name: str, make: Callable[[Path, bytes], None]) -> None:
    data = (path / name).read_bytes()
    (path / name).unlink()
    make(path / name, data)


def _link(place: Path, data: bytes) -> None:
    outside = place.parents[len(place.parts) - 2] / "nowhere"
    place.symlink_to(outside)


def _hard_link(place: Path, data: bytes) -> None:
    other = Path(f"{place}.other").with_name(".other")
    other.unlink(missing_ok=True)
    other.write_bytes(data)
    os.link(other, place)


KINDS: dict[str, Callable[[Path, bytes], None]] = {
    "folder": lambda place, data: place.mkdir(),
    "dangling link": _link,
    "link to a device": lambda place, data: place.symlink_to("/dev/zero"),
    "hard link": _hard_link,
    "FIFO": lambda place, data: os.mkfifo(place),
}
