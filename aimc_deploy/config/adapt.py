"""How a task is learned on fixed analog weights."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aimc_deploy.config.in_memory import AdaptInMemory
from aimc_deploy.config.model import Model
from aimc_deploy.config.times import Time, seconds

NameOfTask = Annotated[str, Field(pattern=r"^(\{task\}|[a-z0-9])(\{task\}|[a-z0-9._-]){0,63}$")]
"""A name in which ``{task}`` stands for the task's, so that one recipe serves several tasks."""


Rank = Annotated[int, Field(ge=1, le=1024)]


class LayerRank(Model):
    """The rank of some layers."""

    layers: Annotated[str, Field(description="shell pattern of module names")]
    r: Rank


class Lora(Model):
    """The adapter, in PEFT's terms."""

    r: Annotated[Rank, Field(description="rank")] = 8
    alpha: Annotated[float, Field(gt=0, description="numerator of the scale of the update")] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1, description="of the inputs of LoRA, in training")] = 0.1
    rslora: Annotated[bool, Field(description="scale by alpha / sqrt(r) in the place of alpha / r")] = False
    dora: Annotated[
        bool, Field(description="learn the magnitude of each output too (Liu et al. 2024); needs dropout 0")
    ] = False
    layers: Annotated[
        tuple[str, ...],
        Field(min_length=1, description="which analog layers carry LoRA: shell patterns of module names"),
    ] = ("*",)
    ranks: Annotated[
        tuple[LayerRank, ...], Field(description="ranks other than r; the first that fits a layer counts")
    ] = ()

    @model_validator(mode="after")
    def _dora_has_no_dropout(self) -> Lora:
        """With dropout PEFT computes the base again, digitally, and training would not meet the hardware."""
        if self.dora and self.dropout:
            raise ValueError("dora: needs dropout 0 (adapt.lora.dropout=0)")
        return self


