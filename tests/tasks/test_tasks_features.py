"""Texts as tokens, as the Trainer takes them."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import DataCollatorWithPadding, PreTrainedTokenizerFast
from transformers.trainer_pt_utils import LengthGroupedSampler

from aimc_deploy.tasks.data import Split
from aimc_deploy.tasks.features import encode

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "good", "bad", "film", ",", '"', "##s"]
CLS, SEP, A, B, C, GOOD = (WORDS.index(word) for word in ("[CLS]", "[SEP]", "a", "b", "c", "good"))


def make_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    numbers = {word: number for number, word in enumerate(WORDS)}
    bare = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]"))
    bare.normalizer = normalizers.BertNormalizer()
    bare.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    bare.post_processor = processors.BertProcessing(("[SEP]", SEP), ("[CLS]", CLS))
    return PreTrainedTokenizerFast(
        tokenizer_object=bare,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        **options,
    )


BERT_INPUTS = ["input_ids", "token_type_ids", "attention_mask"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return make_tokenizer(model_input_names=BERT_INPUTS)


def split(*texts: list[str], labels: list[Any] | None = None) -> Split:
    return Split(texts, labels if labels is not None else [1] * len(texts[0]), "here", "")


def test_one_text(tokenizer: PreTrainedTokenizerFast) -> None:
    features = encode(split(["good", "a b c", "Good films"], labels=[1, 0, 1]), tokenizer, 128)
    assert len(features) == 3
    assert features.lengths == [3, 5, 5]
    assert features[0] == {
        "input_ids": [CLS, GOOD, SEP],
        "token_type_ids": [0, 0, 0],
        "attention_mask": [1, 1, 1],
        "labels": 1,
    }
    assert features.labels.tolist() == [1, 0, 1]


def test_two_texts(tokenizer: PreTrainedTokenizerFast) -> None:
    features = encode(split(["a b"], ["c"], labels=[0]), tokenizer, 128)
    assert features[0]["input_ids"] == [CLS, A, B, SEP, C, SEP]
    assert features[0]["token_type_ids"] == [0, 0, 0, 0, 1, 1]


def test_what_is_too_long_is_cut(tokenizer: PreTrainedTokenizerFast) -> None:
    features = encode(split(["a b c good bad a a a", "a"]), tokenizer, 8)
    assert features.lengths == [8, 3]
    assert features[0]["input_ids"][-1] == SEP
    pair = encode(split(["a " * 50], ["c b"]), tokenizer, 8)
    assert pair[0]["input_ids"] == [CLS, A, A, A, SEP, C, B, SEP], "the longer of the two is cut"


def test_only_what_the_tokenizer_gives(tokenizer: PreTrainedTokenizerFast) -> None:
    plain = make_tokenizer(model_input_names=["input_ids", "attention_mask"])
    assert set(encode(split(["a"]), plain, 16)[0]) == {"input_ids", "attention_mask", "labels"}
    assert set(encode(split(["a"]), tokenizer, 16)[0]) == {*BERT_INPUTS, "labels"}


def test_more_texts_than_are_encoded_at_once(tokenizer: PreTrainedTokenizerFast) -> None:
    texts = [" ".join(["a"] * (1 + n % 7)) for n in range(2500)]
    features = encode(split(texts, labels=list(range(2500))), tokenizer, 128)
    assert features.lengths == [3 + n % 7 for n in range(2500)]
    assert [sample["labels"] for sample in features] == list(range(2500)), "iteration ends at the last"


@pytest.mark.parametrize("index", [3, -4])
def test_there_is_nothing_behind_the_end(tokenizer: PreTrainedTokenizerFast, index: int) -> None:
    with pytest.raises(IndexError):
        encode(split(["a", "b", "c"]), tokenizer, 16)[index]


@pytest.mark.parametrize(
    ("labels", "kind", "dtype"), [([2, 0, 1], int, torch.int64), ([0.5, 5.0, 1.0], float, torch.float32)]
)
def test_the_trainers_parts_take_it(
    tokenizer: PreTrainedTokenizerFast, labels: list[Any], kind: type, dtype: torch.dtype
) -> None:
    features = encode(split(["a", "a b c", "b c"], labels=labels), tokenizer, 16)
    assert all(type(features[n]["labels"]) is kind for n in range(3))
    batch = DataCollatorWithPadding(tokenizer)([features[n] for n in range(3)])
    assert batch["input_ids"].shape == (3, 5)
    assert batch["attention_mask"].sum(dim=1).tolist() == [3, 5, 4]
    assert batch["labels"].dtype == dtype
    assert batch["labels"].tolist() == labels
    assert sorted(LengthGroupedSampler(2, features)) == [0, 1, 2]


@pytest.mark.parametrize("text", ["good film, " * 10_000, "a" * 100_000, "\u4e2d" * 100_000])
def test_a_very_long_text_is_quick(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    start = time.perf_counter()
    features = encode(split([text, "good"]), tokenizer, 128)
    assert time.perf_counter() - start < 5
    assert 3 <= features.lengths[0] <= 128


def test_texts_are_passed_as_they_are() -> None:
    seen: list[str] = []

    def spy(texts: list[str], **options: Any) -> dict[str, list[list[int]]]:
        seen.extend(texts)
        assert options == {"truncation": True, "max_length": 9}, "no padding"
        return {"input_ids": [[1]] * len(texts)}

    texts = ["  Two  spaces ", "tab\there", "\x00\u2028", "x" * 100_000]
    encode(split(texts), spy, 9)  # pyrefly: ignore[bad-argument-type]
    assert seen == texts
