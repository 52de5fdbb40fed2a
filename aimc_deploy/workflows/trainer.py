"""The Hugging Face Trainer with what hardware-aware training needs: a guard, and reports to the outside."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from aimc_deploy.config.run import Adapt
from aimc_deploy.errors import TrainingError
from aimc_deploy.workflows.progress import Progress

LEARNING_RATE = {"lora": 2.0e-4, "full": 5.0e-5}


def training_arguments(
    adapt: Adapt, folder: Path, *, epochs: float, seed: int, device: torch.device
) -> TrainingArguments:
    """The Trainer's settings: Adam with linear decay, no reports, checkpoints every so many steps."""
    return TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=epochs,
        per_device_train_batch_size=adapt.batch_size,
        learning_rate=adapt.learning_rate or LEARNING_RATE[adapt.method],
        lr_scheduler_type="linear",
        warmup_steps=adapt.warmup_ratio,
        weight_decay=adapt.weight_decay,
        max_grad_norm=adapt.max_grad_norm,
        train_sampling_strategy="group_by_length",
        logging_strategy="steps",
        logging_steps=10,
        save_strategy="steps",
        save_steps=adapt.checkpoint_steps,
        save_total_limit=2,
        report_to="none",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=device.type == "cuda",
        remove_unused_columns=False,
    )


class GuardedTrainer(Trainer):
    """Stops at the first loss that is not a number, naming the step, before it reaches a parameter."""

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss = super().compute_loss(*args, **kwargs)
        value = loss[0] if isinstance(loss, tuple) else loss
        if not math.isfinite(float(value.detach())):
            step = self.state.global_step
            raise TrainingError(
                f"the loss is {float(value.detach())} at step {step}: lower adapt.learning_rate or "
                "adapt.weight_noise; the last good checkpoint continues with --resume"
            )
        return loss


class Reporter(TrainerCallback):
    """Passes steps and loss on to the outside."""

    def __init__(self, progress: Progress, what: str) -> None:
        self.progress = progress
        self.what = what
        self.note = ""
        self.shown = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.progress.start(self.what, state.max_steps)
        self.progress.advance(state.global_step)
        self.shown = state.global_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.progress.advance(state.global_step - self.shown, self.note)
        self.shown = state.global_step

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        logs = kwargs.get("logs") or {}
        if "loss" in logs:
            self.note = f"loss {float(logs['loss']):.3f}"
