"""What is measured: rungs of the stress ladder, variants of the method, samples of one chip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LADDER_TIMES = ("0s", "1y", "10y")
TASKS = ("glue", "squad")
"""Recipes that are measured as they stand."""

CHIP, AGE, NOISY = 3, "10y", "pcm-x4"
ON_CHIP = {10: 30.0, 30: 30.0, 100: 15.0, 300: 8.0, 1000: 5.0}
"""Epochs for each number of samples of one aged chip of noisy hardware."""


@dataclass(frozen=True)
class Rung:
    """One step of the ladder: what it changes in configs/sst2.yaml.

    Attributes:
        own_base: it changes the model or the tiles, so it needs a bundle and a digital adapter of its own.
        weight_noise: for training as published.
    """

    name: str
    title: str
    changes: tuple[str, ...] = ()
    own_base: bool = False
    weight_noise: float = 0.067


def _noise(times: int) -> Rung:
    """Device and output noise ``times`` as large.

    The published method's weight noise grows with them up to three times: with more than that (0.5 was tried
    on the twelvefold rung) it finds nothing.
    """
    scales = [f"hardware.device.{kind}_noise_scale={times}" for kind in ("programming", "read")]
    changes = (*scales, f"hardware.output_noise={0.04 * times:g}")
    return Rung(f"noise-x{times}", f"noise × {times}", changes, weight_noise=0.067 * min(times, 3))


def _bits(bits: int) -> Rung:
    return Rung(
        f"bits-{bits}", f"{bits}-bit converters", (f"hardware.dac.bits={bits}", f"hardware.adc.bits={bits}")
    )


def _outliers(factor: int) -> Rung:
    changes = ("source.outlier_channels=4", f"source.outlier_factor={factor}")
    return Rung(f"outliers-x{factor}", f"outlier channels × {factor} (synthetic)", changes, own_base=True)


RUNGS = (
    Rung("default", "the default: 8 bit, measured noise"),
    *[_noise(times) for times in (2, 3, 4, 8, 12)],
    *[_bits(bits) for bits in (6, 5, 4, 3)],
    Rung("static", "static input ranges", ("hardware.preset=pcm-static",)),
    Rung("uncompensated", "no drift compensation", ("hardware.drift_compensation=none",)),
    Rung("hermes-1dev", "Hermes, one device", ("hardware.preset=hermes-1dev",), own_base=True),
    *[_outliers(factor) for factor in (16, 64)],
)


@dataclass(frozen=True)
class Variant:
    """One setting of the method that differs from the default.

    Attributes:
        changes: to configs/sst2.yaml with the hardware ``pcm-x4``.
        start: what it goes on from: the digital adapter of all; one of its own, if it has other parameters;
            or nothing.
    """

    name: str
    title: str
    changes: tuple[str, ...] = ()
    start: Literal["digital", "own", "nothing"] = "digital"


def _set(name: str, title: str, *changes: str) -> Variant:
    return Variant(name, title, tuple(f"adapt.{change}" for change in changes))


def _own(name: str, title: str, *changes: str) -> Variant:
    """A variant whose adapter has other parameters."""
    return Variant(f"own-{name}", title, tuple(f"adapt.lora.{change}" for change in changes), "own")


def _static(method: str, title: str) -> Variant:
    changes = ("hardware.dac.input_range.kind=static", f"hardware.dac.input_range.method={method}")
    return Variant(f"static-{method}", title, changes)


VARIANTS = (
    _set("chips", "the default: another chip in each step"),
    _set("level-half", "half as far from the targets", "noise_level=0.5"),
    _set("level-more", "half as far again", "noise_level=1.5"),
    _set("ramp", "noise growing over the first 30 %", "noise_ramp=0.3"),
    _set("analog-head", "the head on tiles too", "analog_head=true"),
    _set("young", "chips of 0 s only", "drift=0s"),
    _set("gauss", "weight noise 0.067", "noise=weights"),
    _set("gauss-more", "weight noise 0.2", "noise=weights", "weight_noise=0.2"),
    _set("gap-1", "gap loss, weight 0.1", "gap_weight=0.1"),
    _set("gap-10", "gap loss, weight 1", "gap_weight=1"),
    _static("quantile", "static input ranges, quantile 0.9995"),
    _static("max", "static input ranges, maximum"),
    _static("moving_std", "static input ranges, 4 standard deviations"),
    Variant("rank-8", "trained on these chips from the start", start="nothing"),
    *[_own(f"rank-{rank}", f"rank {rank}", f"r={rank}") for rank in (1, 2, 4, 16, 32)],
    _own("rslora", "rsLoRA, rank 8, alpha 11.3", "rslora=true", "alpha=11.3"),
    _own("rslora-32", "rsLoRA, rank 32, alpha 11.3", "rslora=true", "alpha=11.3", "r=32"),
    _own("dora", "DoRA, no dropout", "dora=true", "dropout=0"),
    _own("no-dropout", "no dropout", "dropout=0"),
    _own("attention", "attention only", 'layers=["*attention*"]'),
    _own(
        "feed-forward",
        "feed-forward only",
        'layers=["*layer.[0-9].intermediate*","*layer.[0-9].output*"]',
    ),
)
