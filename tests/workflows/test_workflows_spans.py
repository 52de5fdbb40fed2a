"""Answers in a text, from the adapter to the results, beside a task of classes on the same tiles."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_deployment import BAD, GOOD, OTHER, write_checkpoint

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run, Source
from aimc_deploy.workflows import adapt, evaluate, map, predict
from aimc_deploy.workflows.deployed import load

Configure = Callable[..., Run]


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQuAD's files: which word is good, and which is bad?"""
    folder = tmp_path_factory.mktemp("squad")
    for name, count, seed in (("train", 96, 1), ("dev", 40, 2)):
        draw, paragraphs = random.Random(seed), []
        for place in range(count):
            good, bad = draw.choice(GOOD), draw.choice(BAD)
            words = [good, bad, *draw.choices(OTHER, k=6)]
            draw.shuffle(words)
            context = " ".join(words)
            question, answer = (("good", good), ("bad", bad))[place % 2]
            found = {"text": answer, "answer_start": f" {context} ".index(f" {answer} ")}
            asked = {"id": f"{name}{place}", "question": question, "answers": [found]}
            paragraphs.append({"context": context, "qas": [asked]})
        content = {"version": "1.1", "data": [{"title": "words", "paragraphs": paragraphs}]}
        (folder / f"{name}-v1.1.json").write_text(json.dumps(content))
    return folder


def spans(configure: Configure, bundle: Path, questions: Path, **changes: Any) -> Run:
    config = configure(bundle, **changes)
    return config.model_copy(update={"task": "squad", "data_dir": str(questions), "max_length": 24})


def test_an_adapter_for_spans_is_trained_measured_and_switched_to(
    adapted: Path, configure: Configure, questions: Path
) -> None:
    config = spans(configure, adapted, questions, adapt={"epochs": 2.0})
    result = adapt.run(config)
    record = result.record
    assert (record.kind, record.metric, record.num_labels) == ("spans", "f1", 2)
    assert result.base_before == result.base_after
    settings = Bundle.open(adapted).read_json("adapters/squad/adapter_config.json")
    assert settings["task_type"] == "QUESTION_ANS"
    assert "qa_outputs" in settings["modules_to_save"]
    assert not any("pooler" in name for name in settings["modules_to_save"])

    results = evaluate.run(config).results
    assert (results.task, results.metric, results.samples) == ("squad", "f1", 40)
    assert {name for row in results.rows for name in row.metrics} == {"f1", "exact_match"}
    assert results.baselines[0].metrics["f1"] == record.scores["digital"]
    chip = next(row for row in results.rows if (row.chip, row.time) == (0, "0s"))
    assert chip.metrics["f1"] == record.scores["adapted"]

    model = load(adapted)
    base = model.base_sha256()
    ids = torch.tensor([[2, 5, 3, 8, 12, 3]])
    with torch.no_grad():
        before = model.set_adapter("sst2").program(0)(input_ids=ids).logits
        model.set_adapter("squad")
        found = model(input_ids=ids)
        assert found.start_logits.shape == (1, 6)
        model.set_adapter("sst2").drift("0s")
        assert torch.equal(model(input_ids=ids).logits, before)
    assert model.base_sha256() == base, "no tile changes"


def test_the_answer_is_a_part_of_the_context(mapped: Path, configure: Configure, questions: Path) -> None:
    config = spans(configure, mapped, questions)
    adapt.run(config)
    (found,) = predict.run(config, ["good", "the film was great"], chip=1, at="1y")
    assert found.texts == ("good", "the film was great")
    assert isinstance(found.answer, str)
    assert found.answer in "the film was great"
    assert found.probability is None


def test_it_learns(mapped: Path, configure: Configure, questions: Path) -> None:
    settings = {"epochs": 30.0, "learning_rate": 2.0e-2, "hardware_aware": False, "checkpoint_steps": 1000}
    record = adapt.run(spans(configure, mapped, questions, adapt=settings)).record
    digital = record.scores["digital"]
    assert digital is not None
    assert digital > 0.3, "one of eight words by chance"


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "electra"])
def test_every_family_has_a_head_for_spans(
    tmp_path: Path, configure: Configure, questions: Path, family: str
) -> None:
    checkpoint = write_checkpoint(tmp_path / family, family)
    config = spans(configure, tmp_path / "bundle", questions, adapt={"epochs": 0.3})
    config = config.model_copy(update={"source": Source(path=str(checkpoint))})
    map.run(config, tmp_path / "bundle")
    record = adapt.run(config).record
    assert record.kind == "spans"
    found = load(tmp_path / "bundle").set_adapter("squad").program(1).drift("1y")
    with torch.no_grad():
        assert found(input_ids=torch.tensor([[2, 5, 3, 8, 3]])).end_logits.isfinite().all()
