"""Logits of a model for a data set, in its own order, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from aimc_deploy.errors import TrainingError
from aimc_deploy.nn.not_finite import first_not_finite
from aimc_deploy.tasks.features import Features


def batches(
    features: Features, tokenizer: Any, batch_size: int, *, first: int | None = None
) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
    """Padded batches of samples of like length, with their places in the data set; labels left out.

    ``first`` takes only so many samples from the front of the data set.
    """
    order = np.argsort(np.asarray(features.lengths[:first]), kind="stable")
    for start in range(0, len(order), batch_size):
        places = [int(place) for place in order[start : start + batch_size]]
        rows = [features.inputs(place) for place in places]
        padded = tokenizer.pad(rows, return_tensors="pt")
        yield places, dict(padded)


def batch_count(features: Features, batch_size: int) -> int:
    """Number of batches that :func:`batches` yields."""
    return -(-len(features) // batch_size)


@torch.inference_mode()
def predict(
    model: nn.Module,
    features: Features,
    tokenizer: Any,
    batch_size: int,
    advance: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Logits, (samples, labels), in the order of the data set; of spans (windows, 2, tokens).

    Behind the last token of a window stands minus infinity.

    Raises:
        TrainingError: the model computes something that is not finite; the message names the layer.
    """
    device = next(model.parameters()).device
    collected: dict[int, np.ndarray] = {}
    spans = False
    for places, batch in batches(features, tokenizer, batch_size):
        inputs = {key: value.to(device) for key, value in batch.items()}
        found = model(**inputs)
        spans = "start_logits" in found
        logits = torch.stack([found.start_logits, found.end_logits], dim=1) if spans else found.logits
        values = logits.float().cpu().numpy()
        if not np.isfinite(values).all():
            raise TrainingError(
                f"predictions are not finite numbers ({first_not_finite(model, inputs)}): the model has "
                "diverged, or its weights or input ranges are damaged; adapt again with a lower --set "
                "adapt.learning_rate or adapt.weight_noise"
            )
        collected.update(zip(places, values, strict=True))
        if advance is not None:
            advance(1)
    if not spans:
        return np.stack([collected[place] for place in range(len(features))])
    whole = np.full((len(features), 2, max(features.lengths)), -np.inf, dtype=np.float32)
    for place, length in enumerate(features.lengths):
        whole[place, :, :length] = collected[place][:, :length]
    return whole
