"""The hub as a stub on the loopback, with the layout of google/mobilebert-uncased and of worse ones."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
import torch
from safetensors.torch import load_file, save

from aimc_deploy.config.run import Source
from aimc_deploy.models.checkpoint import load_checkpoint

BOT = "SFconvertbot"
TITLE = "Adding `safetensors` variant of this model"
MODEL = "model.safetensors"
PICKLE = "pytorch_model.bin"
LOADER = """
import json, sys
from huggingface_hub import constants
from aimc_deploy.config.run import Source
from aimc_deploy.errors import ModelError
from aimc_deploy.models.checkpoint import load_checkpoint
results = []
for settings in json.loads(sys.argv[1]):
    constants.HF_HUB_OFFLINE = settings.pop("HF_HUB_OFFLINE", False)
    try:
        found = load_checkpoint(Source(**settings))
        mean = found.model.base_model.get_input_embeddings().weight.double().mean().item()
        results.append({**found.provenance, "mean": mean, "words": len(found.tokenizer)})
    except ModelError as error:
        results.append({"error": str(error)})
json.dump(results, open(sys.argv[2], "w"))
"""


@dataclass
class Repository:
    """Files of each revision, and pull requests as (number, author, title, status)."""

    revisions: dict[str, dict[str, bytes]]
    pulls: list[tuple[int, str, str, str]] = field(default_factory=list)
    gated: bool = False

    def commit(self, revision: str) -> str | None:
        """The sha of a branch, or of a commit itself."""
        shas = {name: hashlib.sha1(name.encode()).hexdigest() for name in self.revisions}
        return revision if revision in shas.values() else shas.get(revision)

    def files(self, commit: str) -> dict[str, bytes]:
        return next(files for name, files in self.revisions.items() if self.commit(name) == commit)


class Hub(BaseHTTPRequestHandler):
    """The few calls of the hub that loading a model makes."""

    repositories: dict[str, Repository]
    log: list[str]

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self.log.append(f"{self.command} {path}")
        if match := re.fullmatch(r"/api/models/(\w+/[\w-]+)(?:/(revision|tree|discussions)/?(.*))?", path):
            name, kind, revision = match.groups()
            repository = self.repositories.get(name)
            if repository is None:
                return self.refuse(401, "RepoNotFound")
            if kind == "discussions":
                return self.json(self.discussions(name, repository, parse_qs(url.query)))
            commit = repository.commit(revision.rstrip("/") if revision else "main")
            if commit is None:
                return self.refuse(404, "RevisionNotFound")
            files = repository.files(commit)
            if kind == "tree":
                return self.json(
                    [
                        {
                            "type": "file",
                            "path": path,
                            "size": len(data),
                            "oid": hashlib.sha1(data).hexdigest(),
                        }
                        for path, data in files.items()
                    ]
                )
            return self.json({"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})
        match = re.fullmatch(r"/(\w+/[\w-]+)/resolve/(.+)/([^/]+)", path)
        assert match, path
        repository = self.repositories[match[1]]
        if repository.gated:
            return self.refuse(403, "GatedRepo")
        commit = repository.commit(match[2])
        if commit is None:
            return self.refuse(404, "RevisionNotFound")
        data = repository.files(commit).get(match[3])
        if data is None:
            return self.refuse(404, "EntryNotFound")
        return self.send(
            200,
            data if body else b"",
            {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": commit},
            len(data),
        )

    def discussions(self, name: str, repository: Repository, query: dict[str, list[str]]) -> dict[str, Any]:
        """One to a page; filters are not obeyed: whose pull request it is must be looked at."""
        page = int(query.get("p", ["0"])[0])
        number, author, title, status = repository.pulls[page] if repository.pulls else (0, "", "", "")
        item = {
            "num": number,
            "author": {"name": author},
            "title": title,
            "status": status,
            "isPullRequest": f"refs/pr/{number}" in repository.revisions,
            "createdAt": "2023-05-01T00:00:00.000Z",
            "repo": {"name": name, "type": "model"},
        }
        return {"discussions": [item] if number else [], "count": len(repository.pulls), "start": page}

    def json(self, content: Any) -> None:
        self.send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str) -> None:
        self.send(
            status, b"{}" if self.command == "GET" else b"", {"X-Error-Code": code, "X-Error-Message": code}
        )

    def send(self, status: int, data: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def weights(folder: Path, shift: float) -> tuple[bytes, bytes]:
    """The checkpoint's tensors, every one moved by ``shift``, as safetensors and as a pickle."""
    tensors = {name: value + shift for name, value in load_file(folder / MODEL).items()}
    temporary = folder.parent / f"weights-{shift}.bin"
    torch.save(tensors, temporary)
    return save(tensors, {"format": "pt"}), temporary.read_bytes()


