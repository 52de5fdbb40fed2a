"""What is measured: MobileBERT in its default configuration, random weights, plain and on tiles."""

from __future__ import annotations

import copy
from typing import Any

import torch
from peft import LoraConfig
from torch import Tensor, nn
from transformers import MobileBertConfig, MobileBertForSequenceClassification

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.models.select import choose_layers
from aimc_deploy.workflows.map import map_model, plan_model

SEED = 0
BATCH, LENGTH = 8, 128


def build() -> tuple[Any, nn.Module]:
    """The plain model, and a copy of it on tiles of the default hardware."""
    torch.manual_seed(SEED)
    plain = MobileBertForSequenceClassification(MobileBertConfig()).eval().requires_grad_(False)
    analog = copy.deepcopy(plain)
    hardware = Hardware()
    map_model(analog, plan_model(analog, hardware), hardware)
    return plain, analog


def analog_names(model: Any) -> list[str]:
    """The layers that go onto tiles."""
    return [choice.name for choice in choose_layers(model) if choice.analog]


def batch() -> dict[str, Tensor]:
    """Random tokens and labels."""
    generator = torch.Generator().manual_seed(SEED)
    tokens = torch.randint(5, 30_000, (BATCH, LENGTH), generator=generator)
    return {"input_ids": tokens, "labels": torch.arange(BATCH) % 2}


def lora(model: Any) -> LoraConfig:
    """Rank 8 on every layer that goes onto tiles, the head trained beside it."""
    return LoraConfig(
        task_type="SEQ_CLS",
        r=8,
        lora_alpha=16,
        lora_dropout=0.1,
        target_modules=analog_names(model),
        modules_to_save=["classifier"],
    )
