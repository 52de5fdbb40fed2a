"""The cost model against published figures: which only check arithmetic, and which are predictions.

Identities of units: HERMES, its core, PUMA. Predictions: NeuRRAM, the memory of an adapter, ALBERT,
Tile&Pack. The overhead of AHWA-LoRA has two fitted constants; what is predicted there is that no ideal
cluster does worse.
"""

from __future__ import annotations

import itertools
from typing import Literal

import pytest

from aimc_deploy.config.chip import Cluster
from aimc_deploy.config.load import load_preset
from aimc_deploy.cost import adapters, tiles
from aimc_deploy.tile.blocks import Block
from aimc_deploy.tile.grid import cut
from aimc_deploy.tile.placement import place


@pytest.mark.parametrize(
    ("preset", "tera", "per_watt", "tolerance"),
    [("hermes64-1p", 63.1, 9.76, 0.01), ("hermes64-4p", 16.1, 2.48, 0.01)],
)
def test_v1_v2_hermes(preset: str, tera: float, per_watt: float, tolerance: float) -> None:
    """Le Gallo et al., Nature Electronics 6, 680 (2023). Identities: the presets are derived from these."""
    hardware = load_preset(preset)
    chip, tile = hardware.chip, hardware.tile
    assert chip.tiles is not None
    assert chip.mvm_ns is not None
    assert chip.mvm_nj is not None
    found = tiles.tera_ops(tile.rows, tile.cols, chip.mvm_ns.value, int(chip.tiles.value))
    assert found == pytest.approx(tera, rel=tolerance)
    assert tiles.tera_ops_per_watt(tile.rows, tile.cols, chip.mvm_nj.value) == pytest.approx(
        per_watt, rel=tolerance
    )
    assert tiles.watts(chip.mvm_ns.value, chip.mvm_nj.value, int(chip.tiles.value)) == pytest.approx(
        6.48, rel=0.01
    )


def test_v2_four_phases_take_about_four_times_as_long() -> None:
    times = [load_preset(name).chip.mvm_ns for name in ("hermes64-1p", "hermes64-4p")]
    assert times[0] is not None
    assert times[1] is not None
    assert times[1].value / times[0].value == pytest.approx(3.92, rel=0.01)
    assert times[1].value == pytest.approx(4 * 128, rel=0.03)


def test_v3_hermes_core() -> None:
    """Khaddam-Aljameh et al., JSSC 57, 1027 (2022). An identity."""
    assert tiles.tera_ops(256, 256, 130.0) == pytest.approx(1.008, rel=0.01)
    assert tiles.tera_ops_per_watt(256, 256, 12.48) == pytest.approx(10.5, rel=0.01)


@pytest.mark.parametrize(
    ("output_bits", "input_bits", "phases", "tera", "tolerance"),
    [
        (8, 6, 2, 0.418, 0.06),
        (9, 7, 2, 0.344, 0.06),
        (10, 8, 2, 0.264, 0.06),
        (7, 5, 2, 0.525, 0.06),
        (3, 1, 1, 2.122, 0.09),
        (4, 2, 1, 1.793, 0.09),
    ],
)
def test_v4_neurram(output_bits: int, input_bits: int, phases: int, tera: float, tolerance: float) -> None:
    """Wan et al., Nature 608, 504 (2022): 48 cores of 256 x 128 weights. A prediction."""
    time_us = tiles.charge_decrement_us(input_bits, output_bits, phases)
    assert tiles.tera_ops(256, 128, 1e3 * time_us, 48) == pytest.approx(tera, rel=tolerance)


def test_v5_puma() -> None:
    """Ankit et al., ASPLOS 2019: 16,384 multiply-accumulates in 2,304 ns for 43.97 nJ. An identity."""
    assert tiles.tera_ops(128, 128, 2304) * 2304 * 1e3 / 2 == pytest.approx(16_384)
    assert tiles.watts(2304, 43.97) == pytest.approx(43.97 / 2304)


