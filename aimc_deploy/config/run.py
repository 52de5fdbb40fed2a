"""The settings of a whole run: model, hardware, adaptation, evaluation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.executor import Executor, Local
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.model import Model
from aimc_deploy.config.times import DEFAULT_TIMES, Time, seconds

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]


class Source(Model):
    """Where the pretrained checkpoint comes from; no path means the bundled reduced MobileBERT."""

    path: Annotated[str | None, Field(description="hub id or local folder")] = None
    revision: Annotated[str | None, Field(description="branch, tag or commit on the hub")] = None
    allow_pickle: Annotated[
        bool, Field(description="read the tensors of a pytorch_model.bin, in a separate process")
    ] = False
    outlier_channels: Annotated[
        int, Field(ge=0, description="synthetic: hidden channels made larger, with the same digital output")
    ] = 0
    outlier_factor: Annotated[
        float, Field(gt=0, le=1000, description="how many times as large these channels are")
    ] = 16.0


class Gate(Model):
    """What the lower confidence bound must satisfy, at one time."""

    min_accuracy: Annotated[
        float | None, Field(ge=0, le=1, description="smallest value of the task's metric, as a fraction")
    ] = None
    max_drop: Annotated[
        float | None, Field(ge=0, le=1, description="largest loss against the digital model, as a fraction")
    ] = None
    at: Annotated[Time | None, Field(description="null: every time")] = None

    def is_set(self) -> bool:
        """Whether anything is asked for."""
        return self.min_accuracy is not None or self.max_drop is not None


class Evaluate(Model):
    """Which chips and which times."""

    chips: Annotated[int, Field(ge=1, le=10_000, description="independent programmings")] = 10
    chip: Annotated[int | None, Field(ge=0, description="only this one; null: as many as chips says")] = None
    times: Annotated[tuple[Time, ...], Field(min_length=1, description="since programming")] = DEFAULT_TIMES
    batch_size: Annotated[int, Field(ge=1, le=4096, description="samples of a forward pass")] = 64
    eval_samples: Annotated[
        int | None, Field(ge=1, description="of the dev set, drawn by seed; null: all")
    ] = None
    adapters: Annotated[tuple[Name, ...], Field(description="none: every adapter of the task")] = ()
    unadapted: Annotated[
        bool, Field(description="measure each adapter's head with LoRA switched off too")
    ] = False
    noise_budget: Annotated[
        int,
        Field(
            ge=0,
            description="chips on which each non-ideality is measured alone too, for the first adapter at "
            "the first and the last time",
        ),
    ] = 0
    compensation: Annotated[
        Literal["none", "global", "per_column"] | None, Field(description="null: as the hardware says")
    ] = None
    gate: Gate = Gate()

    @model_validator(mode="after")
    def _gate_can_be_judged(self) -> Evaluate:
        """Before anything is measured, not after an hour of it."""
        if not self.gate.is_set():
            return self
        if self.chips < 2 or self.chip is not None:
            raise ValueError(
                "a gate needs at least 2 chips for an interval: raise evaluate.chips (--chips 10)"
            )
        at = self.gate.at
        if at is not None and seconds(at) not in map(seconds, self.times):
            raise ValueError(
                f"the gate looks at {at}, not among the times {', '.join(self.times)}: choose one of "
                "these with --at, or evaluate at that time too with --times"
            )
        return self


class Run(Model):
    """Everything a recipe can set."""

    bundle: Annotated[str, Field(description="folder that everything is written to")] = "aimc-bundle"
    seed: Annotated[int, Field(ge=0, lt=2**31, description="of everything that is drawn")] = 0
    device: Annotated[str, Field(description="torch device, or auto")] = "auto"
    task: Annotated[str, Field(description="name, a YAML file that describes one, a list, or all")] = (
        "reviews"
    )
    data_dir: Annotated[str | None, Field(description="folder with the task's files; null: the hub")] = None
    max_length: Annotated[
        int | None, Field(ge=8, le=8192, description="tokens of a sample or a window; null: the task's own")
    ] = None
    source: Source = Source()
    hardware: Hardware = Hardware()
    adapt: Adapt = Adapt()
    baselines: Annotated[
        tuple[Literal["digital", "full"], ...],
        Field(description="train these too, to compare with: plain digital LoRA, retraining of all weights"),
    ] = ()
    evaluate: Evaluate = Evaluate()
    executor: Executor = Local()
