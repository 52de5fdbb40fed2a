"""The ratio for other shapes: BERT-base and BERT-large, tiles of 256 and 512, short and long texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from aimc_deploy.config.hardware import Hardware, TileSize
from aimc_deploy.nn.convert import map_layer
from benchmark.models import SEED
from benchmark.timing import alternate

WIDTHS = {"BERT-base": 768, "BERT-large": 1024}
TILES = (256, 512)
LENGTHS = (16, 32, 64, 128, 256, 512)


def measure(repeats: int) -> list[dict[str, Any]]:
    """All matrices of one encoder layer on one text: four of the width, and up to four times it and back."""
    torch.manual_seed(SEED)
    rows = []
    for model, width in WIDTHS.items():
        shapes = [(width, width)] * 4 + [(width, 4 * width), (4 * width, width)]
        plain = [nn.Linear(*shape).requires_grad_(False) for shape in shapes]
        for tile in TILES:
            hardware = Hardware(tile=TileSize(rows=tile, cols=tile))
            analog = [map_layer(layer, f"layer.{index}", hardware) for index, layer in enumerate(plain)]
            for layer in analog:
                layer.program(SEED, 0)
                layer.drift(0.0)
            for length in LENGTHS:
                inputs = [torch.randn(length, rows) for rows, _ in shapes]

                def run(layers: list[Any], inputs: list[torch.Tensor] = inputs) -> None:
                    for layer, x in zip(layers, inputs, strict=True):
                        layer(x)

                base, taken = alternate(
                    lambda run=run, on=plain: run(on), lambda run=run, on=analog: run(on), repeats
                )
                rows.append(
                    {
                        "model": model,
                        "tile": tile,
                        "length": length,
                        "threads": torch.get_num_threads(),
                        "plain_s": base,
                        "analog_s": taken,
                        "ratio": taken / base,
                    }
                )
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """The ratio over the length, a line for each model and tile."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", {"svg.hashsalt": "aimc-deploy", "svg.fonttype": "none", "font.size": 10}]):
        figure = Figure(figsize=(6.4, 3.6), layout="constrained")
        axes = figure.subplots()
        for index, model in enumerate(WIDTHS):
            for tile, line in zip(TILES, ("--", "-"), strict=True):
                own = [row for row in rows if (row["model"], row["tile"]) == (model, tile)]
                axes.plot(
                    [row["length"] for row in own],
                    [row["ratio"] for row in own],
                    line,
                    color=f"C{index}",
                    marker="o",
                    markersize=3.5,
                    label=f"{model}, tiles of {tile}",
                )
        axes.axhline(1, color="#5f6368", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.set_xticks(LENGTHS, [str(length) for length in LENGTHS])
        axes.set_ylim(bottom=0)
        axes.set_xlabel("tokens in a text")
        axes.set_ylabel("time over plain torch")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": "aimc-deploy"})
