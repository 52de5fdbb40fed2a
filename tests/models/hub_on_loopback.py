"""A hub on the loopback: repositories with conversions of every kind, and runs of processes that ask it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import torch
from safetensors.torch import load_file, save

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