def repositories(folder: Path) -> dict[str, Repository]:
    common = {name: (folder / name).read_bytes() for name in ("config.json", "tokenizer.json")}
    common["tokenizer_config.json"] = (folder / "tokenizer_config.json").read_bytes()
    ours, pickled = weights(folder, 0.0)
    stale, stale_pickle = weights(folder, 1.0)
    poisoned, _ = weights(folder, 2.0)
    main = {**common, PICKLE: pickled, "tf_model.h5": b"h5", "README.md": b"words", "training.py": b"raise"}
    shard_names = [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]
    tensors = list(load_file(folder / MODEL).items())
    shards = [save(dict(tensors[part::2]), {"format": "pt"}) for part in (0, 1)]
    index = {"weight_map": {name: shard_names[place % 2] for place, (name, _) in enumerate(tensors)}}
    return {
        "google/mobilebert-uncased": Repository(
            {
                "main": main,
                "refs/pr/7": {**main, MODEL: ours},
                "refs/pr/8": {**main, MODEL: ours},
                "refs/pr/9": {**main, MODEL: poisoned},
                "refs/pr/10": {**main, MODEL: ours},
                "refs/pr/11": {**main, MODEL: poisoned},
                "refs/pr/12": main,
                "refs/pr/13": {**main, MODEL: stale, PICKLE: stale_pickle},
            },
            [
                (14, BOT, TITLE, "open"),  # a discussion, no pull request
                (13, BOT, TITLE, "open"),  # of weights that main no longer has
                (12, BOT, TITLE, "open"),  # adds nothing
                (11, "mallory", TITLE, "open"),
                (10, BOT, TITLE, "closed"),
                (9, BOT, "Adding better weights", "open"),
                (7, BOT, TITLE, "open"),
                (8, BOT, TITLE, "open"),
            ],
        ),
        "mallory/only": Repository(
            {"main": main, "refs/pr/1": {**main, MODEL: poisoned}}, [(1, "mallory", TITLE, "open")]
        ),
        "old/pickle": Repository({"main": main, "v1": {**common, MODEL: ours}}),
        "no/weights": Repository({"main": common}),
        "new/single": Repository({"main": {**main, MODEL: ours}}),
        "new/sharded": Repository(
            {
                "main": {
                    **main,
                    "model.safetensors.index.json": json.dumps(index).encode(),
                    **dict(zip(shard_names, shards, strict=True)),
                }
            }
        ),
        "gated/model": Repository({"main": {**main, MODEL: ours}}, gated=True),
    }


@dataclass
class Runs:
    """What loading each case returned, what was printed, and what was asked of the hub."""

    results: dict[str, dict[str, Any]]
    output: str
    requests: list[str] = field(default_factory=list)

    def error(self, case: str) -> str:
        """Why a case was refused."""
        return self.results[case].get("error", f"no error but {self.results[case]}")


