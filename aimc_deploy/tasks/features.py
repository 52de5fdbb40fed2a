"""Texts as token numbers, in the form in which the Trainer and a tokenizer's ``pad`` take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch.utils.data import Dataset

from aimc_deploy.tasks.data import Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 1024  # texts that are Python lists of numbers at one time


class Features(Dataset[dict[str, Any]]):
    """Unpadded samples: ``input_ids``, ``attention_mask``, ``token_type_ids`` if any, and ``labels``.

    Attributes:
        targets: what a sample holds beside the inputs, for training.
        labels: (samples,) integers, or floating-point numbers for regression.
        lengths: number of tokens of each sample.
    """

    targets: tuple[str, ...] = ("labels",)

    def __init__(self, tokens: Mapping[str, Sequence[np.ndarray]], labels: np.ndarray) -> None:
        self._tokens = tokens
        self.labels = labels
        self.lengths = [len(row) for row in tokens["input_ids"]]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        # The type of a label tells the model which loss is meant.
        return self.inputs(index) | {"labels": self.labels[index].item()}

    def inputs(self, index: int) -> dict[str, Any]:
        """What the model computes with: lists of plain numbers, as ``tokenizer.pad`` expects them."""
        return {key: rows[index].tolist() for key, rows in self._tokens.items()}


def encode(split: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Features:
    """Tokenize texts, or pairs of them, as they are; too long ones are cut, of a pair the longer text first.

    Args:
        max_length: largest number of tokens of a sample, special tokens included.
    """
    tokens: dict[str, list[np.ndarray]] = {}
    for start in range(0, len(split), _CHUNK):
        texts = (column[start : start + _CHUNK] for column in split.texts)
        encoded = tokenizer(*texts, truncation=True, max_length=max_length)
        for key, rows in encoded.items():
            tokens.setdefault(key, []).extend(np.asarray(row, dtype=np.int32) for row in rows)
    return Features(tokens, np.asarray(split.labels))
