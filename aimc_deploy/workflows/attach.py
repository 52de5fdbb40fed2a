"""Put an adapter of a bundle into a model: nothing is taken that does not fit it, tensor by tensor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.errors import ArtifactError
from aimc_deploy.models.checkpoint import brief
from aimc_deploy.models.silence import silence
from aimc_deploy.workflows.adapters import WEIGHTS, head_state, read_record


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
    if record.method != "lora":
        head = bundle.read_tensors(f"{folder}/head.safetensors")
        check_same(head, head_state(model), bundle.path / folder / "head.safetensors")
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
            check_same(tensors, own, bundle.path / folder / WEIGHTS)
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
                f"{bundle.path}/{file} does not describe a LoRA adapter (peft_type, r, lora_alpha); "
                "adapt again"
            )


def check_same(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], where: Path) -> None:
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
