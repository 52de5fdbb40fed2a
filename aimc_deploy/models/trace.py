"""Who reads what, in which order: found by running the model once, never from the names of its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

TOKENS = 8  # of the text that the model is run on


@dataclass(frozen=True)
class Traced:
    """One linear layer in the graph of the model.

    Attributes:
        reads: names its input; layers that are given the same tensor have the same name.
        stage: length of the longest chain of these layers that ends in it; 0 for the first.
        group: the outermost numbered part of the model that it is in, such as one encoder layer.
    """

    reads: str
    stage: int
    group: str


def trace(model: PreTrainedModel, names: Sequence[str]) -> dict[str, Traced]:
    """Run the encoder once on its own device, which may be meta, and look at the named linear layers.

    A layer that the run does not reach reads something of its own, at stage 0. Nothing of the model is
    changed.
    """
    seen: dict[str, tuple[Tensor, Tensor]] = {}
    layers = {name: model.get_submodule(name) for name in names}

    def watch(name: str) -> Any:
        def hook(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            seen.setdefault(name, (args[0], output))

        return hook

    hooks = [layer.register_forward_hook(watch(name)) for name, layer in layers.items()]
    trained = {parameter: parameter.requires_grad for parameter in model.parameters()}
    training = model.training
    try:
        model.eval().requires_grad_(True)
        tokens = torch.arange(TOKENS, device=model.device).unsqueeze(0) % model.config.vocab_size
        with torch.enable_grad():
            model.base_model(input_ids=tokens)
    finally:
        for hook in hooks:
            hook.remove()
        model.train(training)
        for parameter, flag in trained.items():
            parameter.requires_grad_(flag)
    depths = _depths([output.grad_fn for _, output in seen.values()])
    readers: dict[int, str] = {}  # the tensors are kept alive in seen, so that no two have one id
    found = {}
    for name in names:
        if name not in seen:
            found[name] = Traced(name, 0, _group(model, name))
            continue
        source, output = seen[name]
        reads = readers.setdefault(id(source), name)
        found[name] = Traced(reads, depths[output.grad_fn] - 1, _group(model, name))
    return found


def _depths(marked: Sequence[Any]) -> dict[Any, int]:
    """For each node of autograd's graph, how many marked ones are on the longest path that ends in it."""
    ends = set(marked)
    depths: dict[Any, int] = {}
    stack = list(marked)
    while stack:
        node = stack[-1]
        before = [part for part, _ in node.next_functions if part is not None]
        missing = [part for part in before if part not in depths]
        if missing:
            stack += missing
            continue
        stack.pop()
        depths[node] = max((depths[part] for part in before), default=0) + (node in ends)
    return depths


def _group(model: nn.Module, name: str) -> str:
    """The path to the outermost list of modules and the place in it; without one, all but the last part."""
    parts = name.split(".")
    for length in range(1, len(parts)):
        if isinstance(model.get_submodule(".".join(parts[:length])), nn.ModuleList):
            return ".".join(parts[: length + 1])
    return ".".join(parts[:-1])
