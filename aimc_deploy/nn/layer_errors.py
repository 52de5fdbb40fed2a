"""How far the product of each layer on a chip is from the exact one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import analog_layers

EXACT_DB = 200.0  # stands for no error at all


@contextlib.contextmanager
def layer_errors(model: nn.Module) -> Iterator[dict[str, float]]:
    """Watch every analog layer inside this block.

    Afterwards the mapping holds, for each layer that was called, the ratio in dB of the power of its exact
    products, without bias, to that of their errors: the SQNR. Inputs are those that the layer is given on the
    chip, so that the errors of earlier layers do not count.
    """
    sums: dict[str, list[float]] = {}

    def watch(layer: AnalogLinear) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            with torch.no_grad():
                exact = nn.functional.linear(args[0], layer.weight)
                error = output - exact if layer.bias is None else output - exact - layer.bias
                own = sums.setdefault(layer.name, [0.0, 0.0])
                own[0] += float(exact.double().square().sum())
                own[1] += float(error.double().square().sum())

        return hook

    hooks = [layer.register_forward_hook(watch(layer)) for layer in analog_layers(model).values()]
    found: dict[str, float] = {}
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
        for name, (signal, noise) in sums.items():
            if signal > 0:
                found[name] = EXACT_DB if noise == 0 else min(10 * math.log10(signal / noise), EXACT_DB)
