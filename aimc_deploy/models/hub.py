"""Where a checkpoint on the Hugging Face hub is found, without ever opening a pickle unasked.

Many older repositories hold their weights only as a pickle; for most of these the hub's own bot has
opened a pull request that adds the same weights as safetensors. The order is: safetensors of the revision
asked for; the bot's conversion, when no revision was asked for; the pickle, when that is allowed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, scan_cache_dir, snapshot_download
from huggingface_hub.errors import (
    CacheNotFound,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from aimc_deploy.config.run import Source
from aimc_deploy.errors import ModelError
from aimc_deploy.models.weights import INDEX, PICKLE, SHARDS, SINGLE, safetensors_files

CONVERSION_AUTHOR = "SFconvertbot"
CONVERSION_TITLE = "Adding `safetensors` variant of this model"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
)
_FILES = ("config.json", *TOKENIZER_FILES)
_ELSEWHERE = "or give a local folder; `aimc-deploy map` without MODEL maps the bundled checkpoint"


@dataclass(frozen=True)
class Snapshot:
    """A folder with configuration, tokenizer and weights: the user's own, or one commit in the hub's cache.

    Attributes:
        folder: where they are.
        commit: sha of the commit, if it came from the hub.
        conversion: ``refs/pr/N`` if the weights are the hub's conversion of the main branch.
    """

    folder: Path
    commit: str | None = None
    conversion: str | None = None


def fetch(source: Source) -> Snapshot:
    """Download what is needed of a repository, through huggingface_hub's cache.

    Raises:
        ModelError: the repository, its revision or the hub cannot be had, or it has no weights that may
            be read.
    """
    assert source.path is not None
    with _hub_errors(source):
        snapshot = _download(source, source.revision, SINGLE, INDEX, SHARDS)
        if safetensors_files(snapshot.folder):
            return snapshot
        conversion = None if source.revision else _conversion(source.path)
        if conversion:
            return _download(source, conversion, SINGLE, INDEX, SHARDS, conversion=conversion)
        if source.allow_pickle:
            snapshot = _download(source, source.revision, PICKLE)
            if (snapshot.folder / PICKLE).is_file():
                return snapshot
    # Nothing that may be read was found.
    where = f"revision '{source.revision or 'main'}' of '{source.path}'"
    if source.allow_pickle:
        raise ModelError(
            f"{where} has neither {SINGLE} nor {PICKLE}; choose another with --revision, {_ELSEWHERE}"
        )
    bot = "" if source.revision else f", and no pull request of the hub's {CONVERSION_AUTHOR} that adds it"
    raise ModelError(
        f"{where} has no {SINGLE}{bot}: name a revision that has it and that you trust with --revision "
        f"(such as refs/pr/N for a pull request), or read the tensors of its {PICKLE} with --allow-pickle"
    )


def _download(source: Source, revision: str | None, *weights: str, conversion: str | None = None) -> Snapshot:
    assert source.path is not None
    folder = Path(snapshot_download(source.path, revision=revision, allow_patterns=[*_FILES, *weights]))
    return Snapshot(folder, commit=folder.name, conversion=conversion)


def _conversion(repository: str) -> str | None:
    """The newest pull request in which the hub's bot converted the weights that the main branch has now."""
    api = HfApi()
    offered = api.get_repo_discussions(repository, author=CONVERSION_AUTHOR, discussion_type="pull_request")
    # Asked for and looked at: the filter is the server's, the trust is ours.
    ours = [item for item in offered if item.author == CONVERSION_AUTHOR and item.title == CONVERSION_TITLE]
    if not ours:
        return None
    original = _pickles(_blobs(api, repository, "main"))
    for item in sorted(ours, key=lambda item: (item.status != "open", -item.num)):
        revision = f"refs/pr/{item.num}"
        try:
            blobs = _blobs(api, repository, revision)
        except RevisionNotFoundError:
            continue
        # A conversion of other weights than those of today would pass for them.
        if (SINGLE in blobs or INDEX in blobs) and _pickles(blobs) == original:
            return revision
    return None


def _blobs(api: HfApi, repository: str, revision: str) -> dict[str, str]:
    """Files at the top of a repository, by name, with the id of their content."""
    tree = api.list_repo_tree(repository, revision=revision)
    return {entry.path: entry.blob_id for entry in tree if hasattr(entry, "blob_id")}


def _pickles(blobs: dict[str, str]) -> dict[str, str]:
    return {name: blob for name, blob in blobs.items() if name.startswith("pytorch_model")}


@contextlib.contextmanager
def _hub_errors(source: Source) -> Iterator[None]:
    """Say in our own words what keeps the hub from handing out ``source``."""
    name = f"'{source.path}'"
    try:
        yield
    except GatedRepoError:
        raise ModelError(
            f"{name} is gated: accept its terms on the hub and log in (`hf auth login` or HF_TOKEN), "
            f"{_ELSEWHERE}"
        ) from None
    except RepositoryNotFoundError:
        raise ModelError(
            f"no local folder and no repository on the hub is called {name}: mind the spelling, log in if it "
            f"is private (`hf auth login`, or set HF_TOKEN), {_ELSEWHERE}"
        ) from None
    except RevisionNotFoundError:
        raise ModelError(
            f"{name} has no revision '{source.revision}': give one of its branches, tags or commits, or "
            "leave out --revision for its main branch"
        ) from None
    except (LocalEntryNotFoundError, OfflineModeIsEnabled) as error:
        raise ModelError(_unreachable(source, error.__cause__ or error)) from None
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise ModelError(
            f"the hub refused {name} with status {status}: try again later, {_ELSEWHERE}"
        ) from None
    except HTTPError as error:
        raise ModelError(_unreachable(source, error)) from None
    except (OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ModelError(
            f"{name} could not be read from the hub ({reason}); try again, {_ELSEWHERE}"
        ) from None


def _unreachable(source: Source, cause: BaseException) -> str:
    offline = isinstance(cause, OfflineModeIsEnabled)
    reason = "HF_HUB_OFFLINE is set" if offline else str(cause).partition("\n")[0]
    cached = [] if source.revision else _cached_pull_requests(str(source.path))
    hint = f"name the revision in the cache that you trust (--revision {cached[0]}), " if cached else ""
    return (
        f"'{source.path}' is not a local folder, its weights are not in the cache, and the hub cannot be "
        f"reached ({reason}): {hint}connect and try again, {_ELSEWHERE}"
    )


def _cached_pull_requests(repository: str) -> list[str]:
    """Pull requests of a repository of which the cache holds safetensors; offline nobody can tell whose."""
    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return []
    return sorted(
        ref
        for repo in repositories
        if repo.repo_id == repository and repo.repo_type == "model"
        for revision in repo.revisions
        if any(file.file_name in (SINGLE, INDEX) for file in revision.files)
        for ref in revision.refs
        if ref.startswith("refs/pr/")
    )
