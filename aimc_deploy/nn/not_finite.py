"""Where a model computes the first value that is not a finite number."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aimc_deploy.nn.analog_linear import AnalogLinear

_PEFT = "base_model.model."


def broken_parameter(model: nn.Module) -> str | None:
    """The first parameter that holds a value which is not finite, and where; None if all are."""
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            index = (~torch.isfinite(parameter)).nonzero()[0].tolist()
            return f"parameter '{plain(name)}' is not finite at {index}"
    return None


@torch.no_grad()
def first_not_finite(model: nn.Module, inputs: Mapping[str, Any]) -> str:
    """What is the first to be not finite when ``model(**inputs)`` is computed once more, told to people.

    What is drawn anew in each pass is drawn anew here.
    """
    broken = broken_parameter(model)
    if broken is not None:
        return broken
    found: list[str] = []

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            if not found and not all(map(_finite, _tensors(output))):
                found.append(module.name if isinstance(module, AnalogLinear) else plain(name))

        return hook

    # A module's hook is called after those of all modules in it, so that the first call is the innermost.
    hooks = [module.register_forward_hook(watch(name)) for name, module in model.named_modules()]
    try:
        model(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        return "computed once more, every layer is finite"
    return f"layer '{found[0]}' is the first" if found[0] else "every layer is finite, and the loss is not"


def plain(name: str) -> str:
    """The name of a module or parameter without what PEFT puts before it."""
    return "" if f".{name}".endswith((".base_model", ".base_model.model")) else name.rpartition(_PEFT)[2]


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in what a module returns."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for part in output.values():
            yield from _tensors(part)
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _tensors(part)
