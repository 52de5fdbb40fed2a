"""A pretrained checkpoint as a classifier with a fresh head.

Everything the encoder needs must be in the checkpoint, with the right shape and finite; what pretraining
left beside it is dropped. Nothing of the checkpoint is ever run: no custom code, no pickle unasked.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import metadata_load
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id
from transformers import (
    CONFIG_MAPPING,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from yaml import YAMLError

from aimc_deploy.config.run import Source
from aimc_deploy.errors import ModelError
from aimc_deploy.models.bundled import BUNDLED
from aimc_deploy.models.hub import Snapshot, fetch
from aimc_deploy.models.silence import silence
from aimc_deploy.models.weights import Weights, encoder_tensors, read_weights

FAMILIES = ("mobilebert", "bert", "distilbert", "roberta", "electra")
HEAD_SEED = 0
# What a configuration says about another task, another storage or a way to run, not about the encoder.
_NOT_OURS = (
    "attn_implementation",
    "auto_map",
    "dtype",
    "experts_implementation",
    "id2label",
    "label2id",
    "num_labels",
    "output_attentions",
    "output_hidden_states",
    "problem_type",
    "quantization_config",
    "return_dict",
    "torch_dtype",
)


@dataclass(frozen=True)
class Checkpoint:
    """A model ready to be mapped.

    Attributes:
        model: classifier with two labels and a fresh head; float32, in evaluation mode, on the CPU.
        tokenizer: transformers' own, from the same folder or commit.
        provenance: where it came from; JSON.
    """

    model: PreTrainedModel
    tokenizer: Any
    provenance: dict[str, Any]


def load_checkpoint(source: Source, *, default: Path | None = None) -> Checkpoint:
    """Load a local folder, a repository of the hub, or, without a path, the bundled checkpoint.

    The head is the same in every process and torch's global generator is left as it was. Nothing is
    printed.

    Args:
        source: what to load.
        default: folder to take in the place of the bundled checkpoint.

    Raises:
        ModelError: it cannot be found, is incomplete or damaged, or is of another family.
    """
    with silence():
        found = _find(source, default or BUNDLED)
        config = _read_config(found.folder)
        tokenizer = _read_tokenizer(found.folder, config)
        weights = read_weights(found.folder, allow_pickle=source.allow_pickle)
        model = _build(found.folder, config, weights)
    if found.conversion:
        form = f"safetensors conversion {found.conversion}"
    else:
        form = "pickle" if weights.pickled else "safetensors"
    provenance = {
        "source": source.path or f"bundled {found.folder.name}",
        "revision": source.revision,
        "commit": found.commit,
        "format": form,
        "weight_files": weights.files,
        "model_type": config.model_type,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    if (told := _license(found.folder)) is not None:
        provenance["license"] = told
    return Checkpoint(model, tokenizer, provenance)


def _find(source: Source, bundled: Path) -> Snapshot:
    if source.path is None and not bundled.is_dir():
        raise ModelError(
            f"the bundled checkpoint is not there ({bundled}): install the package again, or name a model: "
            "`aimc-deploy map MODEL` with a hub id or a local folder"
        )
    place = str(bundled) if source.path is None else os.path.expanduser(source.path)
    if os.path.isdir(place):
        if source.revision is not None:
            raise ModelError(
                f"{place} is a local folder and has no revision '{source.revision}': leave out --revision"
            )
        if not os.listdir(place):
            raise ModelError(
                f"{place}: the folder is empty; give one that has config.json, tokenizer and weights"
            )
        return Snapshot(Path(place))
    if os.path.exists(place):
        raise ModelError(f"{place} is a file: give the folder that it is in")
    try:
        validate_repo_id(place)
    except HFValidationError:
        raise ModelError(
            f"there is no folder '{source.path}', and it cannot be a hub id (NAMESPACE/NAME): give a "
            "folder in Hugging Face layout or a hub id; `aimc-deploy map` without MODEL maps the bundled one"
        ) from None
    return fetch(source)


def _license(folder: Path) -> str | None:
    """What the checkpoint's own card says of its licence, if it has one that can be read."""
    try:
        told = (metadata_load(folder / "README.md") or {}).get("license")
    except (OSError, ValueError, YAMLError):
        return None
    return told if isinstance(told, str) and re.fullmatch(r"[A-Za-z0-9.+-]{1,64}", told) else None


def _read_config(folder: Path) -> PreTrainedConfig:
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder}: no config.json; give a folder that transformers' save_pretrained wrote")
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: not valid JSON ({error}); download the model again") from None
    family = content.get("model_type") if isinstance(content, dict) else None
    if not isinstance(family, str) or family not in FAMILIES:
        raise ModelError(
            f"{path}: model_type is {family!r}; supported: {', '.join(FAMILIES)}. Choose such a model, or "
            "add model_type if the file is older than it"
        )
    kept = {key: value for key, value in content.items() if key not in _NOT_OURS and not key.startswith("_")}
    with _errors_of_config(path):
        return CONFIG_MAPPING[family].from_dict({**kept, "num_labels": 2})


def _read_tokenizer(folder: Path, config: PreTrainedConfig) -> Any:
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # the tokenizers' own errors have no common type
        raise ModelError(
            f"{folder}: the tokenizer cannot be read ({brief(error)}); download it again"
        ) from None
    # Where there are no files, transformers makes a tokenizer of special tokens alone rather than complain.
    if not set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens):
        raise ModelError(
            f"{folder}: no vocabulary (tokenizer.json, vocab.txt, or vocab.json with merges.txt); save the "
            "tokenizer there with tokenizer.save_pretrained"
        )
    if tokenizer.pad_token_id is None:
        raise ModelError(
            f"{folder}: the tokenizer has no padding token; set pad_token in tokenizer_config.json"
        )
    largest = max(tokenizer.get_vocab().values(), default=0)
    if largest >= config.vocab_size:
        raise ModelError(
            f"{folder}: the tokenizer gives ids up to {largest}, but config.json says vocab_size "
            f"{config.vocab_size}; take both from the same model"
        )
    return tokenizer


def _build(folder: Path, config: PreTrainedConfig, weights: Weights) -> PreTrainedModel:
    """The classifier with the checkpoint's encoder."""
    with _errors_of_config(folder / "config.json"), torch.device("meta"):
        skeleton = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    # Checked before any memory is taken for the sizes that config.json claims.
    encoder = encoder_tensors(folder, skeleton, weights.tensors)
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would also seed the generators of GPUs.
        torch.default_generator.manual_seed(HEAD_SEED)
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    model.base_model.load_state_dict(encoder, strict=False)
    return model.eval()


def brief(error: Exception) -> str:
    """The kind of an error and the beginning of what it says, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


@contextlib.contextmanager
def _errors_of_config(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # transformers checks some values, and builds on others until torch objects
        raise ModelError(
            f"{path}: no model can be built from it ({brief(error)}); download it again"
        ) from None
