"""The Hugging Face Trainer with what hardware-aware training needs: a guard, and reports to the outside."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from aimc_deploy.config.run import Adapt, Run
from aimc_deploy.errors import ArtifactError, TrainingError
from aimc_deploy.models.silence import silence
from aimc_deploy.nn.convert import analog_layers, bypassed
from aimc_deploy.physics.random import derive_seed
from aimc_deploy.tasks.features import Features
from aimc_deploy.tasks.registry import Task
from aimc_deploy.workflows.progress import Progress
from aimc_deploy.workflows.training_noise import training_noise

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


def complete_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints below ``folder`` that are whole; what an interrupt cut off in the writing is removed.

    The Trainer writes its state last.
    """
    found = []
    for checkpoint in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        try:
            json.loads((checkpoint / TRAINER_STATE_NAME).read_bytes())
        except (FileNotFoundError, ValueError):
            shutil.rmtree(checkpoint)
        else:
            found.append(checkpoint)
    return found


class EpochOrder(LengthGroupedSampler):
    """Samples of like length together, in an order that only the seed and the epoch fix.

    transformers draws the order from torch's global generator, and a resumed run restores that only after
    the draw: from the second epoch on it would continue in another order.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size, lengths=lengths)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", self.epoch))
        return super().__iter__()


class GuardedTrainer(Trainer):
    """Stops at the first loss that is not a number, naming the step, before it reaches a parameter.

    Args:
        gap_weight: of the gap between the logits with hardware and those without, added to the loss.
    """

    def __init__(self, *args: Any, gap_weight: float = 0.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gap_weight = gap_weight

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochOrder:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        return EpochOrder(self.args.train_batch_size, dataset.lengths, self.args.seed)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        try:
            super()._save_checkpoint(*args, **kwargs)
        except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors on a full disk
            raise ArtifactError(
                f"the checkpoint of step {self.state.global_step} cannot be written to "
                f"{self.args.output_dir}: {error}; free some space and run again, with --resume if there is "
                "an earlier one"
            ) from error

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.gap_weight:
            loss = loss + self.gap_weight * self._gap(model, inputs, outputs)
        if not math.isfinite(float(loss.detach())):
            step = self.state.global_step
            raise TrainingError(
                f"the loss is {float(loss.detach())} at step {step}: lower adapt.learning_rate or "
                "adapt.weight_noise; the last good checkpoint continues with --resume"
            )
        return (loss, outputs) if return_outputs else loss

    def _gap(self, model: Any, inputs: dict[str, Any], outputs: Any) -> Tensor:
        """Mean squared difference to the logits that the same parameters give without hardware or dropout."""
        with torch.no_grad(), bypassed(model):
            clean = model.eval()(**inputs)
        model.train()
        names = [name for name in ("logits", "start_logits", "end_logits") if name in outputs]
        gaps = [torch.mean((outputs[name] - clean[name]) ** 2) for name in names]
        return torch.stack(gaps).mean()


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


def train(
    config: Run,
    task: Task,
    model: nn.Module,
    features: Features,
    tokenizer: Any,
    work: Path,
    *,
    name: str,
    resume: bool | None,
    device: torch.device,
    progress: Progress,
) -> int:
    """Train ``model`` in place.

    Args:
        work: folder of the checkpoints.
        name: of the adapter, for the progress.
        resume: continue from the last checkpoint; None: if there is one.

    Returns:
        The number of steps.

    Raises:
        ArtifactError: there is nothing to resume, or a checkpoint cannot be written.
        TrainingError: the loss is not a number.
    """
    adapt = config.adapt
    checkpoints = bool(complete_checkpoints(work))
    if resume and not checkpoints:
        raise ArtifactError(f"nothing to resume for these settings in {work.parent}; run without --resume")
    resume = checkpoints if resume is None else resume
    if not resume:
        shutil.rmtree(work, ignore_errors=True)
    for layer in analog_layers(model).values():
        layer.digital()
        if adapt.hardware_aware and layer.weight.requires_grad:
            layer.simulate(adapt.weight_noise)
    noise = training_noise(adapt, config.seed)
    arguments = training_arguments(
        adapt, work, epochs=adapt.epochs or task.epochs, seed=config.seed, device=device
    )
    trainer = GuardedTrainer(
        model=model,
        args=arguments,
        train_dataset=features,
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[Reporter(progress, f"training {name}"), *noise],
        gap_weight=adapt.gap_weight,
    )
    # The Trainer would print its log lines; what a person sees comes from the reporter.
    trainer.remove_callback(PrinterCallback)
    with silence():
        trainer.train(resume_from_checkpoint=resume)
    model.eval()
    return trainer.state.global_step
