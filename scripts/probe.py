"""The figures of the two data cards: how hard the bundled reviews are, and how good frozen features are.

    python scripts/probe.py [CHECKPOINT ...] [--sst2 glue/SST-2]

Prints the accuracy on dev of logistic regression on word counts of the reviews (six settings), and on the
frozen features of each checkpoint (the bundled one if none is named): first position, mean over positions.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoModel, AutoTokenizer

from aimc_deploy.models.checkpoint import BUNDLED
from aimc_deploy.tasks.data import Split, TaskData, load_data
from aimc_deploy.tasks.registry import get_task

SST2_SAMPLES = 1500  # the first ones of the file


def word_counts(data: TaskData) -> list[float]:
    """Accuracies of logistic regression on words, and on weighted words and pairs of them."""
    scores = []
    for vectorizer in (CountVectorizer(), TfidfVectorizer(ngram_range=(1, 2))):
        train = vectorizer.fit_transform(data.train.texts[0])
        dev = vectorizer.transform(data.dev.texts[0])
        for strength in (0.1, 1.0, 10.0):
            classifier = LogisticRegression(C=strength, max_iter=2000).fit(train, data.train.labels)
            scores.append(float(classifier.score(dev, data.dev.labels)))
    return scores


@torch.inference_mode()
def features(checkpoint: Path, texts: list[str]) -> dict[str, np.ndarray]:
    """Frozen features, (texts, hidden), of texts of like length together."""
    model = AutoModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    first, mean = {}, {}
    for start in range(0, len(order), 64):
        places = order[start : start + 64]
        batch = tokenizer(
            [texts[place] for place in places],
            padding=True,
            truncation=True,
            max_length=128,
            return_tensors="pt",
        )
        hidden = model(**batch).last_hidden_state
        weight = batch["attention_mask"].unsqueeze(-1)
        first.update(zip(places, hidden[:, 0].numpy(), strict=True))
        mean.update(zip(places, ((hidden * weight).sum(1) / weight.sum(1)).numpy(), strict=True))
    found = {"first position": first, "mean": mean}
    return {name: np.stack([rows[place] for place in range(len(texts))]) for name, rows in found.items()}


def probe(checkpoint: Path, train: Split, dev: Split, samples: int | None) -> dict[str, float]:
    """Accuracy on dev of a linear probe, for each kind of feature."""
    fitted, measured = features(checkpoint, train.texts[0][:samples]), features(checkpoint, dev.texts[0])
    scores = {}
    for name in fitted:
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
        classifier.fit(fitted[name], train.labels[:samples])
        scores[name] = float(classifier.score(measured[name], dev.labels))
    return scores


def main() -> None:
    """The command line of this script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("checkpoints", type=Path, nargs="*", default=[BUNDLED])
    parser.add_argument("--sst2", type=Path, help="folder with SST-2's train.tsv and dev.tsv")
    arguments = parser.parse_args()
    reviews = load_data(get_task("reviews"), None)
    print("reviews, word counts:", " ".join(f"{score:.1%}" for score in word_counts(reviews)))
    for checkpoint in arguments.checkpoints:
        tasks = {"reviews": (reviews, None)}
        if arguments.sst2:
            tasks["sst2"] = (load_data(get_task("sst2"), arguments.sst2), SST2_SAMPLES)
        for task, (data, samples) in tasks.items():
            scores = probe(checkpoint, data.train, data.dev, samples)
            told = ", ".join(f"{name} {score:.1%}" for name, score in scores.items())
            print(f"{task}, {checkpoint.name}: {told}")


if __name__ == "__main__":
    main()
