"""The hardware that training meets: another chip in each step, one chip that is there, or weight noise."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.times import seconds
from aimc_deploy.nn.convert import analog_layers, drift, program, sample_chip


def training_noise(adapt: Adapt, seed: int, rank: int = 0) -> list[TrainerCallback]:
    """What puts the hardware into each step of training; nothing where it is digital.

    Args:
        rank: of this process among several, which meet the same chip in the same step.
    """
    if not adapt.hardware_aware:
        return []
    if adapt.method == "full" or adapt.noise == "weights":
        return [WeightNoise(adapt.weight_noise, adapt.noise_ramp)]
    own = [OwnDraws(rank)] if rank else []
    if adapt.chip is not None:
        return [OneChip(adapt.chip, seconds(adapt.age), seed), *own]
    ages_s = seconds(adapt.youngest), seconds(adapt.drift)
    return [AnotherChip(ages_s, seed, adapt.noise_level, adapt.noise_ramp), *own]


def _share(ramp: float, state: TrainerState) -> float:
    """How much of the noise there is: it grows over the share ``ramp`` of all steps, and then is whole."""
    steps = ramp * state.max_steps
    return 1.0 if state.global_step >= steps else state.global_step / steps


class AnotherChip(TrainerCallback):
    """Trains every step on another chip, so that an adapter learns what chips have in common.

    Which chip it is depends on the seed and the step alone, and none of them is one that is evaluated.

    Attributes:
        ages_s: the smallest and the largest.
        level, ramp: how far they are from their targets; see ``Adapt.noise_level`` and ``noise_ramp``.
    """

    def __init__(self, ages_s: tuple[float, float], seed: int, level: float = 1.0, ramp: float = 0.0) -> None:
        self.ages_s = ages_s
        self.seed = seed
        self.level = level
        self.ramp = ramp

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        level = self.level * _share(self.ramp, state)
        sample_chip(kwargs["model"], *self.ages_s, self.seed, "training", state.global_step, level=level)


class WeightNoise(TrainerCallback):
    """Trains with Gaussian noise on the weights, drawn anew in each pass, as published."""

    def __init__(self, weight_noise: float, ramp: float = 0.0) -> None:
        self.weight_noise = weight_noise
        self.ramp = ramp

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for layer in analog_layers(kwargs["model"]).values():
            layer.simulate(self.weight_noise * _share(self.ramp, state))


class OneChip(TrainerCallback):
    """Trains on one chip at one age and reads it anew in each step, as a chip that is there does."""

    def __init__(self, chip: int, age_s: float, seed: int) -> None:
        self.chip = chip
        self.age_s = age_s
        self.seed = seed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        program(kwargs["model"], self.seed, self.chip)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        drift(kwargs["model"], self.age_s, "training", state.global_step)


class OwnDraws(TrainerCallback):
    """Gives a process noise of its own for its part of a batch, on the chip that all of them meet."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        for layer in analog_layers(kwargs["model"]).values():
            layer.draw_apart(self.rank)
