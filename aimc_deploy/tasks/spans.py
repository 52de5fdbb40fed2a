"""Answers that are parts of a text, as in SQuAD v1.1: windows over long contexts, the best span, EM and F1.

Source: Rajpurkar et al., "SQuAD: 100,000+ questions for machine comprehension of text", EMNLP 2016, and the
measures of its official evaluation script.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aimc_deploy.errors import DataError, TrainingError
from aimc_deploy.tasks.data import Split
from aimc_deploy.tasks.features import Features

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STRIDE = 128  # tokens that a window shares with the one before
MAX_QUESTION = 64  # tokens; what is longer is cut
MAX_ANSWER = 30  # tokens
SPECIAL = 4  # tokens that a tokenizer puts around question and context, at most
CANDIDATES = 20  # best starts and best ends of a window that are tried with each other
_CHUNK = 256  # contexts that are Python lists of numbers at one time


class Windows(Features):
    """Windows of question and context; a long context has several.

    Attributes:
        sample: (windows,) which question each belongs to.
        offsets: for each window, (tokens, 2): where a token of the context begins and ends in it, in
            characters; -1 for every other token.
        contexts, answers: of each question.
    """

    targets = ("start_positions", "end_positions")

    def __init__(
        self,
        tokens: Mapping[str, Sequence[np.ndarray]],
        positions: np.ndarray,
        sample: np.ndarray,
        offsets: Sequence[np.ndarray],
        contexts: Sequence[str],
        answers: Sequence[Sequence[tuple[str, int]]],
    ) -> None:
        super().__init__(tokens, positions)
        self.sample = sample
        self.offsets = offsets
        self.contexts = contexts
        self.answers = answers

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.inputs(index)
        return sample | dict(zip(self.targets, self.labels[index].tolist(), strict=True))


def encode_spans(split: Split, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Windows:
    """Tokenize questions with windows of their contexts, which share ``STRIDE`` tokens with the next.

    A window without the whole (first) answer is trained to point at its first token.

    Raises:
        DataError: ``max_length`` leaves no room for a context, or the tokenizer cannot tell where tokens are.
    """
    if not tokenizer.is_fast:
        raise DataError(
            "spans need a tokenizer that knows where its tokens lie in the text: save the model with its "
            "fast tokenizer (tokenizer.json)"
        )
    # Half of a short window is for the question, and half of what is left is shared with the next one.
    longest = min(MAX_QUESTION, max_length // 2)
    room = max_length - longest - SPECIAL
    if room < 2:
        raise DataError(f"max_length {max_length} leaves no room for a context: 384 or 320 are usual")
    questions, contexts = split.texts
    answers: Any = split.labels
    tokens: dict[str, list[np.ndarray]] = {}
    positions, sample, offsets = [], [], []
    for start in range(0, len(split), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        encoded = tokenizer(
            _cut(questions[chunk], tokenizer, longest),
            contexts[chunk],
            truncation="only_second",
            max_length=max_length,
            stride=min(STRIDE, room // 2),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        places = encoded.pop("overflow_to_sample_mapping")
        mappings = encoded.pop("offset_mapping")
        for window, (place, mapping) in enumerate(zip(places, mappings, strict=True)):
            own = np.asarray(mapping, dtype=np.int32)
            own[[part != 1 for part in encoded.sequence_ids(window)]] = -1
            offsets.append(own)
            sample.append(start + place)
            positions.append(_positions(own, answers[start + place][0]))
        for key, rows in encoded.items():
            tokens.setdefault(key, []).extend(np.asarray(row, dtype=np.int32) for row in rows)
    return Windows(tokens, np.asarray(positions), np.asarray(sample), offsets, contexts, answers)


def _cut(questions: list[str], tokenizer: PreTrainedTokenizerBase, longest: int) -> list[str]:
    """Questions without the blanks before them, at most ``longest`` tokens long."""
    stripped = [question.lstrip() for question in questions]
    mappings = tokenizer(stripped, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    return [
        question[: mapping[longest - 1][1]] if len(mapping) > longest else question
        for question, mapping in zip(stripped, mappings, strict=True)
    ]


def _positions(offsets: np.ndarray, answer: tuple[str, int]) -> tuple[int, int]:
    """First and last token of an answer in a window; its first token twice if it is not all in there."""
    text, first = answer
    last = first + len(text)
    inside = np.flatnonzero((offsets[:, 0] >= 0) & (offsets[:, 1] > first) & (offsets[:, 0] < last))
    if not len(inside) or offsets[inside[0], 0] > first or offsets[inside[-1], 1] < last:
        return 0, 0
    return int(inside[0]), int(inside[-1])


def best_answers(predictions: np.ndarray, windows: Windows) -> list[str]:
    """The best span of each question over its windows.

    Args:
        predictions: (windows, 2, tokens) scores of a start and of an end.

    Raises:
        TrainingError: a score is not finite.
    """
    best = [(-np.inf, "")] * len(windows.contexts)
    for place, offsets, scores in zip(windows.sample, windows.offsets, predictions, strict=True):
        starts, ends = (part[: len(offsets)] for part in scores)
        if not (np.isfinite(starts).all() and np.isfinite(ends).all()):
            raise TrainingError(
                "predicted starts and ends of answers are not finite numbers: the model has diverged; adapt "
                "it again with a lower --set adapt.learning_rate"
            )
        context = np.flatnonzero(offsets[:, 0] >= 0)
        first, last = (_highest(part, context) for part in (starts, ends))
        length = last[None] - first[:, None] + 1
        total = np.where((length > 0) & (length <= MAX_ANSWER), starts[first][:, None] + ends[last], -np.inf)
        if not total.size or not np.isfinite(total).any():
            continue
        row, column = np.unravel_index(np.argmax(total), total.shape)
        if total[row, column] > best[place][0]:
            span = windows.contexts[place][offsets[first[row], 0] : offsets[last[column], 1]]
            best[place] = (float(total[row, column]), span)
    return [text for _, text in best]


def _highest(scores: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The places with the highest scores."""
    return places[np.argsort(-scores[places], kind="stable")[:CANDIDATES]]


def normalise(answer: str) -> str:
    """Lower case without punctuation and articles, single blanks."""
    kept = "".join(letter for letter in answer.lower() if letter not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", kept).split())


def exact_match(predicted: str, truth: str) -> float:
    """1 if both are the same after :func:`normalise`, else 0."""
    return float(normalise(predicted) == normalise(truth))


def overlap_f1(predicted: str, truth: str) -> float:
    """F1 of the words of both after :func:`normalise`; 0 where they share none, two empty ones included."""
    found, wanted = normalise(predicted).split(), normalise(truth).split()
    shared = sum((Counter(found) & Counter(wanted)).values())
    return 2 * shared / (len(found) + len(wanted)) if shared else 0.0


def span_metrics(predictions: np.ndarray, windows: Windows) -> dict[str, float]:
    """F1 and exact match, of each question against the nearest of its answers, as shares."""
    answers = best_answers(predictions, windows)
    return score_answers(answers, windows.answers)


def score_answers(predicted: Sequence[str], answers: Sequence[Sequence[tuple[str, int]]]) -> dict[str, float]:
    """F1 and exact match of answers in words."""
    pairs = list(zip(predicted, answers, strict=True))
    return {
        name: float(np.mean([max(measure(text, truth) for truth, _ in truths) for text, truths in pairs]))
        for name, measure in (("f1", overlap_f1), ("exact_match", exact_match))
    }