class Adapt(Model):
    """How a task is learned on fixed analog weights."""

    method: Annotated[
        Literal["lora", "head", "layers", "full"],
        Field(
            description="what is trained: LoRA and the head; the head alone; the head and some layers, in "
            "memory; all weights, in a bundle of their own"
        ),
    ] = "lora"
    layers: Annotated[
        tuple[str, ...],
        Field(description="with method: layers, which analog layers: shell patterns of module names"),
    ] = ()
    hardware_aware: Annotated[
        bool, Field(description="simulate the hardware in the forward pass of training")
    ] = True
    name: Annotated[
        NameOfTask | None, Field(description="adapter name, {task} for the task's; null: the task's")
    ] = None
    lora: Lora = Lora()
    in_memory: Annotated[
        AdaptInMemory | None,
        Field(description="learn by pulses what is trained; null: digitally, by Adam"),
    ] = None
    analog_head: Annotated[
        bool,
        Field(description="put the head on tiles of its own, which each task must program; for lora only"),
    ] = False
    start_from: Annotated[
        NameOfTask | None,
        Field(description="adapter to go on from, {task} for the task's name; null: a fresh one"),
    ] = None
    noise: Annotated[
        Literal["chips", "weights"],
        Field(
            description="what training meets: another chip in each step, or Gaussian noise on the weights, "
            "as published (and always for full)"
        ),
    ] = "chips"
    drift: Annotated[Time, Field(description="largest age of these chips, with noise: chips")] = "10y"
    youngest: Annotated[Time, Field(description="smallest age of these chips")] = "0s"
    schedule: Annotated[
        tuple[Time, ...],
        Field(
            description="an adapter for each epoch of a chip's life, which begin at these ages, the first at "
            "0s; each goes on from the one before"
        ),
    ] = ()
    noise_level: Annotated[
        float,
        Field(ge=0, le=10, description="how far these chips are from their targets; 1 is the hardware"),
    ] = 1.0
    noise_ramp: Annotated[
        float, Field(ge=0, le=1, description="share of the steps over which the noise grows from nothing")
    ] = 0.0
    gap_weight: Annotated[
        float,
        Field(
            ge=0, description="weight of the mean squared gap between the logits with hardware and without"
        ),
    ] = 0.0
    chip: Annotated[
        int | None,
        Field(
            ge=0, description="with noise: chips, this one alone, at the age below; null: another each step"
        ),
    ] = None
    age: Annotated[Time, Field(description="of the chip above")] = "0s"
    weight_noise: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="standard deviation as a share of the tile's largest weight, with noise: weights",
        ),
    ] = 0.067
    epochs: Annotated[float | None, Field(gt=0, le=1000, description="null: the task's own")] = None
    batch_size: Annotated[
        int, Field(ge=1, le=4096, description="samples of a step, of all processes together")
    ] = 32
    learning_rate: Annotated[
        float | None, Field(gt=0, description="null: 2.0e-4 for lora, 5.0e-5 for full")
    ] = None
    warmup_ratio: Annotated[
        float, Field(ge=0, lt=1, description="share of the steps over which the learning rate grows")
    ] = 0.0
    weight_decay: Annotated[float, Field(ge=0, description="of the optimizer")] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0, description="gradients are clipped at this norm")] = 1.0
    train_samples: Annotated[int | None, Field(ge=1, description="use that many samples, drawn by seed")] = (
        None
    )
    checkpoint_steps: Annotated[int, Field(ge=1, description="steps from one checkpoint to the next")] = 200
    report_to: Annotated[
        tuple[Literal["tensorboard", "trackio", "mlflow", "wandb"], ...],
        Field(description="trackers that get the losses while training goes on; none unless named"),
    ] = ()

    def _can_be_in_memory(self) -> None:
        if self.method == "full":
            raise ValueError("in_memory: is of adapters (method: lora, head or layers)")
        if self.analog_head:
            raise ValueError("in_memory: the head learns in memory already: leave out analog_head")
        if self.lora.dora:
            raise ValueError("in_memory: DoRA needs the norms of weights that only pulses know: dora: false")

    def of_task(self, task: str) -> Adapt:
        """These settings for one task: its name in the place of ``{task}``."""
        given = {"name": self.name, "start_from": self.start_from}
        names = {key: name.replace("{task}", task) for key, name in given.items() if name is not None}
        return self.model_copy(update=names)

    @model_validator(mode="after")
    def _what_is_met_can_be(self) -> Adapt:
        """Else it would be passed over without a word."""
        if (self.method == "layers") != bool(self.layers):
            raise ValueError("layers: says which layers method: layers trains: give both or none of them")
        if self.method == "layers" and self.in_memory is None:
            raise ValueError("method: layers trains them in memory: say how with in_memory")
        if self.in_memory is not None:
            self._can_be_in_memory()
        meets_chips = self.method != "full" and self.noise == "chips" and self.hardware_aware
        if self.chip is None and self.age != "0s":
            raise ValueError("age: is of one chip: say which with chip (--from-chip)")
        only_chips = {
            "chip": self.chip is not None,
            "youngest": self.youngest != "0s",
            "schedule": bool(self.schedule),
            "noise_level": self.noise_level != 1.0,
        }
        for key, given in only_chips.items():
            if given and not meets_chips:
                raise ValueError(
                    f"{key}: only what is trained on chips meets one (not method: full; noise: chips, "
                    "with hardware)"
                )
        if self.chip is not None and (self.schedule or self.youngest != "0s" or self.noise_level != 1.0):
            raise ValueError("chip: one chip has one age and its own noise: leave out the other settings")
        if self.method != "lora" and (self.start_from is not None or self.schedule):
            raise ValueError("start_from, schedule: only LoRA adapters go on from one another (method: lora)")
        if self.analog_head and self.method != "lora":
            raise ValueError("analog_head: is of LoRA adapters (method: lora)")
        if not self.hardware_aware and (self.noise_ramp or self.gap_weight):
            raise ValueError("noise_ramp, gap_weight: without hardware there is no noise: leave them out")
        if seconds(self.youngest) >= seconds(self.drift) and self.youngest != "0s":
            raise ValueError(f"youngest: {self.youngest} is not less than drift, {self.drift}")
        ages = [seconds(age) for age in self.schedule]
        if ages and (ages[0] != 0 or ages != sorted(set(ages)) or ages[-1] >= seconds(self.drift)):
            raise ValueError(
                f"schedule: {', '.join(self.schedule)} must begin with 0s, grow, and end before drift "
                f"({self.drift})"
            )
        return self
