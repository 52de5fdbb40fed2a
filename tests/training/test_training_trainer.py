"""The optimizer in the Trainer, stopped and resumed from its checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import Trainer, TrainingArguments

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.training.layer import train_in_memory
from aimc_deploy.training.optimizer import AnalogOptimizer, digital_parameters


class Classifier(nn.Module):
    """Two layers in memory, and a loss as the Trainer wants it."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 6), nn.Tanh(), nn.Linear(6, 3))
        algorithm = {"kind": "residual", "columns": 4, "update": {"kind": "counts"}, "read_noise": 0.01}
        train_in_memory(self, InMemory.model_validate({"algorithm": algorithm, "converters": {}}))

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits and loss."""
        logits = self.net(x)
        return {"loss": nn.functional.cross_entropy(logits, labels), "logits": logits}


def rows() -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(64, 8, generator=draw)
    return [{"x": one, "labels": int(one[:3].argmax())} for one in x]


def trained(folder: Path, steps: int, resume: bool = False) -> Classifier:
    model = Classifier()
    digital = torch.optim.AdamW(digital_parameters(model), lr=0.01)
    optimizer = AnalogOptimizer(model, 0.1, digital)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step / 8))
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=8,
        max_steps=steps,
        save_steps=6,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        gradient_accumulation_steps=2,
        dataloader_pin_memory=False,
    )
    trainer = Trainer(model, arguments, train_dataset=rows(), optimizers=(optimizer, scheduler))  # type: ignore[arg-type]
    trainer.train(resume_from_checkpoint=resume or None)
    return model


@pytest.mark.slow
def test_resuming_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", 12)
    trained(tmp_path / "parts", 6)
    resumed = trained(tmp_path / "parts", 12, resume=True)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert not torch.equal(whole.net[0].weight, Classifier().net[0].weight)
