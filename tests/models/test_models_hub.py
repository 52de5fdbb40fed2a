"""The hub as a stub on the loopback, with the layout of google/mobilebert-uncased and of worse ones."""

from __future__ import annotations

import hashlib
import shutil
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hub_on_loopback import (
    MODEL,
    PICKLE,
    Hub,
    Runs,
    in_a_process,
    repositories,
)

from aimc_deploy.config.run import Source
from aimc_deploy.models.checkpoint import load_checkpoint

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
