"""Whole matrices on the project's chips, against the equations written down once more in NumPy.

Double precision, other random numbers and no code in common: program, drift, read, compensate, multiply.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from aimc_deploy.config.hardware import ADC, DAC, Mapping, NoClip, PCMDevice
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.random import stream

Matrix = NDArray[np.float64]
CHIPS = 20
YEAR = 31_536_000.0


@dataclasses.dataclass
class Chip:
    """One chip by the equations of the phase-change memory; g_max 25 uS, t_0 20 s, t_read 250 ns."""

    weight: Matrix
    per_tile: bool
    rng: np.random.Generator

    def __post_init__(self) -> None:
        self.scale = np.abs(self.weight).max(axis=None if self.per_tile else 1, keepdims=True)
        self.pair = [self.program(np.maximum(sign * self.weight / self.scale, 0)) for sign in (1, -1)]
        self.reference = np.abs(self.pair[0][0] - self.pair[1][0]).mean()

    def program(self, rel: Matrix) -> tuple[Matrix, Matrix]:
        sigma = 0.26348 + 1.9650 * rel - 1.1731 * rel**2
        g = np.maximum(0, 25 * rel + sigma * self.rng.standard_normal(rel.shape))
        log = np.log(np.maximum(rel, 1e-7))
        mean = np.clip(-0.0155 * log + 0.0244, 0.049, 0.1)
        std = np.clip(-0.0125 * log - 0.0059, 0.008, 0.045)
        return g, np.abs(mean + std * self.rng.standard_normal(rel.shape))

    def read(self, g: Matrix, nu: Matrix, t_s: float) -> Matrix:
        share = np.minimum(0.0088 / np.maximum((g / 25) ** 0.65, 1e-3), 0.2)
        sigma = share * np.sqrt(np.log((t_s + 250e-9) / 500e-9))
        return np.maximum(0, g * (t_s / 20) ** -nu * (1 + sigma * self.rng.standard_normal(g.shape)))

    def multiply(self, x: Matrix, t_inference_s: float) -> Matrix:
        """Full chain: 8-bit converters, ADC range 10, output noise 0.04, the row's own input range."""
        plus, minus = (self.read(g, nu, t_inference_s + 20) for g, nu in self.pair)
        alpha = self.reference / np.abs(plus - minus).mean()
        full_scale = np.abs(x).max(axis=1, keepdims=True)
        y = np.round(x / full_scale * 127) / 127 @ ((plus - minus) / 25).T
        y = np.clip(np.round((y + 0.04 * self.rng.standard_normal(y.shape)) * 12.7), -127, 127) / 12.7
        return y * full_scale * self.scale.reshape(-1) * alpha


@pytest.mark.parametrize("scale", ["column", "tile"])
def test_the_full_chain_is_that_of_the_equations(
    matrices: tuple[Tensor, Tensor],
    layer_on: Callable[..., AnalogLinear],
    chip_sigmas: Callable[..., float],
    scale: str,
) -> None:
    weight, x = matrices[0], matrices[1][:256]
    layer = layer_on(
        weight,
        mapping=Mapping(clip=NoClip(), scale=scale),
        device=PCMDevice(),
        dac=DAC(bits=8),
        adc=ADC(bits=8, output_range=10.0),
        output_noise=0.04,
    )
    times = (0.0, 3600.0, YEAR)
    exact, rows = x @ weight.T, np.asarray(x, dtype=np.float64)
    mine: dict[float, list[float]] = {t_s: [] for t_s in times}
    theirs: dict[float, list[float]] = {t_s: [] for t_s in times}
    rng = np.random.default_rng(7)
    for number in range(CHIPS):
        layer.program(0, number)
        chip = Chip(np.asarray(weight, dtype=np.float64), scale == "tile", rng)
        for t_s in times:
            layer.drift(t_s)
            with torch.no_grad():
                mine[t_s].append(float((layer(x) - exact).norm() / exact.norm()))
            difference = torch.from_numpy(chip.multiply(rows, t_s)) - exact
            theirs[t_s].append(float(difference.norm() / exact.norm()))
    for t_s in times:
        mean, std = float(np.mean(theirs[t_s])), float(np.std(theirs[t_s], ddof=1))
        assert abs(chip_sigmas(mine[t_s], mean, std, CHIPS)) < 4, f"{t_s:g} s"
        # The spread from chip to chip too: the logarithm of a deviation has the variance 1 / (2 (n - 1)).
        spread = float(np.log(np.std(mine[t_s], ddof=1) / std))
        assert abs(spread) < 4 * np.sqrt(2 / (2 * (CHIPS - 1)))


@pytest.mark.parametrize("compensation", ["global", "per_column"])
def test_the_read_out_of_the_compensation_has_no_bias(
    compensation: str, layer_on: Callable[..., AnalogLinear]
) -> None:
    """Neither from converters and output noise, which it is averaged over, nor from read noise."""
    # Every weight between a half and one, so that no reading changes its sign.
    signs = torch.randn(64, 64, generator=torch.Generator().manual_seed(0)).sign()
    weight = signs * (0.5 + 0.5 * torch.rand(64, 64, generator=torch.Generator().manual_seed(1)))
    coarse = {"dac": DAC(bits=4), "adc": ADC(bits=4, output_range=10.0), "output_noise": 0.1}
    factors = []
    for periphery in ({}, coarse):
        layer = layer_on(weight, device=PCMDevice(), drift_compensation=compensation, **periphery)
        programmed = layer.grid.program(device_model(layer.hardware.device), 0)
        (segment,) = programmed.drift(YEAR, layer.hardware)
        factors.append(segment.out_scale)
    assert torch.equal(factors[0], factors[1]), "the periphery plays no part"

    tile = programmed.tiles[0]
    exact = tile.drift(YEAR, compensation, stream("cpu"), read_per_mvm=True).compensation.double()
    noise, readings = stream("cpu", 0), 400
    drawn = torch.stack(
        [tile.drift(YEAR, compensation, noise).compensation for _ in range(readings)]
    ).double()
    relative = drawn / exact - 1
    # One over a mean of noisy terms is too large by the square of its relative error.
    jensen = relative.var(dim=0)
    standard_error = relative.std(dim=0) / math.sqrt(readings)
    assert bool(((relative.mean(dim=0) - jensen).abs() < 4 * standard_error).all())
    assert float(standard_error.max()) < 1e-3, "far less than the 2.6 % of a single noisy pass"
