"""The lines of the table that take whole commands: memory of ``adapt``, time of ``evaluate``.

With a model of MobileBERT's full size and random weights, on one thread. The texts are the bundled reviews,
put together until each fills its 128 tokens.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoTokenizer, MobileBertConfig, MobileBertForSequenceClassification

from aimc_deploy.config.run import Evaluate
from aimc_deploy.models.checkpoint import BUNDLED
from aimc_deploy.tasks.data import load_data
from aimc_deploy.tasks.features import Features, encode
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows.logits import predict
from benchmark.models import BATCH, LENGTH, SEED, lora
from benchmark.timing import Figure

CHIPS, TIMES = 3, ("0s", "1h", "1d", "1w", "1mo", "1y", "10y")
SAMPLES, TOGETHER = 96, 12


def prepare(folder: Path) -> None:
    """A checkpoint in Hugging Face layout and long texts in GLUE's."""
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(BUNDLED)
    model = MobileBertForSequenceClassification(MobileBertConfig(vocab_size=len(tokenizer)))
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    reviews = load_data(get_task("reviews"), None).train.texts[0]
    lines = ["sentence\tlabel"]
    for index in range(SAMPLES):
        parts = (reviews[(index + step) % len(reviews)] for step in range(TOGETHER))
        lines.append(f"{' '.join(parts)}\t{index % 2}")
    (folder / "glue" / "SST-2").mkdir(parents=True)
    for split in ("train", "dev"):
        (folder / "glue" / "SST-2" / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measure(folder: Path) -> list[Figure]:
    """Both lines; ``folder`` is empty."""
    prepare(folder)
    own = ("--bundle", str(folder / "bundle"), "--data-dir", str(folder / "glue"))
    _run("aimc-deploy", "map", str(folder / "model"), str(folder / "bundle"))
    settings = ("--epochs", "1", "--set", f"adapt.batch_size={BATCH}")
    adapt = _run("aimc-deploy", "adapt", "--task", "sst2", *own, *settings)
    plain = _run(sys.executable, "-m", "benchmark.commands", str(folder))
    detail = f"{adapt.memory / 2**30:.2f} GiB against {plain.memory / 2**30:.2f} GiB, {BATCH} x {LENGTH}"
    figures = [Figure("peak memory of adapt", 1, adapt.memory / plain.memory, "x", 1.25, 1.1, detail)]

    passes = CHIPS * len(TIMES)
    forward = _plain_pass(folder)
    settings = ("--chips", str(CHIPS), "--times", ",".join(TIMES), "--workers", "1")
    evaluate = _run("aimc-deploy", "evaluate", "--task", "sst2", *own, *settings)
    plain_s = passes * statistics.median([*forward, *_plain_pass(folder)])
    detail = f"{evaluate.seconds:.1f} s against {plain_s:.1f} s, {CHIPS} chips x {len(TIMES)} times"
    what = "evaluate, the whole command"
    return [*figures, Figure(what, 1, evaluate.seconds / plain_s, "x", 1.7, 1.35, detail)]


@dataclass(frozen=True)
class Ran:
    """A command that has ended: how long it took, and its largest memory in bytes."""

    seconds: float
    memory: int


_STARTER = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


def _run(*command: str) -> Ran:
    """Run a command to its end, from a small process: a child's largest memory begins at its parent's."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    starter = [sys.executable, "-c", _STARTER, *command]
    told = subprocess.run(starter, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds, memory, code = told.split()
    if int(code):
        raise SystemExit(f"{' '.join(command)} ended with {code}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Ran(float(seconds), int(memory) * unit)


def _features(folder: Path) -> tuple[Features, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    data = load_data(get_task("sst2"), folder / "glue")
    return encode(data.dev, tokenizer, LENGTH), tokenizer


def _plain_model(folder: Path) -> Any:
    model = MobileBertForSequenceClassification.from_pretrained(folder / "model")
    return get_peft_model(model, lora(model))


def _plain_pass(folder: Path) -> list[float]:
    """Seconds of a few passes of the plain model with its adapter over the same texts in the same batches."""
    features, tokenizer = _features(folder)
    model, threads, taken = _plain_model(folder).eval(), torch.get_num_threads(), []
    torch.set_num_threads(1)
    for _ in range(3):
        start = time.perf_counter()
        predict(model, features, tokenizer, Evaluate().batch_size)
        taken.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return taken


def _train_plain(folder: Path) -> None:
    """What anybody would write with PEFT and the Trainer, on the same texts."""
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    features, tokenizer = _features(folder)
    settings = TrainingArguments(
        output_dir=str(folder / "plain"),
        per_device_train_batch_size=BATCH,
        num_train_epochs=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        remove_unused_columns=False,
    )
    trainer = Trainer(
        _plain_model(folder), settings, DataCollatorWithPadding(tokenizer), train_dataset=features
    )
    trainer.train()


if __name__ == "__main__":
    _train_plain(Path(sys.argv[1]))
