"""The weights of a checkpoint: which files hold them, read without running code, fitted to the encoder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from aimc_deploy.errors import ModelError
from aimc_deploy.models.pickle_tensors import tensors_from_pickle

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARDS = "model-?????-of-?????.safetensors"
PICKLE = "pytorch_model.bin"
MAX_HEADER_BYTES = 100_000_000  # as safetensors has it
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True)
class Weights:
    """Tensors by their name in the checkpoint, and the SHA-256 of every file they were read from."""

    tensors: dict[str, Tensor]
    files: dict[str, str]
    pickled: bool


def safetensors_files(folder: Path) -> list[Path]:
    """The safetensors files that hold the weights in ``folder``, in order; none if it has no such file.

    Raises:
        ModelError: the index of a sharded checkpoint is malformed, or a shard it names is not there.
    """
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    index = folder / INDEX
    if not index.is_file():
        return []
    names: list[str] = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        names = sorted({str(name) for name in json.loads(index.read_bytes())["weight_map"].values()})
    if not names or any(Path(name).name != name for name in names):
        raise ModelError(
            f"{index}: not an index of safetensors files in this folder; download the model again"
        )
    absent = [name for name in names if not (folder / name).is_file()]
    if absent:
        raise ModelError(
            f"{folder}: {INDEX} names {len(names)} files, of which {len(absent)} are missing "
            f"({', '.join(absent[:3])}); download the model again"
        )
    return [folder / name for name in names]


def read_weights(folder: Path, *, allow_pickle: bool) -> Weights:
    """All tensors of the checkpoint in ``folder``: from safetensors, or from a pickle where that is allowed.

    Raises:
        ModelError: there are no weights, only a pickle that was not allowed, or a file is damaged.
    """
    files = safetensors_files(folder)
    if files:
        return Weights(_read(files), {file.name: sha256(file) for file in files}, pickled=False)
    pickle = folder / PICKLE
    if not pickle.is_file():
        raise ModelError(
            f"{folder}: no weights here ({SINGLE}, {INDEX} or {PICKLE}); give a folder that transformers' "
            "save_pretrained wrote"
        )
    if not allow_pickle:
        raise ModelError(
            f"{folder}: the weights are a pickle ({PICKLE}), which can run code when it is read: add "
            "--allow-pickle to read only its tensors in a separate process, or save the model as safetensors"
        )
    # On Windows a mapped file cannot be removed before its tensors are gone.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        converted = Path(temporary) / SINGLE
        tensors_from_pickle(pickle, converted)
        return Weights(_read([converted]), {PICKLE: sha256(pickle)}, pickled=True)


def _read(files: Sequence[Path]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            _check_unique(file)
            found = load_file(file)
        except OSError as error:
            raise ModelError(f"{file}: cannot be opened ({error.strerror or error})") from None
        except (SafetensorError, ValueError, KeyError, RecursionError) as error:
            raise ModelError(
                f"{file}: not a safetensors file, or damaged ({error}); {_remedy(file)}"
            ) from None
        twice = found.keys() & tensors.keys()
        if twice:
            raise ModelError(
                f"{file}: tensor '{min(twice)}' is in another file too; download the model again"
            )
        tensors.update(found)
    return tensors


def _check_unique(file: Path) -> None:
    """Refuse two tensors of one name, of which safetensors would take the last.

    Raises:
        ValueError: the header of a safetensors file has a name twice, or is no JSON.
    """
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"its header is above {MAX_HEADER_BYTES:,} bytes")
        header = stream.read(length)

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
            raise ValueError(f"tensor '{twice}' is there twice")
        return found

    json.loads(header, object_pairs_hook=unique)


def _remedy(file: Path) -> str:
    with file.open("rb") as stream:
        pointer = stream.read(64).startswith(b"version https://git-lfs")
    return "it is a git-lfs pointer: run `git lfs pull` there" if pointer else "download the model again"


def sha256(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def encoder_tensors(folder: Path, model: PreTrainedModel, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a model's encoder by their names in it, in float32, checked to be all it needs.

    Heads of pretraining or of another task are dropped. A pooler may be missing: it is trained with the head.

    Args:
        folder: named in errors.
        model: with the shapes that are wanted; may be on the meta device.
        tensors: by their names in the checkpoint, with or without the encoder's prefix.

    Raises:
        ModelError: tensors are missing, unknown, of another shape, quantised, NaN or infinite.
    """
    wanted = {name: tuple(value.shape) for name, value in model.base_model.state_dict().items()}
    found = _named_as_encoder(folder, model, tensors)
    missing = [name for name in wanted if name not in found and not name.startswith("pooler.")]
    if missing:
        raise ModelError(
            f"{folder}: the weights lack {_listed(missing)} of {len(wanted)} tensors that config.json asks "
            "for; download the model again, with config.json and weights from the same place"
        )
    unknown = [name for name in found if name not in wanted and not _left_over(name)]
    if unknown:
        raise ModelError(
            f"{folder}: the weights have {_listed(unknown)} that the model in config.json does not; take "
            "config.json and weights from the same place"
        )
    encoder = {}
    for name, shape in wanted.items():
        if name not in found:
            continue
        value = found[name]
        if tuple(value.shape) != shape:
            raise ModelError(
                f"{folder}: tensor '{name}' has shape {tuple(value.shape)}, config.json asks for {shape}; "
                "take both from the same place"
            )
        if value.dtype not in _FLOATS:
            raise ModelError(
                f"{folder}: tensor '{name}' is {str(value.dtype).removeprefix('torch.')}; quantised "
                "checkpoints are not supported: take the model in float32, float16 or bfloat16"
            )
        encoder[name] = value.float()
        bad = (~torch.isfinite(encoder[name])).nonzero()
        if len(bad):
            raise ModelError(
                f"{folder}: tensor '{name}' has {len(bad)} values that are NaN or infinite, the first at "
                f"{bad[0].tolist()}; the checkpoint is damaged, download or train it again"
            )
    return encoder


def _named_as_encoder(
    folder: Path, model: PreTrainedModel, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Tensors of the encoder without their prefix; heads of pretraining or of another task are dropped.

    Raises:
        ModelError: two are the same tensor of the model.
    """
    prefix = f"{model.base_model_prefix}."
    prefixed = any(name.startswith(prefix) for name in tensors)
    parts = {name for name, _ in model.base_model.named_children()}
    called: dict[str, str] = {}
    found = {}
    for name, value in tensors.items():
        inner = name.removeprefix(prefix)
        if not (name.startswith(prefix) if prefixed else name.partition(".")[0] in parts):
            continue
        other = called.setdefault(_modern(inner), name)
        if other != name:
            raise ModelError(
                f"{folder}: tensors '{other}' and '{name}' are the same one of the model, and only one can "
                "count; download the model again"
            )
        found[_modern(inner)] = value
    return found


def _modern(name: str) -> str:
    """The name today of a parameter that TensorFlow's checkpoints called gamma or beta."""
    if name.endswith(".gamma"):
        return f"{name.removesuffix('gamma')}weight"
    return f"{name.removesuffix('beta')}bias" if name.endswith(".beta") else name


def _left_over(name: str) -> bool:
    """Whether older transformers saved it with the encoder though it is no weight of it."""
    return name.startswith("pooler.") or name.rpartition(".")[2] in ("position_ids", "token_type_ids")


def _listed(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:3]) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )
