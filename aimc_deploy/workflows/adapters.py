"""Adapters in a bundle: plain PEFT files, the head included, and what they were trained for.

``adapters/NAME/adapter.json`` tells the task, the method, the hardware and the static input ranges. A
LoRA adapter is PEFT's own two files beside it; any other has ``head.safetensors``. That is all where only the
head was trained (``method: head``), and where all weights were (``method: full``), which are then the
bundle's tiles; ``method: layers`` has those beside it that it trained itself.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from peft import (
    LoraConfig,
    PeftModel,
    TaskType,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_QUESTION_ANSWERING_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PreTrainedModel,
)

from aimc_deploy.artifact.adapter import AdapterRecord
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import read_json, write_json
from aimc_deploy.artifact.manifest import validated
from aimc_deploy.artifact.tensors import write_tensors
from aimc_deploy.config.adapt import Lora
from aimc_deploy.errors import ArtifactError, ConfigError
from aimc_deploy.models.select import head_modules
from aimc_deploy.models.silence import silence
from aimc_deploy.nn.convert import analog_layers
from aimc_deploy.tasks.registry import Kind

WEIGHTS = "adapter_model.safetensors"
"""PEFT's own name for the parameters of an adapter."""


def read_record(bundle: Bundle, name: str) -> AdapterRecord:
    """The record of an adapter.

    Raises:
        ArtifactError: there is no such adapter (the message lists those there are), or a field is wrong.
    """
    if name not in bundle.adapters():
        there = ", ".join(bundle.adapters()) or "none yet"
        raise ArtifactError(
            f"{bundle.path} has no adapter '{name}' (there: {there}); train it with "
            f"`aimc-deploy adapt --task TASK --name {name}`"
        )
    file = f"adapters/{name}/adapter.json"
    return validated(AdapterRecord, bundle.read_json(file), bundle.path / file)


def layers_that_fit(model: nn.Module, key: str, patterns: Iterable[str]) -> list[str]:
    """The names of the analog layers that one of these shell patterns fits.

    Args:
        key: the setting that they are the value of.

    Raises:
        ConfigError: one fits none.
    """
    there = sorted(analog_layers(model))
    patterns = tuple(patterns)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in there):
            raise ConfigError(
                f"{key}: '{pattern}' fits no analog layer; they are called as {there[0]} and "
                f"{len(there) - 1} others: see `aimc-deploy inspect`"
            )
    return [name for name in there if any(fnmatchcase(name, pattern) for pattern in patterns)]


def add_lora(model: PreTrainedModel, kind: Kind, lora: Lora) -> PeftModel:
    """LoRA on the analog layers that ``lora`` says; the head is trained beside it, all else is frozen.

    Raises:
        ConfigError: a pattern fits no analog layer.
    """
    targets = layers_that_fit(model, "adapt.lora.layers", lora.layers)
    layers_that_fit(model, "adapt.lora.ranks", [own.layers for own in lora.ranks])
    ranks = {name: own.r for own in reversed(lora.ranks) for name in targets if fnmatchcase(name, own.layers)}
    config = LoraConfig(
        task_type=TaskType.QUESTION_ANS if kind == "spans" else TaskType.SEQ_CLS,
        r=lora.r,
        lora_alpha=lora.alpha,  # pyrefly: ignore[bad-argument-type]  # PEFT divides it by r, no more
        lora_dropout=lora.dropout,
        bias="none",
        target_modules=targets,
        rank_pattern=ranks,
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        modules_to_save=head_modules(model),
    )
    with silence():
        peft_model = get_peft_model(model, config)
    assert isinstance(peft_model, PeftModel)
    return peft_model


def train_head(model: PreTrainedModel) -> None:
    """Let the head be trained, and nothing else."""
    model.requires_grad_(False)
    heads = set(head_modules(model))
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not heads.isdisjoint(name.split(".")))


