"""A tiny checkpoint and a tiny task, for tests that go all the way from a model to its results."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import WordPiece
from transformers import PreTrainedModel

from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.executor import Local
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Evaluate, Run, Source

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
GOOD = ("good", "fine", "great", "lovely", "warm", "funny")
BAD = ("bad", "poor", "dull", "awful", "cold", "flat")
OTHER = ("film", "book", "the", "a", "very", "plot", "was", "is", "and", "it")
WORDS = (*SPECIAL, *GOOD, *BAD, *OTHER)

_COMMON = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 32,
    "hidden_dropout_prob": 0.1,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "mobilebert": {
        **_COMMON,
        "embedding_size": 16,
        "intra_bottleneck_size": 16,
        "num_feedforward_networks": 2,
        "classifier_activation": False,
    },
    "bert": _COMMON,
    "distilbert": {
        "vocab_size": len(WORDS),
        "n_layers": 1,
        "n_heads": 2,
        "dim": 32,
        "hidden_dim": 48,
        "max_position_embeddings": 32,
    },
    "roberta": {**_COMMON, "pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3},
    "electra": {**_COMMON, "embedding_size": 16},
}


def write_checkpoint(folder: Path, family: str = "mobilebert", seed: int = 7) -> Path:
    """An encoder of random weights in Hugging Face layout, with a WordPiece tokenizer."""
    config = transformers.CONFIG_MAPPING[family](**FAMILIES[family])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = transformers.AutoModel.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.05)
            # Else MobileBERT's trigram shows the last token of a text whether padding follows it.
            model.get_input_embeddings().weight[0] = 0.0
    model.save_pretrained(folder)
    tokenizer = Tokenizer(WordPiece({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {f"{part}_token": f"[{part.upper()}]" for part in ("pad", "unk", "cls", "sep", "mask")}
    settings |= {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


def sentences(count: int, seed: int) -> list[tuple[str, int]]:
    """Sentences with more good or more bad words in them, and which of both; both equally often."""
    draw = random.Random(seed)
    found = []
    for place in range(count):
        label = place % 2
        marked = draw.choices(GOOD if label else BAD, k=draw.randint(1, 3))
        words = [*marked, *draw.choices(OTHER, k=draw.randint(1, 6))]
        draw.shuffle(words)
        found.append((" ".join(words), label))
    return found


def write_task(folder: Path, train: int = 96, dev: int = 120) -> Path:
    """SST-2 in GLUE's layout: ``train.tsv`` and ``dev.tsv`` with a header."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, count, seed in (("train", train, 1), ("dev", dev, 2)):
        lines = [f"{text}\t{label}" for text, label in sentences(count, seed)]
        (folder / f"{name}.tsv").write_text("\n".join(["sentence\tlabel", *lines]) + "\n")
    return folder


def recipe(bundle: Path, checkpoint: Path, data: Path, **changes: Any) -> Run:
    """Settings small enough for a test: six steps of training, two chips, two times.

    Args:
        changes: of :class:`Run`, or ``workers``; a mapping for ``adapt`` and ``evaluate`` changes only what
            it names, and ``hardware`` may be the name of a preset.
    """
    hardware = changes.pop("hardware", "pcm-x4")
    adapt = {
        "batch_size": 16,
        "epochs": 1.0,
        "learning_rate": 5.0e-3,
        "checkpoint_steps": 2,
        "lora": {"r": 2},
    }
    evaluate = {"chips": 2, "times": ("0s", "1y")}
    executor = Local(workers=changes.pop("workers", 1))
    return Run(
        bundle=str(bundle),
        source=Source(path=str(checkpoint)),
        hardware=load_preset(hardware) if isinstance(hardware, str) else hardware,
        task="sst2",
        data_dir=str(data),
        device="cpu",
        max_length=16,
        adapt=Adapt.model_validate({**adapt, **changes.pop("adapt", {})}),
        evaluate=Evaluate.model_validate({**evaluate, **changes.pop("evaluate", {})}),
        executor=changes.pop("executor", executor),
        **changes,
    )


CHANGING = {"manifest.json", "README.md"}
"""Files of a bundle that change with every other: the manifest and the model card."""


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of every file below ``folder`` by its name there; the file that writers lock does not count."""
    found = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
    }
    return {name: path.read_bytes() for name, path in found.items() if not name.endswith(".lock")}


class Said:
    """Progress that keeps what a workflow says."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def start(self, what: str, total: int | None) -> None: ...

    def advance(self, steps: int = 1, note: str = "") -> None: ...

    def say(self, message: str) -> None:
        self.lines.append(message)