def in_a_process(cases: dict[str, dict[str, Any]], out: Path, **environment: str) -> Runs:
    """Load each case in one fresh process: huggingface_hub reads its environment when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", LOADER, json.dumps(list(cases.values())), str(out)],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
            **environment,
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return Runs(dict(zip(cases, json.loads(out.read_text()), strict=True)), done.stdout + done.stderr)


ONLINE: dict[str, dict[str, Any]] = {
    "mobilebert": {"path": "google/mobilebert-uncased"},
    "mallory": {"path": "mallory/only"},
    "old": {"path": "old/pickle"},
    "old, asked": {"path": "old/pickle", "revision": "main"},
    "old, v1": {"path": "old/pickle", "revision": "v1"},
    "old, allowed": {"path": "old/pickle", "allow_pickle": True},
    "no weights": {"path": "no/weights", "allow_pickle": True},
    "single": {"path": "new/single"},
    "sharded": {"path": "new/sharded"},
    "gated": {"path": "gated/model"},
    "no such": {"path": "no/such"},
    "no revision": {"path": "new/single", "revision": "v9"},
    "with allowed": {"path": "google/mobilebert-uncased", "allow_pickle": True},
}
OFFLINE: dict[str, dict[str, Any]] = {
    "single": {"path": "new/single"},
    "sharded": {"path": "new/sharded"},
    "mobilebert": {"path": "google/mobilebert-uncased"},
    "mobilebert, named": {"path": "google/mobilebert-uncased", "revision": "refs/pr/8"},
    "old, allowed": {"path": "old/pickle", "revision": "main", "allow_pickle": True},
    "never seen": {"path": "never/seen"},
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def folder(home: Path, pristine: Path) -> Path:
    return Path(shutil.copytree(pristine / "mobilebert", home / "mobilebert"))


@pytest.fixture(scope="module")
def online(home: Path, folder: Path) -> Runs:
    """All cases with the hub there; the cache is kept for the cases without it."""
    log: list[str] = []
    handler = type("Handler", (Hub,), {"repositories": repositories(folder), "log": log})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        runs = in_a_process(ONLINE, home / "online.json", HF_ENDPOINT=endpoint, HF_HOME=str(home / "cache"))
    finally:
        server.shutdown()
        server.server_close()
    return Runs(runs.results, runs.output, log)


@pytest.fixture(scope="module")
def offline(home: Path, online: Runs) -> Runs:
    """Cases without a hub but with the cache: nobody listens, or huggingface_hub is told not to try."""
    told = {f"{name}, told": {**settings, "HF_HUB_OFFLINE": True} for name, settings in OFFLINE.items()}
    closed = "http://127.0.0.1:9"
    cache = str(home / "cache")
    return in_a_process({**OFFLINE, **told}, home / "offline.json", HF_ENDPOINT=closed, HF_HOME=cache)


@pytest.fixture(scope="module")
def mean(folder: Path) -> float:
    """What tells the genuine weights from the others."""
    model = load_checkpoint(Source(path=str(folder))).model
    return model.base_model.get_input_embeddings().weight.double().mean().item()


def commit(revision: str) -> str:
    return hashlib.sha1(revision.encode()).hexdigest()


def fetched(runs: Runs, repository: str) -> list[str]:
    """Names of the files of a repository that were downloaded."""
    start = f"GET /{repository}/resolve/"
    return sorted(line.rpartition("/")[2] for line in runs.requests if line.startswith(start))


def test_mobilebert_is_read_from_the_conversion_of_the_hubs_own_bot(
    online: Runs, folder: Path, mean: float
) -> None:
    converted = hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()
    assert online.results["mobilebert"] == {
        "source": "google/mobilebert-uncased",
        "revision": None,
        "commit": commit("refs/pr/8"),
        "format": "safetensors conversion refs/pr/8",
        "weight_files": {MODEL: converted},
        "model_type": "mobilebert",
        "parameters": online.results["single"]["parameters"],
        "mean": mean,
        "words": 10,
    }
    assert online.results["with allowed"] == online.results["mobilebert"]


def test_only_what_is_needed_is_downloaded_and_no_pickle(online: Runs) -> None:
    small = ["config.json", "tokenizer.json", "tokenizer_config.json"]
    assert fetched(online, "google/mobilebert-uncased") == sorted([*small, MODEL])
    assert fetched(online, "new/single") == sorted([*small, MODEL])
    assert fetched(online, "old/pickle") == sorted([*small, MODEL, PICKLE])
    others = {name.partition("/resolve")[0] for name in online.requests if PICKLE in name}
    assert others == {"GET /old/pickle", "HEAD /old/pickle"}
    ended = {line.rpartition("/")[2] for line in online.requests}
    assert not ended & {"tf_model.h5", "README.md", "training.py"}
    assert not any(line.startswith(("POST", "PUT")) for line in online.requests)


def test_nobody_else_is_trusted_with_a_conversion(online: Runs) -> None:
    message = online.error("mallory")
    assert "'mallory/only' has no model.safetensors" in message
    assert "--revision" in message
    assert "--allow-pickle" in message
    assert "config.json" in fetched(online, "mallory/only")
    assert MODEL not in fetched(online, "mallory/only")


def test_without_a_conversion_both_ways_out_are_named_and_work(online: Runs, mean: float) -> None:
    for case in ("old", "old, asked"):
        assert "revision 'main' of 'old/pickle' has no model.safetensors" in online.error(case)
        assert "--revision" in online.error(case)
        assert "--allow-pickle" in online.error(case)
    assert "SFconvertbot" in online.error("old")
    assert "SFconvertbot" not in online.error("old, asked")
    allowed, named = online.results["old, allowed"], online.results["old, v1"]
    assert (allowed["format"], allowed["mean"], allowed["commit"]) == ("pickle", mean, commit("main"))
    assert list(allowed["weight_files"]) == [PICKLE]
    assert (named["format"], named["mean"], named["commit"]) == ("safetensors", mean, commit("v1"))
    assert named["revision"] == "v1"
    assert "has neither model.safetensors nor pytorch_model.bin" in online.error("no weights")


def test_safetensors_single_and_sharded(online: Runs, mean: float) -> None:
    single, sharded = online.results["single"], online.results["sharded"]
    assert (single["format"], single["mean"]) == ("safetensors", mean)
    assert (sharded["format"], sharded["mean"]) == ("safetensors", mean)
    assert list(sharded["weight_files"]) == [f"model-0000{part}-of-00002.safetensors" for part in (1, 2)]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        (
            "gated",
            ("'gated/model' is gated", "accept its terms", "HF_TOKEN", "local folder", "`aimc-deploy map`"),
        ),
        (
            "no such",
            ("no local folder and no repository", "'no/such'", "HF_TOKEN", "`aimc-deploy map` without"),
        ),
        ("no revision", ("'new/single' has no revision 'v9'", "leave out --revision")),
    ],
)
def test_what_the_hub_refuses(online: Runs, case: str, words: tuple[str, ...]) -> None:
    assert [word for word in words if word not in online.error(case)] == []


def test_nothing_is_printed(online: Runs, offline: Runs) -> None:
    assert online.output == ""
    assert offline.output == ""


@pytest.mark.parametrize(("told", "reason"), [("", "refused"), (", told", "HF_HUB_OFFLINE is set")])
def test_without_the_hub_the_cache_serves(offline: Runs, online: Runs, told: str, reason: str) -> None:
    for case in ("single", "sharded"):
        assert offline.results[f"{case}{told}"] == online.results[case]
    named = {**online.results["mobilebert"], "revision": "refs/pr/8", "format": "safetensors"}
    assert offline.results[f"mobilebert, named{told}"] == named
    allowed = {**online.results["old, allowed"], "revision": "main"}
    assert offline.results[f"old, allowed{told}"] == allowed
    # Who made the pull request in the cache cannot be told now.
    assert "--revision refs/pr/8" in offline.error(f"mobilebert{told}")
    for case in ("mobilebert", "never seen"):
        for word in (reason, "cannot be reached", "local folder", "`aimc-deploy map` without MODEL"):
            assert word in offline.error(f"{case}{told}")
