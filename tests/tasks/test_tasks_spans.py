"""Answers in a text: SQuAD's files, windows, the best span, and the official measures."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from aimc_deploy.errors import DataError, TrainingError
from aimc_deploy.tasks.data import Split, load_data
from aimc_deploy.tasks.kinds import prepare, score
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.tasks.spans import (
    STRIDE,
    Windows,
    best_answers,
    encode_spans,
    exact_match,
    normalise,
    overlap_f1,
    score_answers,
)

SQUAD = get_task("squad")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data" / "squad"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason=f"needs the SQuAD files in {SHARED}")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(400)), "?", "who"]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    bare = Tokenizer(models.WordPiece({word: n for n, word in enumerate(WORDS)}, unk_token="[UNK]"))
    bare.normalizer = normalizers.BertNormalizer()
    bare.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    bare.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return PreTrainedTokenizerFast(
        tokenizer_object=bare, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def context_of(words: int) -> str:
    return " ".join(f"w{number}" for number in range(words))


def split(*samples: tuple[str, str, str]) -> Split:
    """Of question, context and answer."""
    answers: list[Any] = [[(answer, context.index(answer))] for _, context, answer in samples]
    return Split(([s[0] for s in samples], [s[1] for s in samples]), answers, "here", "")


# --- measures -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The  Apollo-11, mission!", "apollo11 mission"),
        ("a an the", ""),
        ("Anthem of the theatre", "anthem of theatre"),
        ("$1,000.00", "100000"),
        ("the\tfirst\nthe second", "first second"),
        ("", ""),
    ],
)
def test_answers_are_compared_without_case_punctuation_and_articles(answer: str, expected: str) -> None:
    assert normalise(answer) == expected


@pytest.mark.parametrize(
    ("predicted", "truth", "f1", "exact"),
    [
        ("The cat sat", "cat sat.", 1.0, 1.0),
        ("black cat", "the cat", 2 / 3, 0.0),
        ("cat cat", "cat", 2 / 3, 0.0),
        ("cat", "cat cat dog", 0.5, 0.0),
        ("dog", "cat", 0.0, 0.0),
        ("", "cat", 0.0, 0.0),
        ("the", "a", 0.0, 1.0),  # both empty: the official script counts no shared word, but the same text
    ],
)
def test_measures_worked_out_by_hand(predicted: str, truth: str, f1: float, exact: float) -> None:
    assert overlap_f1(predicted, truth) == pytest.approx(f1)
    assert exact_match(predicted, truth) == exact


def test_the_nearest_of_several_answers_counts() -> None:
    answers = [[("cat", 0), ("black cat", 0)], [("dog", 0)]]
    assert score_answers(["black cat", "cat"], answers) == {"f1": 0.5, "exact_match": 0.5}


# --- windows --------------------------------------------------------------------------------------------


@given(st.integers(1, 390), st.integers(0, 389), st.integers(1, 12), st.sampled_from([24, 64, 320, 384]))
@settings(max_examples=40)
def test_windows_cover_the_context_and_know_the_answer(
    tokenizer: PreTrainedTokenizerFast, words: int, first: int, length: int, max_length: int
) -> None:
    first = min(first, words - 1)
    answer = " ".join(f"w{number}" for number in range(first, min(words, first + length)))
    context = context_of(words)
    windows = encode_spans(
        Split((["who w1 ?"], [context]), [[(answer, len(context_of(first)) + (first > 0))]], "here", ""),
        tokenizer,
        max_length,
    )
    assert max(windows.lengths) <= max_length
    covered = {tuple(offset) for own in windows.offsets for offset in own.tolist() if offset[0] >= 0}
    assert " ".join(context[a:b] for a, b in sorted(covered)) == context
    known = 0
    for own, (start, end) in zip(windows.offsets, windows.labels.tolist(), strict=True):
        if (start, end) != (0, 0):
            assert context[own[start, 0] : own[end, 1]] == answer
            known += 1
    # Windows share more than the answer, or there is one: then one has all of it.
    if length <= min(STRIDE, (max_length - min(64, max_length // 2) - 4) // 2):
        assert known >= 1


def test_a_sample_is_what_a_model_takes(tokenizer: PreTrainedTokenizerFast) -> None:
    windows = prepare(SQUAD, split(("who ?", "w1 w2 w3", "w2 w3")), tokenizer, 384)
    assert isinstance(windows, Windows)
    cls, sep = 2, 3
    ids = [WORDS.index(word) for word in ("who", "?", "w1", "w2", "w3")]
    assert windows[0]["input_ids"] == [cls, *ids[:2], sep, *ids[2:], sep]
    assert (windows[0]["start_positions"], windows[0]["end_positions"]) == (5, 6)
    assert "start_positions" not in windows.inputs(0)
    assert windows.lengths == [8]


def test_a_long_question_is_cut_and_leaves_room(tokenizer: PreTrainedTokenizerFast) -> None:
    windows = encode_spans(split((context_of(300), "w1 w2 w3", "w2")), tokenizer, 384)
    assert windows.lengths == [64 + 3 + 3]
    assert windows.labels.tolist() == [[1 + 64 + 1 + 1] * 2]


def test_a_window_too_short_for_anything_is_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    with pytest.raises(DataError, match="max_length 8 leaves no room for a context: 384 or 320 are usual"):
        encode_spans(split(("who ?", "w1", "w1")), tokenizer, 8)


# --- the best span --------------------------------------------------------------------------------------


def scores_for(windows: Windows, wanted: dict[tuple[int, int], float]) -> np.ndarray:
    """High scores for the given (window, token), as both start and end; elsewhere noise."""
    rng = np.random.default_rng(0)
    scores = rng.normal(0, 0.1, (len(windows), 2, max(windows.lengths)))
    for (window, token), value in wanted.items():
        scores[window, :, token] = value
    return scores


def test_the_best_span_of_all_windows_is_the_answer(tokenizer: PreTrainedTokenizerFast) -> None:
    windows = encode_spans(split(("who ?", context_of(380), "w5"), ("who ?", "w7 w8", "w7")), tokenizer, 320)
    assert windows.sample.tolist() == [0, 0, 1]
    # Token 4 is the first of the context in every window, and one more follows the last.
    second_starts_at = 380 - (windows.lengths[1] - 5)
    scores = scores_for(windows, {(0, 4 + 9): 5.0, (1, 4 + 20): 7.0, (2, 5): 3.0, (2, 0): 99.0, (2, 1): 99.0})
    assert best_answers(scores, windows) == [f"w{second_starts_at + 20}", "w8"], "never in the question"


def test_an_answer_is_neither_backwards_nor_endless(tokenizer: PreTrainedTokenizerFast) -> None:
    windows = encode_spans(split(("who ?", context_of(100), "w5")), tokenizer, 320)
    scores = np.zeros((1, 2, windows.lengths[0]))
    scores[0, 0, 4 + 50], scores[0, 1, 4 + 10] = 9.0, 9.0  # backwards
    scores[0, 0, 4 + 20], scores[0, 1, 4 + 90] = 8.0, 8.0  # 71 tokens
    scores[0, 0, 4 + 60], scores[0, 1, 4 + 62] = 3.0, 3.0
    found = best_answers(scores, windows)[0].split()
    assert 0 < len(found) <= 30


def test_scores_that_are_no_numbers_are_refused(tokenizer: PreTrainedTokenizerFast) -> None:
    windows = encode_spans(split(("who ?", "w1 w2", "w2")), tokenizer, 320)
    scores = np.zeros((1, 2, windows.lengths[0]))
    scores[0, 1, 4] = np.nan
    with pytest.raises(TrainingError, match="not finite numbers: the model has diverged"):
        score(SQUAD, scores, windows)


def test_perfect_scores_give_one(tokenizer: PreTrainedTokenizerFast) -> None:
    windows = encode_spans(
        split(("who ?", context_of(380), "w370 w371"), ("who ?", "w7 w8", "w7")), tokenizer, 320
    )
    scores = np.full((len(windows), 2, max(windows.lengths) + 7), -5.0)
    for window, (start, end) in enumerate(windows.labels.tolist()):
        if start:
            scores[window, 0, start] = scores[window, 1, end] = 5.0
    assert score(SQUAD, scores, windows) == {"f1": 1.0, "exact_match": 1.0}


# --- files ----------------------------------------------------------------------------------------------


def squad_json(
    *samples: tuple[str, str, list[tuple[str, int]]], ids: list[str] | None = None
) -> dict[str, Any]:
    paragraphs = [
        {
            "context": context,
            "qas": [
                {
                    "id": ids[place] if ids else str(place),
                    "question": question,
                    "answers": [{"text": text, "answer_start": start} for text, start in answers],
                }
            ],
        }
        for place, (question, context, answers) in enumerate(samples)
    ]
    return {"version": "1.1", "data": [{"title": "t", "paragraphs": paragraphs}]}


ONE = ("Who?", "It was Ada.", [("Ada", 7), ("was Ada", 3)])


def write(folder: Path, ending: str, content: dict[str, Any]) -> None:
    data = json.dumps(content).encode()
    if ending.endswith(".gz"):
        data = gzip.compress(data)
    elif ending.endswith(".zip"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("inside.json", data)
        data = buffer.getvalue()
    for name in ("train-v1.1", "dev-v1.1"):
        (folder / f"{name}{ending}").write_bytes(data)


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".json.zip"])
def test_squads_own_files_are_read(tmp_path: Path, ending: str) -> None:
    write(tmp_path, ending, squad_json(ONE))
    data = load_data(SQUAD, tmp_path)
    assert data.dev.texts == (["Who?"], ["It was Ada."])
    assert data.dev.labels == [[("Ada", 7), ("was Ada", 3)]]
    assert data.train.sha256 == data.dev.sha256


@pytest.mark.parametrize("ending", [".json.gz", ".json.zip"])
def test_a_packed_file_takes_the_memory_of_what_is_in_it(tmp_path: Path, ending: str) -> None:
    write(tmp_path, ending, squad_json(ONE))
    tracemalloc.start()
    try:
        load_data(SQUAD, tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 32 * 1024**2
    finally:
        tracemalloc.stop()


def test_answers_come_in_plain_tables_too(tmp_path: Path) -> None:
    for name in ("train", "dev"):
        (tmp_path / f"{name}.csv").write_text('question,context,answer\nWho?,"It was Ada, not Bob.",Bob\n')
    assert load_data(SQUAD, tmp_path).dev.labels == [[("Bob", 16)]]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.csv").unlink()
        line = {
            "question": "Who?",
            "context": "It was Ada.",
            "answers": {"text": ["Ada"], "answer_start": [7]},
        }
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line))
    assert load_data(SQUAD, tmp_path).train.labels == [[("Ada", 7)]]


def test_a_place_without_end_is_refused(tmp_path: Path) -> None:
    line = {"question": "Who?", "context": "It was Ada.", "answers": {"text": ["Ada"], "answer_start": [7]}}
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line).replace("7", "Infinity"))
    with pytest.raises(DataError, match=r"train\.jsonl:1: answers are .*write a text, or an object"):
        load_data(SQUAD, tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            squad_json(("Who?", "It was Ada.", [("Ada", 6)])),
            r"qas\[0\]: the context does not have the answer 'Ada' at 6",
        ),
        (
            squad_json(("Who?", "It was Ada.", [])),
            r"the question has no answer, and SQuAD v1.1 has none of these",
        ),
        (
            squad_json(ONE, ONE, ids=["x", "x"]),
            r"paragraphs\[1\].qas\[0\]: the question id 'x' is there twice",
        ),
        (squad_json(("  ", "It was Ada.", [("Ada", 7)])), r"'question' is empty"),
        ({"data": [{"paragraphs": [{"qas": [{}]}]}]}, r"is not as SQuAD v1.1 has it \(KeyError: 'answers'\)"),
        ({"data": 3}, r"is not as SQuAD v1.1 has it \(TypeError"),
        ({"data": []}, r"there are no samples in it"),
    ],
)
def test_broken_files_are_refused_with_the_place(
    tmp_path: Path, content: dict[str, Any], message: str
) -> None:
    write(tmp_path, ".json", content)
    with pytest.raises(DataError, match=message):
        load_data(SQUAD, tmp_path)


def test_an_encrypted_archive_is_refused(tmp_path: Path) -> None:
    write(tmp_path, ".json.zip", squad_json(ONE))
    for path in tmp_path.iterdir():
        data = bytearray(path.read_bytes())
        directory = data.index(b"PK\x01\x02")
        data[6] |= 1  # the flag in the file's own header, and in the directory at the end
        data[directory + 8] |= 1
        path.write_bytes(data)
    with pytest.raises(DataError, match=r"v1\.1\.json\.zip: cannot be unpacked \(.*encrypted"):
        load_data(SQUAD, tmp_path)


@pytest.mark.parametrize("ending", [".json", ".json.gz", ".json.zip"])
def test_files_that_hold_something_else_are_refused(tmp_path: Path, ending: str) -> None:
    for name in ("train", "dev"):
        (tmp_path / f"{name}{ending}").write_bytes(b"\x1f\x8bnot really")
    with pytest.raises(DataError, match=r"cannot be unpacked|is not as SQuAD"):
        load_data(SQUAD, tmp_path)


def test_a_missing_file_is_told_with_its_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"needed are train\*.json and dev\*.json \(also validation\*"):
        load_data(SQUAD, tmp_path)


@needs_shared
def test_the_official_dev_file() -> None:
    data = load_data(SQUAD, SHARED)
    assert (len(data.train), len(data.dev)) == (11_877, 10_570)
    assert sum(len(answers) for answers in data.dev.labels) == 34_726
    first = [answers[0][0] for answers in data.dev.labels]
    found = score_answers(first, data.dev.labels)
    assert found == {"f1": 1.0, "exact_match": 1.0}
