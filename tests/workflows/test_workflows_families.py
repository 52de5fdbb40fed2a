"""The other encoders go the same way as MobileBERT: map, adapt, evaluate."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_deployment import recipe, write_checkpoint
from transformers import AutoModel

import aimc_deploy
from aimc_deploy.config.hardware import Mapping, NoClip
from aimc_deploy.config.load import load_preset
from aimc_deploy.workflows import adapt, evaluate, map

# Query, key, value, attention output, and two of the feed-forward part, in one layer; ELECTRA adds one
# between its embeddings and its layers.
LAYERS = {"bert": 6, "distilbert": 6, "roberta": 6, "electra": 7}
HEADS = {
    "bert": ["classifier", "pooler"],
    "distilbert": ["classifier", "pre_classifier"],
    "roberta": ["classifier"],
    "electra": ["classifier"],
}


@pytest.mark.parametrize("family", list(LAYERS))
def test_a_family_goes_all_the_way(tmp_path: Path, data: Path, family: str) -> None:
    checkpoint = write_checkpoint(tmp_path / family, family)
    hardware = load_preset("pcm").model_copy(update={"mapping": Mapping(clip=NoClip())})
    config = recipe(
        tmp_path / "b",
        checkpoint,
        data,
        hardware=hardware,
        adapt={"train_samples": 32},
        evaluate={"unadapted": True, "eval_samples": 40},
    )
    plan = map.run(config, tmp_path / "b").plan
    assert len(plan["analog"]) == LAYERS[family]
    ids = torch.randint(5, 20, (3, 7), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        hidden = aimc_deploy.load(tmp_path / "b").model.base_model(input_ids=ids).last_hidden_state
        expected = AutoModel.from_pretrained(checkpoint).eval()(input_ids=ids).last_hidden_state
    torch.testing.assert_close(hidden, expected, rtol=1e-4, atol=1e-5)
    result = adapt.run(config)
    assert result.base_before == result.base_after
    assert (result.record.training["steps"], result.record.training["samples"]) == (2, 32)
    head = result.bundle.read_json("adapters/sst2/adapter_config.json")["modules_to_save"]
    assert sorted(set(head) - {"score"}) == HEADS[family]
    results = evaluate.run(config).results
    assert len(results.rows) == 2 * 2 * 2
    assert all(0 <= row.metrics["accuracy"] <= 1 for row in results.rows)
    model = aimc_deploy.load(tmp_path / "b").set_adapter("sst2")
    with torch.inference_mode():
        digital = model(input_ids=ids).logits
        chips = [model.program(chip).drift("1y")(input_ids=ids).logits for chip in range(2)]
    assert not torch.allclose(chips[0], chips[1])
    assert not torch.allclose(chips[0], digital)
