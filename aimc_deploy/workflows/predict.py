"""Logits of a model for a data set, in its own order, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
        rows = [{key: value for key, value in features[place].items() if key != "labels"} for place in places]
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
    """Logits, (samples, labels), in the order of the data set."""
    device = next(model.parameters()).device
    collected: dict[int, np.ndarray] = {}
    for places, batch in batches(features, tokenizer, batch_size):
        logits = model(**{key: value.to(device) for key, value in batch.items()}).logits.float().cpu().numpy()
        collected.update(zip(places, logits, strict=True))
        if advance is not None:
            advance(1)
    return np.stack([collected[place] for place in range(len(features))])
