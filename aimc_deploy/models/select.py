"""Which layers go analog, and why the others do not."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn
from transformers import PreTrainedModel

from aimc_deploy.errors import ConfigError


@dataclass(frozen=True)
class LayerChoice:
    """Where one layer is computed.

    Attributes:
        name: module path in the model.
        rows: inputs of the matrix; entries of a table; width of an element-wise layer.
        cols: outputs of the matrix; width of a table or of an element-wise layer.
        analog: whether it goes onto tiles.
        reason: why, in words.
    """

    name: str
    rows: int
    cols: int
    analog: bool
    reason: str


def choose_layers(model: PreTrainedModel, digital: Sequence[str] = ()) -> list[LayerChoice]:
    """Decide for every module with parameters of its own, in module order.

    Every ``nn.Linear`` of the encoder is analog, except the pooler and what ``digital`` names. A tile is
    programmed once for all tasks, so what is trained for each task stays digital.

    Args:
        model: an encoder with a task head.
        digital: shell patterns of module names, such as ``mobilebert.encoder.layer.0.*``.

    Raises:
        ConfigError: a pattern matches no layer.
    """
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if next(module.parameters(recurse=False), None) is not None
    ]
    names = [name for name, _ in layers]
    for pattern in digital:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(_no_match(pattern, names))
    encoder = f"{model.base_model_prefix}."
    return [_choose(name, module, encoder, digital) for name, module in layers]


def _choose(name: str, module: nn.Module, encoder: str, digital: Sequence[str]) -> LayerChoice:
    if isinstance(module, nn.Embedding):
        return LayerChoice(name, module.num_embeddings, module.embedding_dim, False, "look-up table")
    if not isinstance(module, nn.Linear):
        width = next(module.parameters(recurse=False)).shape[-1]
        return LayerChoice(name, width, width, False, "element-wise")
    analog, reason = False, "task head, trained per task"
    if name.startswith(f"{encoder}pooler."):
        reason = "pooler feeds the task head, trained with it"
    elif name.startswith(encoder):
        kept = next((pattern for pattern in digital if fnmatchcase(name, pattern)), None)
        analog = kept is None
        reason = "static matrix" if analog else f"kept digital: matches '{kept}'"
    return LayerChoice(name, module.in_features, module.out_features, analog, reason)


def _no_match(pattern: str, names: Sequence[str]) -> str:
    close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4) or names[:3]
    if any(name.startswith(f"{pattern}.") for name in names):
        close = [f"{pattern}.*"]
    return (
        f"mapping.digital: '{pattern}' matches no layer; close: {', '.join(close)} "
        "(shell patterns of whole module names; `aimc-deploy map --dry-run` lists them)"
    )


def head_modules(model: PreTrainedModel) -> list[str]:
    """The modules that are trained for each task and saved with the adapter: pooler and head, by last name.

    These are the fewest names that PEFT's ``modules_to_save``, which compares the ends of module paths,
    needs to find all of them.
    """
    encoder = model.base_model
    assert encoder is not model, "a model without a task head"
    reads_pooler = not hasattr(model, "qa_outputs")  # which reads every token
    tops = [(name, child) for name, child in encoder.named_children() if name == "pooler" and reads_pooler]
    tops += [(name, child) for name, child in model.named_children() if child is not encoder]
    return [name for name, child in tops if next(child.parameters(), None) is not None]
