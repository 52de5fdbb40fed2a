"""Tiny random checkpoints of every family, in Hugging Face layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedModel

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "book", "very")
SHARED = {"vocab_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 16}
FAMILIES = {
    "mobilebert": (
        "MobileBertForPreTraining",
        {
            **SHARED,
            "hidden_size": 16,
            "embedding_size": 8,
            "intermediate_size": 16,
            "intra_bottleneck_size": 8,
            "num_feedforward_networks": 2,
            "classifier_activation": False,
        },
    ),
    "bert": ("BertForPreTraining", {**SHARED, "hidden_size": 8, "intermediate_size": 16}),
    "distilbert": (
        "DistilBertForMaskedLM",
        {
            "vocab_size": 24,
            "n_layers": 2,
            "n_heads": 2,
            "dim": 8,
            "hidden_dim": 16,
            "max_position_embeddings": 16,
        },
    ),
    "roberta": ("RobertaForMaskedLM", {**SHARED, "hidden_size": 8, "intermediate_size": 16}),
    "electra": (
        "ElectraForPreTraining",
        {**SHARED, "hidden_size": 8, "embedding_size": 4, "intermediate_size": 16},
    ),
}


def pretraining_model(family: str) -> PreTrainedModel:
    """A random model with its pretraining heads; every parameter differs from what a fresh one has."""
    name, settings = FAMILIES[family]
    config = transformers.CONFIG_MAPPING[family](**settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = getattr(transformers, name)(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def save_tokenizer(folder: Path) -> None:
    """A word-level tokenizer, as tokenizer.json and tokenizer_config.json."""
    words = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.save(str(folder / "tokenizer.json"))
    special = {f"{part}_token": f"[{part.upper()}]" for part in ("pad", "unk", "cls", "sep", "mask")}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **special})
    )


@pytest.fixture(scope="session")
def originals() -> dict[str, PreTrainedModel]:
    """The pretraining model of each family."""
    return {family: pretraining_model(family) for family in FAMILIES}


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory, originals: dict[str, PreTrainedModel]) -> Path:
    """A folder with one checkpoint folder for each family; not to be written to."""
    root = tmp_path_factory.mktemp("pristine")
    for family, model in originals.items():
        folder = root / family
        model.save_pretrained(folder)
        save_tokenizer(folder)
    return root