def mobilenet_v2() -> list[tuple[int, int]]:
    """Its 1 x 1 convolutions as matrices, inputs x outputs (Sandler et al., CVPR 2018, table 2)."""
    shapes, channels = [], 32
    for expansion, out, repeats in (
        (1, 16, 1),
        (6, 24, 2),
        (6, 32, 3),
        (6, 64, 4),
        (6, 96, 3),
        (6, 160, 3),
        (6, 320, 1),
    ):
        for _ in range(repeats):
            hidden = channels * expansion
            shapes += [(channels, hidden)] if expansion > 1 else []
            shapes.append((hidden, out))
            channels = out
    return [*shapes, (320, 1280)]


def test_v6_tile_and_pack() -> None:
    """Garofalo et al., JETCAS 12, 422 (2022): MobileNetV2's pointwise layers on 34 crossbars of 256 x 256.

    A prediction of the packer, with matrices cut into full tiles as there.
    """
    used = {}
    splits: tuple[Literal["max", "equal"], ...] = ("max", "equal")
    for split in splits:
        blocks = []
        for number, (rows, cols) in enumerate(mobilenet_v2()):
            for row, col in itertools.product(cut(rows, 256, split), cut(cols, 256, split)):
                size = row.stop - row.start, col.stop - col.start
                blocks.append(Block(f"{number:02}", 0, *size, f"{number}.{row.start}", number, ""))
        used[split] = place(blocks, "dense", 256, 256).used
    assert used == {"max": 34, "equal": 41}


def test_v7_parameters_and_memory_of_adapters() -> None:
    """Li et al. (2026): 1.6 M parameters, and 8.2 to 21 KiB and 70 to 172 KiB. A prediction."""
    kib = {
        (rows, cols, tokens): adapters.memory_bytes(rows, cols, 8, tokens) / 1024
        for rows, cols in ((128, 128), (512, 128))
        for tokens in (8, 128)
    }
    assert kib[128, 128, 8] == pytest.approx(8.2, rel=0.02)
    assert kib[512, 128, 8] == pytest.approx(21, rel=0.05)
    assert kib[128, 128, 128] == pytest.approx(70, rel=0.02)
    assert kib[512, 128, 128] == pytest.approx(172, rel=0.02)
    # Of MobileBERT: the embedding's, and in each of 24 layers these.
    layer = [(512, 128)] * 7 + [(128, 512)] * 5 + [(128, 128)] * 3
    total = adapters.macs(384, 512, 8) + 24 * sum(adapters.macs(rows, cols, 8) for rows, cols in layer)
    assert total == 1_629_184


def test_v8_overhead_of_adapters() -> None:
    """Li et al. (2026): 4 % at best, 2.72 x at 128 ns for 512 x 128.

    An ideal cluster is not slower than the published one; the fitted efficiency and hand-over meet it.
    """
    cluster = Cluster()
    perfect = cluster.model_copy(update={"efficiency": cluster.efficiency.model_copy(update={"value": 1.0})})
    ideal = adapters.busy_ns(512, 128, 8, 1, perfect) / 128
    assert ideal == pytest.approx(1.90, rel=0.01)
    assert ideal <= 2.72
    assert 1 + adapters.overhead(512, 128, 8, 128, 128, cluster) == pytest.approx(2.72, rel=0.01)
    best = min(
        adapters.overhead(rows, cols, 8, 1, tile_ns, cluster)
        for rows, cols in ((128, 128), (512, 128))
        for tile_ns in (128, 256, 512)
    )
    assert best == pytest.approx(0.04, rel=0.01)


def test_v9_albert_on_34_tiles() -> None:
    """Chen et al., Nature Communications 16 (2025): 7.1 M weights fill 79.4 % of 34 tiles. A prediction."""
    hardware = load_preset("ibm34")
    assert hardware.chip.tiles is not None
    capacity = hardware.chip.tiles.value * hardware.tile.rows * hardware.tile.cols
    assert 7.1e6 / capacity == pytest.approx(0.794, rel=0.01)
