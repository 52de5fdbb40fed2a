"""Adapters in a bundle: plain PEFT files, the head included, and what they were trained for.

``adapters/NAME/adapter.json`` tells the task, the method, the hardware and the static input ranges. A
LoRA adapter is PEFT's own two files beside it. Retraining all weights (``method: full``) leaves only a
head, ``head.safetensors``, because its weights are the bundle's tiles.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
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
from peft.tuners.lora import LoraLayer
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
from aimc_deploy.config.run import Lora
from aimc_deploy.errors import ArtifactError, ConfigError
from aimc_deploy.models.checkpoint import brief
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


def add_lora(model: PreTrainedModel, kind: Kind, lora: Lora) -> PeftModel:
    """LoRA on the analog layers that ``lora`` says; the head is trained beside it, all else is frozen.

    Raises:
        ConfigError: a pattern fits no analog layer.
    """
    there = sorted(analog_layers(model))
    for key, patterns in (("layers", lora.layers), ("ranks", tuple(own.layers for own in lora.ranks))):
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in there):
                raise ConfigError(
                    f"adapt.lora.{key}: '{pattern}' fits no analog layer; they are called as {there[0]} and "
                    f"{len(there) - 1} others: see `aimc-deploy inspect`"
                )
    targets = [name for name in there if any(fnmatchcase(name, pattern) for pattern in lora.layers)]
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
    """An adapter's files: PEFT's own, or only a head where all weights were retrained; and the record."""
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


def attach(bundle: Bundle, model: PreTrainedModel, name: str) -> nn.Module:
    """``model`` with an adapter of the bundle: a PEFT model, or the model itself where only the head is new.

    ``model`` must carry the adapter's number of labels.

    Raises:
        ArtifactError: a file of the adapter is missing or damaged, or does not fit the model; the message
            names the tensor.
    """
    record = read_record(bundle, name)
    folder = f"adapters/{name}"
    for file in bundle.manifest.files:
        if file.startswith(f"{folder}/"):
            bundle.file(file)
    if record.method == "full":
        head = bundle.read_tensors(f"{folder}/head.safetensors")
        _check_same(head, head_state(model), bundle.path / folder / "head.safetensors")
        model.load_state_dict(head, strict=False)
        adapted: nn.Module = model
    else:
        # Only safetensors is ever opened: without it PEFT would fall back to a pickle.
        if f"{folder}/{WEIGHTS}" not in bundle.manifest.files:
            raise ArtifactError(f"{bundle.path}/{folder} has no {WEIGHTS}; adapt again")
        tensors = bundle.read_tensors(f"{folder}/{WEIGHTS}")
        _check_settings(bundle, f"{folder}/adapter_config.json")
        # PEFT draws initial values before it is given the trained ones: nobody's generator may notice.
        with silence(), torch.random.fork_rng(devices=[]):
            try:
                config = LoraConfig.from_pretrained(str(bundle.path / folder))
                config.inference_mode, config.base_model_name_or_path = True, None
                adapted = get_peft_model(model, config)
            except (RuntimeError, ValueError, TypeError, KeyError, AttributeError) as error:
                raise ArtifactError(
                    f"{bundle.path}/{folder} does not fit the model ({brief(error)}); adapt again"
                ) from None
            own = get_peft_model_state_dict(adapted, save_embedding_layers=False)
            _check_same(tensors, own, bundle.path / folder / WEIGHTS)
            set_peft_model_state_dict(adapted, tensors)
    return adapted.eval()


def _check_settings(bundle: Bundle, file: str) -> None:
    """Refuse settings of PEFT that this package never writes, as to LoRA's kind and numbers.

    Raises:
        ArtifactError: it is no LoRA adapter, or has no rank or scale.
    """
    match bundle.read_json(file):
        case {"peft_type": "LORA", "r": int(rank), "lora_alpha": int() | float() as alpha}:
            if rank < 1 or alpha <= 0:
                raise ArtifactError(
                    f"{bundle.path}/{file}: r is {rank} and lora_alpha {alpha:g}: a rank is 1 or more, and "
                    "lora_alpha above 0; adapt again"
                )
        case _:
            raise ArtifactError(
                f"{bundle.path}/{file} does not describe a LoRA adapter (peft_type, r, lora_alpha); adapt "
                "again"
            )


def _check_same(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], where: Path) -> None:
    """Refuse tensors of an adapter that are not, by name, shape and type, those that the model has.

    Raises:
        ArtifactError: one is missing, unknown or otherwise.
    """
    for name in sorted(tensors.keys() ^ own.keys()):
        problem = "is no tensor of this adapter" if name in tensors else "is missing"
        raise ArtifactError(f"{where}: '{name}' {problem}; adapt again")
    for name, tensor in sorted(tensors.items()):
        if tensor.shape != own[name].shape or tensor.dtype != torch.float32:
            raise ArtifactError(
                f"{where}: '{name}' has {tensor.dtype} of shape {tuple(tensor.shape)}, the model float32 of "
                f"{tuple(own[name].shape)}; adapt again"
            )


@contextlib.contextmanager
def lora_switched_off(model: PeftModel) -> Iterator[None]:
    """The trained head on the unadapted layers: LoRA contributes nothing inside this block."""
    layers = [module for module in model.modules() if isinstance(module, LoraLayer)]
    # PEFT's switch sets requires_grad too.
    kept = [(parameter, parameter.requires_grad) for layer in layers for parameter in layer.parameters()]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        for parameter, trainable in kept:
            parameter.requires_grad_(trainable)


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
