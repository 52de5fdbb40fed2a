"""The Hugging Face Trainer with what hardware-aware training needs: a guard, and reports to the outside."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from accelerate.data_loader import prepare_data_loader
from safetensors import SafetensorError
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import (
    DataCollatorWithPadding,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, TrainingError
from aimc_deploy.models.silence import silence
from aimc_deploy.nn.convert import analog_layers, bypassed
from aimc_deploy.nn.not_finite import broken_parameter, first_not_finite, plain
from aimc_deploy.physics.random import derive_seed
from aimc_deploy.tasks.features import Features
from aimc_deploy.tasks.registry import Task
from aimc_deploy.workflows import checkpoints
from aimc_deploy.workflows.in_memory import optimizer
from aimc_deploy.workflows.processes import Processes, together
from aimc_deploy.workflows.progress import Progress
from aimc_deploy.workflows.trackers import Arguments, keep_apart, parameters
from aimc_deploy.workflows.training_noise import training_noise

LEARNING_RATE = {"lora": 2.0e-4, "head": 2.0e-4, "layers": 2.0e-4, "full": 5.0e-5}


def training_arguments(
    adapt: Adapt, folder: Path, *, epochs: float, seed: int, device: torch.device, name: str = ""
) -> Arguments:
    """The Trainer's settings: Adam with linear decay, checkpoints every so many steps, a run called ``name``.

    Several processes all load whole batches, of which each computes its part: see :class:`PartOfBatch`.
    """
    return Arguments(
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
        report_to=list(adapt.report_to) or "none",
        run_name=name,
        project="aimc-deploy",
        disable_tqdm=True,
        seed=seed,
        data_seed=seed,
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=device.type == "cuda",
        remove_unused_columns=False,
        # Else the loss would be multiplied by the number of processes, for models that divide it by that.
        average_tokens_across_devices=False,
        ddp_find_unused_parameters=adapt.method == "full",
        ddp_broadcast_buffers=False,
    )


class PartOfBatch:
    """Pads a batch as one process alone would, and keeps this process's part of it.

    A sample's result may depend on its padding. ``weight`` makes the mean over the processes, which is what
    they exchange, the mean over the samples where the parts differ in size: it is 1 where they do not.
    """

    def __init__(self, tokenizer: Any, here: Processes) -> None:
        self.pad = DataCollatorWithPadding(tokenizer)
        self.here = here

    def __call__(self, samples: list[dict[str, Any]]) -> dict[str, Any]:
        whole = self.pad(samples)
        if self.here.count == 1:
            return whole
        part = self.here.part(len(samples))
        size = part.stop - part.start
        # Without a sample of its own a process computes one for nothing, as the others wait for it.
        batch = {key: value[part if size else slice(1)] for key, value in whole.items()}
        return {**batch, "weight": size * self.here.count / len(samples)}


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
    """Stops at the first loss or gradient that is not finite, before it reaches a parameter.

    The error names the step, the layer and the last checkpoint; none is written of what is not finite.

    Args:
        gap_weight: of the gap between the logits with hardware and those without, added to the loss.
        here: this process.
    """

    def __init__(
        self, *args: Any, gap_weight: float = 0.0, here: Processes | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.gap_weight = gap_weight
        self.here = here or Processes()

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Whole batches in every process; accelerate would repeat samples where the last one is smaller."""
        dataset: Any = self.train_dataset
        size = self.args.train_batch_size
        loader = DataLoader(
            dataset,
            batch_size=size,
            sampler=EpochOrder(size, dataset.lengths, self.args.seed),
            collate_fn=self.data_collator,
            pin_memory=self.args.dataloader_pin_memory,
        )
        return prepare_data_loader(
            loader, self.args.device, num_processes=1, process_index=0, put_on_device=True
        )

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        self.here.wait()  # before the state is written, which tells that the checkpoint is whole

    def check_parameters(self) -> None:
        """Refuse parameters that are not finite, which even finite gradients can lead to.

        Raises:
            TrainingError: one is not; the message names it.
        """
        model: Any = self.model
        if (broken := broken_parameter(model)) is not None:
            raise self._stopped(f"{broken} after step {self.state.global_step}")

    def _stopped(self, what: str, where: str = "") -> TrainingError:
        """What ends a training that has left the finite numbers."""
        last = checkpoints.last(Path(str(self.args.output_dir)))
        before = "there is no checkpoint before it" if last is None else f"the last good checkpoint is {last}"
        return TrainingError(f"{what}: lower adapt.learning_rate or adapt.weight_noise; {where}{before}")

    def training_step(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Forward and backward, and a look at the gradients while they still tell where they are from."""
        loss = super().training_step(model, *args, **kwargs)
        own: Any = self.model
        grads = {name: part.grad for name, part in own.named_parameters() if part.grad is not None}
        if not math.isfinite(float(nn.utils.get_total_norm(grads.values()))):
            broken = [f"'{plain(name)}'" for name, grad in grads.items() if not bool(grad.isfinite().all())]
            whose = f"gradients of {broken[0]} are not finite" if broken else "the gradients overflow"
            raise self._stopped(f"{whose} at step {self.state.global_step}")
        return loss

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self.check_parameters()
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
        weight = inputs.pop("weight", 1)
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        if self.gap_weight:
            loss = loss + self.gap_weight * self._gap(inputs, outputs)
        if weight != 1:
            loss = loss * weight
        found = float(self.here.total(loss.detach())) / self.here.count
        if not math.isfinite(found):
            own: Any = self.model
            raise self._stopped(
                f"the loss is {found} at step {self.state.global_step}",
                f"looking for what is not finite: {first_not_finite(own, inputs)}; ",
            )
        return (loss, outputs) if return_outputs else loss

    def _gap(self, inputs: dict[str, Any], outputs: Any) -> Tensor:
        """Mean squared difference to the logits that the same parameters give without hardware or dropout."""
        model: Any = self.model
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
    here: Processes,
    progress: Progress,
) -> int:
    """Train ``model`` in place.

    Args:
        work: folder of the checkpoints.
        name: of the adapter, for the progress.
        resume: continue from the last checkpoint; None: if there is one.
        here: this process; several train together, each on its part of every batch.

    Returns:
        The number of steps.

    Raises:
        ArtifactError: there is nothing to resume, or a checkpoint cannot be written.
        TrainingError: a loss, a gradient or a parameter is not finite, or another process has ended.
    """
    adapt = config.adapt
    resume = checkpoints.prepare(work, here, resume)
    for layer in analog_layers(model).values():
        layer.digital()
        if adapt.hardware_aware and layer.weight.requires_grad:
            layer.simulate(adapt.weight_noise)
    arguments = training_arguments(
        adapt, work, epochs=adapt.epochs or task.epochs, seed=config.seed, device=device, name=name
    )
    arguments.parameters = parameters(config)
    arguments._n_gpu = 1  # one process computes on one device, else transformers takes all that are here
    trainer = GuardedTrainer(
        model=model,
        args=arguments,
        train_dataset=features,
        data_collator=PartOfBatch(tokenizer, here),
        callbacks=[Reporter(progress, f"training {name}"), *training_noise(adapt, config.seed, here.rank)],
        optimizers=(optimizer(model, adapt, arguments.learning_rate) if adapt.in_memory else None, None),
        gap_weight=adapt.gap_weight,
        here=here,
    )
    if not here.first:  # else each would drop out the same of its part
        set_seed(derive_seed(config.seed, "process", here.rank) % 2**32)
    # The Trainer would print its log lines; what a person sees comes from the reporter.
    trainer.remove_callback(PrinterCallback)
    losses = keep_apart(trainer, work.parent.with_suffix(".runs") / work.name)
    with silence(), together():
        trainer.train(resume_from_checkpoint=resume)
    trainer.check_parameters()
    if losses is not None:
        progress.say(f"losses: tensorboard --logdir {losses}")
    model.eval()
    return trainer.state.global_step
