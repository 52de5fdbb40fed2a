"""Hostile containers and configurations: each is refused, quickly, in little memory, and runs nothing.

Whoever made them knows the format: hashes and seals fit what they tell of.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from small_bundle import change_manifest, sealed
from tiny_deployment import files_of

from aimc_deploy.artifact import bundle as artifact
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import MANIFEST
from aimc_deploy.config.load import load_faults, load_run, load_task
from aimc_deploy.errors import AimcError
from campaigns import target
from campaigns.cases import Case, Tally, chosen, run
from campaigns.hostile_files import CANARY, JSONS, PICKLES, SAFETENSORS, YAMLS
from campaigns.watch import Watch

SECONDS = 1.0
MIB = 256
PATIENCE_S = 120
"""After which a case is taken to wait for ever, whatever else the machine does."""

Step = Callable[[Path], object]
LISTED = ("README.md", "config.json", "hardware.json", "tile_map.json")
SECRET = b'{"xyzzy": 1}'
NO_NAME = "is no file name of a bundle"
STAGED = ".tmp-0123456789abcdef"
TENSORS = ("tiles.safetensors", "model.safetensors", "adapters/one/adapter_model.safetensors")


def campaign(folder: Path, size: int | None, seed: int, only: str | None) -> Tally:
    """Every case in a folder of its own."""
    tally = Tally("hostile", seed, figures={"longest, s of CPU": 0.0, "most memory, MiB": 0.0})
    sound = folder / "sound"
    target.complete(sound)
    target.use(sound)  # what is imported or compiled once is no doing of a case
    cases = Cases(folder, sound, tally)
    for warm in (cases.yaml(b"a: [1, {b: !!x c}]"), cases.bundle(lambda path: None), _tables):
        with contextlib.suppress(AimcError):
            warm(folder / "sound")
    return run(tally, chosen(list(cases.all()), size, seed, only))


def _tables(path: Path) -> None:
    """One of each of the files a user writes."""
    for name, load in (("w1.yaml", load_run), ("w2.yaml", load_task), ("w3.yaml", load_faults)):
        (path.parent / name).write_text("x: 1\nhardware: none\n")
        with contextlib.suppress(AimcError):
            load(path.parent / name)


class Cases:
    """Makes them."""

    def __init__(self, folder: Path, sound: Path, tally: Tally) -> None:
        self.folder, self.sound, self.tally = folder, sound, tally
        self.watch = Watch()
        self.place = folder / "case" / "case"
        self.outside = folder / "case" / "outside"  # beside what the hook allows
        self.secret = self.outside / "secret.json"

    def all(self) -> Iterator[Case]:
        groups: tuple[tuple[str, Iterator[tuple[str, Step]]], ...] = (
            ("name in the manifest", self.names()),
            ("link or device", self.links()),
            ("manifest", self.manifests()),
            ("JSON", self.json()),
            ("safetensors", self.tensors()),
            ("pickle", self.pickles()),
            ("journal", self.journals()),
            ("YAML", self.yamls()),
        )
        for kind, group in groups:
            for label, step in group:
                yield Case(kind, f"{kind}: {label}", partial(self.judge, step))

    def judge(self, step: Step) -> str | None:
        """What is wrong with how a case was taken."""
        place = self._fresh()
        artifact._verified.clear()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        before, refused, code = _memory("VmRSS"), "", 2
        attempt = step(place / "bundle")
        outside = files_of(self.outside)
        assert callable(attempt)
        signal.signal(signal.SIGALRM, _too_long)
        signal.setitimer(signal.ITIMER_REAL, PATIENCE_S)
        start = time.process_time()
        try:
            with self.watch.over(place):
                attempt()
        except AimcError as error:
            refused, code = str(error), error.exit_code
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        seconds, more = time.process_time() - start, _memory("VmHWM") - before
        figures = self.tally.figures
        figures["longest, s of CPU"] = max(figures["longest, s of CPU"], round(seconds, 3))
        figures["most memory, MiB"] = max(figures["most memory, MiB"], round(more, 1))
        if _ran():
            return "code was run"
        if files_of(self.outside) != outside:
            return "it changed what is outside of the bundle"
        if not refused:
            return "it was taken"
        if code != 2:
            return f"it ended with {code}, not 2: {refused}"
        if "xyzzy" in refused or "\x1b" in refused:
            return f"the message repeats what it must not: {refused!r}"
        if self.watch.seen:
            return "; ".join(self.watch.seen[:5])
        if seconds > SECONDS or more > MIB:
            return f"refused after {seconds:.2f} s of CPU, with {more:.0f} MiB more"
        return None

    def _fresh(self) -> Path:
        """A folder with a sound bundle, and beside it the file that escapes lead to."""
        shutil.rmtree(self.place.parent, ignore_errors=True)
        shutil.copytree(self.sound, self.place / "bundle")
        self.outside.mkdir()
        self.secret.write_bytes(SECRET)
        (self.outside / "0").write_bytes(b"{}")
        return self.place

    def bundle(self, change: Callable[[Path], object], reason: str = "") -> Step:
        """A case that opens a bundle and reads all of it, and asks `verify` where that is not refused.

        Args:
            reason: what it must be refused with.
        """

        def step(path: Path) -> Callable[[], None]:
            change(path)

            def attempt() -> None:
                try:
                    target.use(path)
                    problems = Bundle.open(path, check=False).verify()
                    if problems:
                        raise AimcError("; ".join(problems))
                except AimcError as error:
                    if reason not in str(error):
                        raise ValueError(f"it was refused, but not with '{reason}'") from error
                    raise

            return attempt

        return step

    def yaml(self, data: bytes, load: Callable[[Path], object] = load_run) -> Step:
        """A case that reads a file that people write."""

        def step(path: Path) -> Callable[[], object]:
            file = path.parent / "file.yaml"
            file.write_bytes(data)
            return partial(load, file)

        return step

    def names(self) -> Iterator[tuple[str, Step]]:
        entry = {"sha256": sha256(SECRET).hexdigest(), "size": len(SECRET)}
        names = [
            *(
                "../../outside/secret.json",
                "adapters/../../../outside/secret.json",
                "./hardware.json",
                "/etc/passwd",
            ),
            *(
                str(self.secret),
                "//etc/passwd",
                "C:\\secret.json",
                "\\\\server\\share\\a.json",
                "c:secret.json",
            ),
            *(
                "..\\..\\outside\\secret.json",
                "adapters/one/..",
                "adapters/..",
                "..",
                ".",
                "",
                "a.json/",
                "a.json/..",
            ),
            *(
                "~/secret.json",
                "$HOME/a.json",
                "%TEMP%\\a.json",
                "file:///etc/passwd",
                "http://127.0.0.1/a.json",
            ),
            *(
                "a\x00.json",
                "a\n.json",
                "a\r.json",
                "a\x1b[2J.json",
                "a\u202e.json",
                "a\u200b.json",
                "\u00e9.json",
            ),
            *(
                "e\u0301.json",
                "\uff0e\uff0e/a.json",
                "..%2fa.json",
                "..%c0%afa.json",
                "NUL",
                "CON.json:x",
                "aux",
            ),
            *("a.json ", " a.json", "a.json.", "a..json", "-rf.json", ".hidden.json", "adapters/.x/a.json"),
            *("a" * 200 + ".json", "a/" * 2000 + "a.json", "adapters/a/b/c.json", "model.pkl", "model.bin"),
            *("pytorch_model.bin", "adapters/one/adapter_model.bin", "adapters/one/x.py", "x.so", "setup.py"),
            *("results/x.html", "report/x.js", "tokenizer.py", "training_args.bin", "optimizer.pt", "x.npy"),
            *(
                "x.npz",
                "x.joblib",
                "x.h5",
                "x.gguf",
                "x.onnx",
                "x.zip",
                "x.tar",
                "MANIFEST.json",
                "Manifest.json",
            ),
        ]
        for name in names:
            change = partial(
                change_manifest, change=lambda content, name=name: content["files"].update({name: entry})
            )
            label = "an absolute path" if name == str(self.secret) else f"{name!r:.60}"
            yield label, self.bundle(change, NO_NAME)
        for one, other, reason in (
            ("Config.json", "config.json", NO_NAME),
            ("adapters/ONE/adapter.json", "adapters/one/adapter.json", "are one file where case"),
        ):
            yield f"{one} beside {other}", self.bundle(partial(_twin, one=one, other=other), reason)

    def links(self) -> Iterator[tuple[str, Step]]:
        secret = self.secret
        places = {
            "a link": lambda place: place.symlink_to(secret),
            "a relative link": lambda place: place.symlink_to(os.path.relpath(secret, place.parent)),
            "a link to itself": lambda place: place.symlink_to(place),
            "a link to /dev/zero": lambda place: place.symlink_to("/dev/zero"),
            "a link to /proc/self/environ": lambda place: place.symlink_to("/proc/self/environ"),
            "a hard link": lambda place: os.link(secret, place),
            "a FIFO": os.mkfifo,
            "a socket": _socket,
            "a folder": lambda place: place.mkdir(),
        }
        for name in (MANIFEST, "config.json", "tiles.safetensors", "adapters/one/adapter.json"):
            for what, make in places.items():
                yield f"{name} is {what}", self.bundle(partial(_replaced, name=name, make=make, to=secret))
        for folder in ("adapters", "adapters/one", "results"):
            yield (
                f"{folder} is a link",
                self.bundle(partial(_linked_folder, name=folder, to=self.outside / "moved")),
            )
        yield "the lock is a link", self._written(".lock", secret)

    def _written(self, name: str, to: Path) -> Step:
        """A writer meets a link where its lock would be."""

        def step(path: Path) -> Callable[[], object]:
            (path / name).unlink(missing_ok=True)
            (path / name).symlink_to(to)
            return lambda: Bundle.open(path).put_files({"results/x.csv": b""})

        return step

    def manifests(self) -> Iterator[tuple[str, Step]]:
        changes: dict[str, Callable[[dict[str, Any]], object]] = {
            "schema 2.0": lambda content: content.update(schema_version="2.0"),
            "schema 1": lambda content: content.update(schema_version=1),
            "schema of 10^6 digits": lambda content: content.update(schema_version="1" * 10**6),
            "no schema": lambda content: content.pop("schema_version"),
            "a feature nobody knows": lambda content: content.update(required_features=["run me"]),
            "10^5 features": lambda content: content.update(required_features=["x"] * 10**5),
            "files is a list": lambda content: content.update(files=[]),
            "files is null": lambda content: content.update(files=None),
            "a size below 0": lambda content: content["files"]["config.json"].update(size=-1),
            "a size of 10^300": lambda content: content["files"]["config.json"].update(size=10**300),
            "a size of 2^63": lambda content: content["files"]["config.json"].update(size=2**63),
            "a size as text": lambda content: content["files"]["config.json"].update(size="19"),
            "a size that is true": lambda content: content["files"]["config.json"].update(size=True),
            "a digest of other letters": lambda content: content["files"]["config.json"].update(
                sha256="g" * 64
            ),
            "a digest of 10^6": lambda content: content["files"]["config.json"].update(sha256="a" * 10**6),
            "a digest of another file": lambda content: content["files"]["config.json"].update(
                sha256="a" * 64
            ),
            "a seed of 4,000 digits": lambda content: content.update(seed=int("9" * 4000) * -1),
            "25,000 files": lambda content: content["files"].update(
                {f"a{at}.json": {"sha256": "0" * 64, "size": 0} for at in range(25_000)}
            ),
            "libraries nested": lambda content: content.update(libraries={"a": {"b": {}}}),
        }
        for label, change in changes.items():
            yield label, self.bundle(partial(change_manifest, change=change))
        for label, data in JSONS.items():
            yield label, self.bundle(partial(_write, name=MANIFEST, data=data))

    def json(self) -> Iterator[tuple[str, Step]]:
        for name in ("tile_map.json", "adapters/one/adapter.json"):
            for label, data in JSONS.items():
                yield f"{name}: {label}", self.bundle(partial(sealed, files={name: data}))

    def tensors(self) -> Iterator[tuple[str, Step]]:
        for label, data in SAFETENSORS.items():
            for name in TENSORS:
                yield f"{name}: {label}", self.bundle(partial(sealed, files={name: data}))

    def pickles(self) -> Iterator[tuple[str, Step]]:
        for label, data in PICKLES.items():
            for name in ("tiles.safetensors", "config.json", "adapters/one/adapter_model.safetensors"):
                yield f"{label} as {name}", self.bundle(partial(sealed, files={name: data}))
            yield f"{label} as {MANIFEST}", self.bundle(partial(_write, name=MANIFEST, data=data))
            for name in ("model.pkl", "adapters/one/adapter_model.bin"):
                yield f"{label} as {name}", self.bundle(partial(sealed, files={name: data}))
            yield f"{label} as a recipe", self.yaml(data)

    def journals(self) -> Iterator[tuple[str, Step]]:
        for label, content in {
            "leads out": {"staged": "../../outside", "targets": ["config.json"]},
            "is absolute": {"staged": str(self.outside), "targets": ["config.json"]},
            "targets out": {"staged": STAGED, "targets": ["../../outside/secret.json"]},
            "targets an absolute path": {"staged": STAGED, "targets": [str(self.secret)]},
            "has 10^4 targets": {"staged": STAGED, "targets": ["../x"] * 10**4},
            "is a list": [],
            "has numbers": {"staged": 1, "targets": [1]},
        }.items():
            data = json.dumps(content).encode()
            yield label, self.bundle(partial(_pending, data=data))
        for label, data in JSONS.items():
            yield label, self.bundle(partial(_write, name=".pending.json", data=data))

    def yamls(self) -> Iterator[tuple[str, Step]]:
        for label, data in YAMLS.items():
            yield label, self.yaml(data)
            yield f"{label}, as a task", self.yaml(data, load_task)
            yield f"{label}, as a fault map", self.yaml(data, load_faults)


def _twin(path: Path, one: str, other: str) -> None:
    (path / one).parent.mkdir(exist_ok=True)
    sealed(path, {one: (path / other).read_bytes()})


def _write(path: Path, name: str, data: bytes) -> None:
    (path / name).write_bytes(data)


def _pending(path: Path, data: bytes) -> None:
    """A journal, and what it says is to be put in the place of something."""
    (path / STAGED).mkdir()
    (path / STAGED / "0").write_bytes(b"{}")
    _write(path, ".pending.json", data)


def _replaced(path: Path, name: str, make: Callable[[Path], object], to: Path) -> None:
    """Put something else in the place of a file, which is now where links lead: its content would fit."""
    (path / name).rename(to)
    make(path / name)


def _linked_folder(path: Path, name: str, to: Path) -> None:
    (path / name).rename(to)
    (path / name).symlink_to(to)


def _socket(place: Path) -> None:
    here = os.getcwd()
    os.chdir(place.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(place.name)
    finally:
        os.chdir(here)


def _memory(what: str) -> float:
    """A figure of this process from the kernel, in MiB."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(what):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _ran() -> bool:
    """Whether something left the sign that it was run; the sign is removed."""
    if CANARY.is_dir():
        CANARY.rmdir()
    elif CANARY.exists():
        CANARY.unlink()
    else:
        return False
    return True


def _too_long(*_: object) -> None:
    raise TimeoutError(f"it did not end within {PATIENCE_S} s")
