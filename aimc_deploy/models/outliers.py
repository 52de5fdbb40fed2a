"""Synthetic outlier channels: the same digital function, harder for converters.

The genuine MobileBERT has no layer normalisation, and a few of its hidden channels carry activations many
times larger than the rest. A small model trained here has none. Rescaling a hidden channel where it is
written and undoing it where it is read leaves every digital output as it was and gives the tiles inputs
with such outliers. A result obtained with it must say so.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from aimc_deploy.errors import ModelError


@torch.no_grad()
def add_outlier_channels(model: Any, channels: int, factor: float, seed: int) -> list[int]:
    """Multiply ``channels`` hidden channels of a MobileBERT classifier by ``factor``, in place.

    The channels are drawn by ``seed``. The digital output stays the same up to rounding.

    Returns:
        The channels, in rising order.
    Raises:
        ModelError: the model is no MobileBERT with NoNorm, or has fewer channels than asked for.
    """
    config = getattr(model, "config", None)
    if config is None or config.model_type != "mobilebert" or config.normalization_type != "no_norm":
        raise ModelError(
            "synthetic outlier channels need a MobileBERT with NoNorm, whose residual stream is linear; "
            "leave out source.outlier_channels for other models"
        )
    width = config.hidden_size
    if channels > width:
        raise ModelError(f"source.outlier_channels is {channels}, the model has {width} hidden channels")
    generator = torch.Generator().manual_seed(seed)
    chosen = sorted(torch.randperm(width, generator=generator)[:channels].tolist())
    scale = torch.ones(width)
    scale[chosen] = factor
    encoder = model.mobilebert
    embeddings = encoder.embeddings
    _scale_outputs(embeddings.embedding_transformation, scale)
    for table in (embeddings.position_embeddings, embeddings.token_type_embeddings):
        table.weight.mul_(scale)
    embeddings.LayerNorm.bias.mul_(scale)
    for layer in encoder.encoder.layer:
        for reader in (
            layer.bottleneck.input.dense,
            layer.bottleneck.attention.dense,
            layer.attention.self.value,
        ):
            reader.weight.div_(scale)
        writer = layer.output.bottleneck
        _scale_outputs(writer.dense, scale)
        writer.LayerNorm.bias.mul_(scale)
    if getattr(encoder.pooler, "do_activate", False):
        encoder.pooler.dense.weight.div_(scale)
    else:
        model.classifier.weight.div_(scale)
    return chosen


def _scale_outputs(layer: nn.Linear, scale: Tensor) -> None:
    layer.weight.mul_(scale.unsqueeze(1))
    if layer.bias is not None:
        layer.bias.mul_(scale)
