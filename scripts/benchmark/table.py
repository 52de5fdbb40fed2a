"""The lines of the table that are measured inside one process."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor, nn

from aimc_deploy.config.hardware import Hardware, StaticRange
from aimc_deploy.config.times import seconds
from aimc_deploy.nn.calibrate import calibrate
from aimc_deploy.nn.convert import analog_layers, drift, program, sample_chip
from benchmark.models import SEED, analog_names, lora
from benchmark.timing import Figure, compare, processor_time


def forward(plain: nn.Module, analog: nn.Module, inputs: dict[str, Tensor], repeats: int) -> list[Figure]:
    """Evaluation on a chip, with each token's own input range and with calibrated ones."""
    dynamic, static = Hardware(), StaticRange(kind="static")
    fixed = dynamic.model_copy(update={"dac": dynamic.dac.model_copy(update={"input_range": static})})
    figures = []
    for name, hardware in (("a range for each token", dynamic), ("static ranges", fixed)):
        for layer in analog_layers(analog).values():
            layer.set_hardware(hardware)
            layer.input_ranges = None
        if hardware is fixed:
            calibrate(analog, [inputs], static)
        program(analog, SEED, 0)
        drift(analog, 0.0)
        what = f"evaluation forward, {name}"
        with torch.inference_mode():
            figures.append(
                compare(what, lambda: plain(**inputs), lambda: analog(**inputs), repeats, must=1.6, goal=1.3)
            )
    for layer in analog_layers(analog).values():
        layer.set_hardware(dynamic)
        layer.input_ranges = None
    return figures


def training(plain: nn.Module, analog: nn.Module, inputs: dict[str, Tensor], repeats: int) -> list[Figure]:
    """Forward, backward and optimiser of LoRA: with weight noise, and with another chip in each step."""
    figures = []
    for name, chips in (("weight noise", False), ("another chip in each step", True)):
        steps = [_step(model, plain, inputs, chips) for model in (plain, analog)]
        figures.append(compare(f"LoRA training step, {name}", *steps, repeats, must=1.5, goal=1.25))
    return figures


def _step(model: Any, plain: nn.Module, inputs: dict[str, Tensor], chips: bool) -> Callable[[], None]:
    peft: Any = get_peft_model(copy.deepcopy(model), lora(plain)).train()
    for layer in analog_layers(peft).values():
        layer.simulate(0.067)
    numbers = itertools.count()
    optimizer = torch.optim.AdamW([part for part in peft.parameters() if part.requires_grad], 1e-4)

    def step() -> None:
        if chips:
            sample_chip(peft, 0.0, seconds("10y"), SEED, "training", next(numbers))
        peft(**inputs).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def chip(plain: nn.Module, analog: nn.Module, repeats: int) -> list[Figure]:
    """Seconds of CPU to make a chip, and to move it to another time."""

    def make(number: int) -> None:
        program(analog, SEED, number)
        drift(analog, 0.0)

    made = processor_time(make, repeats)
    moved = processor_time(lambda index: drift(analog, 3600.0 * 4**index), repeats)
    count, threads = len(analog_names(plain)), torch.get_num_threads()
    return [
        Figure(f"program, drift and read {count} matrices", threads, made, "s CPU", 1.2, 0.6),
        Figure("switch the time of a chip", threads, moved, "s CPU", 0.5, 0.25),
    ]