def check_start(bundle: Bundle, name: str, task: str) -> None:
    """Refuse an adapter that one for ``task`` cannot go on from.

    Raises:
        ArtifactError: there is none of that name, it is for another task, or it is no LoRA adapter.
    """
    record = read_record(bundle, name)
    if record.stages:
        there = ", ".join(stage.adapter for stage in record.stages)
        raise ArtifactError(f"adapter '{name}' is a schedule: go on from one of its adapters, {there}")
    if record.task != task or record.method != "lora":
        raise ArtifactError(
            f"adapter '{name}' is for task '{record.task}' by method '{record.method}': an adapter for "
            f"'{task}' can only go on from a LoRA adapter of the same task (adapt.start_from)"
        )


def go_on_from(model: PeftModel, bundle: Bundle, name: str) -> None:
    """Give ``model`` the parameters of an adapter of the bundle, head included.

    Raises:
        ArtifactError: the adapter has another rank or is for other layers.
    """
    tensors = bundle.read_tensors(f"adapters/{name}/{WEIGHTS}")
    try:
        loaded = set_peft_model_state_dict(model, tensors)
    except RuntimeError:  # other shapes
        loaded = None
    own = get_peft_model_state_dict(model, save_embedding_layers=False)
    if loaded is None or loaded.unexpected_keys or own.keys() != tensors.keys():
        raise ArtifactError(
            f"adapter '{name}' has another rank or other layers than adapt.lora asks for: one that goes on "
            "from it (adapt.start_from) needs the same"
        )


def write_adapter(folder: Path, model: nn.Module, record: AdapterRecord, bundle: Bundle) -> None:
    """An adapter's files: PEFT's own, or only a head; and the record."""
    if isinstance(model, PeftModel):
        _write_lora(folder, model, str(bundle.manifest.source.get("source", "")))
    else:
        assert isinstance(model, PreTrainedModel)
        write_tensors(folder / "head.safetensors", head_state(model))
    write_json(folder / "adapter.json", record.model_dump(mode="json"))


_UNORDERED = ("target_modules", "modules_to_save", "exclude_modules")


def _write_lora(folder: Path, model: PeftModel, base_name: str) -> None:
    """PEFT's files, with every list in a fixed order so that equal adapters are equal files."""
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    settings = read_json(folder / "adapter_config.json")
    settings["base_model_name_or_path"] = base_name
    ordered = {
        key: sorted(value) if key in _UNORDERED and value else value for key, value in settings.items()
    }
    write_json(folder / "adapter_config.json", ordered)


def fit_head(model: PreTrainedModel, kind: Kind, outputs: int, *, seed: int = 0) -> PreTrainedModel:
    """The model with a fresh head of another kind or size; the model itself if its head is of this one.

    The encoder is the same object. torch's global generator is left as it was.
    """
    heads = (
        MODEL_FOR_QUESTION_ANSWERING_MAPPING if kind == "spans" else MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    )
    wanted: Any = heads[type(model.config)]
    if type(model) is wanted and model.config.num_labels == outputs:
        return model
    config = copy.deepcopy(model.config)
    config.num_labels = outputs
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = wanted(config)
    setattr(fresh, fresh.base_model_prefix, model.base_model)
    return fresh.to(model.device).requires_grad_(False).train(model.training)


def head_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """Every parameter of the task head by its name in the model."""
    heads = tuple(head_modules(model))
    return {
        name: value.detach().clone()
        for name, value in model.state_dict().items()
        if any(part in heads for part in name.split("."))
    }


def trainable_parameters(model: nn.Module) -> int:
    """Number of parameters that training changes."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def device_of(choice: str) -> torch.device:
    """The torch device asked for; ``auto`` is CUDA where there is one, else the CPU.

    Raises:
        ConfigError: there is no such device.
    """
    if choice == "auto":
        choice = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=choice).device
    except (RuntimeError, AssertionError) as error:  # an AssertionError where torch was built without it
        reason = str(error).partition("\n")[0].rstrip(".")
        raise ConfigError(f"device '{choice}' cannot be used ({reason}): choose auto, cpu or cuda") from None
