"""Devices and products against aihwkit 1.2.0, statistically where they are random.

A difference is told in standard errors of the difference, from the spreads of both sides; four are
allowed. Seeds are fixed, so that a test passes or fails for good. Programmed matrices over time are in
the file beside this one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from aimc_deploy.config.hardware import (
    ADC,
    DAC,
    Device,
    HermesDevice,
    Mapping,
    NoClip,
    PCMDevice,
    TileSize,
)
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.physics.conductance import to_conductance, to_weight, weight_scale
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.drift import drift_conductance
from aimc_deploy.physics.programming import program_conductance
from aimc_deploy.physics.random import stream
from aimc_deploy.physics.read_noise import read_conductance
from aimc_deploy.tile.mvm import mvm
from aimc_deploy.tile.periphery import Periphery

Reference = dict[str, Any]
Matrices = tuple[Tensor, Tensor]
LayerOn = Callable[..., AnalogLinear]
Sigmas = Callable[..., float]

LEVELS = ("0", "0.01", "0.05", "0.1", "0.2", "0.3", "0.5", "0.7", "0.9", "1")
DEVICES = 400_000  # of a level, here and in the reference
# The reference does not say how many products its spread is of. Its tables have 20 or 10 chips; the
# larger number makes the smaller tolerance.
REPETITIONS = 20
WIDE = 1e9  # an ADC that does not saturate

DEVICE_TABLES: dict[str, Device] = {
    "pcm_conductance_gmax25": PCMDevice(),
    "pcm_conductance_gmax25_no_read_noise": PCMDevice(read_noise_scale=0.0),
    "hermes2_conductance": HermesDevice(num_devices=2),
}
DETERMINISTIC = {
    "dac8": (8, None, WIDE),
    "dac6": (6, None, WIDE),
    "adc8_bound10": (None, 8, 10.0),
    "adc8_bound12": (None, 8, 12.0),
    "adc8_bound20": (None, 8, 20.0),
}
STATISTICAL = {
    "out_noise0.04": (None, None, WIDE, 512),
    "typical_dac8_adc8_b10_n0.04": (8, 8, 10.0, 512),
    "typical_tile256": (8, 8, 10.0, 256),
    "typical_tile128": (8, 8, 10.0, 128),
}
SMALL = {
    "dac4_absmax": Periphery(4, None, WIDE, 0.0),
    "adc4_b2_absmax": Periphery(None, 4, 2.0, 0.0),
    "dac4_adc4_b2_absmax": Periphery(4, 4, 2.0, 0.0),
}


def moments(values: Tensor) -> tuple[float, float, float, float]:
    """Mean and its variance, deviation and its variance, from the second and fourth moments."""
    values = values.double()
    centred = values - values.mean()
    variance = float(centred.square().mean())
    kurtosis = float(centred.pow(4).mean()) / variance**2
    count = values.numel()
    return float(values.mean()), variance / count, math.sqrt(variance), variance * (kurtosis - 1) / 4 / count


def test_the_fixture_is_the_one_that_was_recorded(reference: Reference, matrices: Matrices) -> None:
    (weight, x), recorded = matrices, reference["fixtures"]
    assert float(weight.norm()) == pytest.approx(recorded["W_fro"], rel=1e-5)
    assert float(weight.abs().max()) == pytest.approx(recorded["W_absmax"], rel=1e-5)
    assert float(weight.double().sum()) == pytest.approx(recorded["W_sum"], rel=1e-5)
    assert float(x.double().sum()) == pytest.approx(recorded["X_sum"], rel=1e-5)
    assert weight[0, :4].tolist() == pytest.approx(recorded["W[0,:4]"], rel=1e-5)
    assert x[0, :4].tolist() == pytest.approx(recorded["X[0,:4]"], rel=1e-5)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("table", DEVICE_TABLES)
def test_conductances_of_every_level_at_every_time(
    reference: Reference, sigmas: Sigmas, table: str, level: str
) -> None:
    model, expected = device_model(DEVICE_TABLES[table]), reference[table][level]
    g_target = torch.full((DEVICES,), float(level) * model.g_max)
    assert float(g_target[0]) == pytest.approx(expected["g_target_uS"])
    found: dict[str, float] = {}

    def compare(name: str, values: Tensor, numbers: dict[str, float]) -> None:
        # As many devices on both sides, so that the variances of both are the same.
        mean, of_mean, std, of_std = moments(values)
        found[f"{name} mean"] = sigmas(mean, numbers["mean"], of_mean, of_mean)
        found[f"{name} std"] = sigmas(std, numbers["std"], of_std, of_std)

    g, nu = program_conductance(g_target, model, stream("cpu", table, level, "programming"))
    compare("programmed", g, expected["prog"])
    compare("nu", nu, expected["nu"])
    for time, t_inference_s in reference["meta"]["times_s"].items():
        t_s = t_inference_s + model.t_0_s
        drifted = drift_conductance(g, nu, t_s, model.t_0_s)
        read = read_conductance(drifted, g, t_s, model, stream("cpu", table, level, time))
        compare(time, read, expected["drift"][time])
    assert len(found) == 20
    assert not {name: value for name, value in found.items() if abs(value) > 4}


@pytest.mark.parametrize("level", LEVELS)
def test_closed_forms_of_phase_change_memory(reference: Reference, level: str) -> None:
    model, expected = device_model(PCMDevice()), reference["pcm_closed_form"][level]
    rel = torch.tensor(float(level), dtype=torch.float64)
    zero, one = torch.zeros_like(rel), torch.ones_like(rel)
    mean = float(model.drift_exponent(rel, zero))
    assert float(model.sigma_programming(rel)) == pytest.approx(expected["sigma_prog_uS"], rel=1e-5)
    assert mean == pytest.approx(expected["nu_mean"], rel=1e-5)
    assert float(model.drift_exponent(rel, one)) - mean == pytest.approx(expected["nu_std"], rel=1e-5)
    for time, t_inference_s in reference["meta"]["times_s"].items():
        found = float(model.sigma_read(rel, t_inference_s + model.t_0_s))
        assert found == pytest.approx(expected["sigma_read_rel"][time], rel=1e-5)


def test_the_differential_pair(reference: Reference) -> None:
    expected = reference["converters"]["single_pair_g25"]
    weight = torch.tensor(expected["weights"])
    pair = to_conductance(weight, 25.0)
    assert torch.allclose(torch.stack(pair), torch.tensor(expected["conductances"]), rtol=1e-6)
    assert torch.allclose(to_weight(*pair, 25.0), weight, rtol=1e-6)


def evaluated(layer: AnalogLinear, matrices: Matrices, chip: int = 0) -> float:
    """Relative Frobenius error of the output of one chip at 0 s."""
    weight, x = matrices
    layer.program(0, chip)
    layer.drift(0.0)
    exact = x @ weight.T
    with torch.no_grad():
        return float((layer(x) - exact).norm() / exact.norm())


def assert_five_digits(found: float, expected: float) -> None:
    assert abs(found - expected) <= 0.5 * 10.0 ** (math.floor(math.log10(expected)) - 4)


@pytest.mark.parametrize("case", DETERMINISTIC)
def test_converters_alone_to_five_digits(
    reference: Reference, matrices: Matrices, layer_on: LayerOn, case: str
) -> None:
    dac_bits, adc_bits, output_range = DETERMINISTIC[case]
    layer = layer_on(matrices[0], dac=DAC(bits=dac_bits), adc=ADC(bits=adc_bits, output_range=output_range))
    found = evaluated(layer, matrices)
    for tile in ("torch_tile", "cpp_tile"):
        assert_five_digits(found, reference["mvm_rel_error_eval"][case][tile]["mean"])


def test_nothing_is_lost_without_converters(matrices: Matrices, layer_on: LayerOn) -> None:
    assert evaluated(layer_on(matrices[0]), matrices) < 1e-6


@pytest.mark.parametrize("input_range", [2, 3, 4])
def test_static_input_ranges_to_five_digits(
    reference: Reference, matrices: Matrices, layer_on: LayerOn, input_range: int
) -> None:
    layer = layer_on(matrices[0], dac=DAC(bits=8), adc=ADC(bits=8, output_range=10.0))
    layer.input_ranges = [float(input_range)]
    expected = reference["mvm_rel_error_static_input_range(dac8,adc8,b10,deterministic)"]
    assert_five_digits(evaluated(layer, matrices), expected[f"input_range_{input_range}"])


@pytest.mark.parametrize("case", STATISTICAL)
def test_products_with_output_noise(
    reference: Reference, matrices: Matrices, layer_on: LayerOn, chip_sigmas: Sigmas, case: str
) -> None:
    dac_bits, adc_bits, output_range, rows = STATISTICAL[case]
    layer = layer_on(
        matrices[0],
        dac=DAC(bits=dac_bits),
        adc=ADC(bits=adc_bits, output_range=output_range),
        output_noise=0.04,
        tile=TileSize(rows=rows, cols=512),
    )
    errors = [evaluated(layer, matrices, chip) for chip in range(REPETITIONS)]
    for tile in ("torch_tile", "cpp_tile"):
        expected = reference["mvm_rel_error_eval"][case][tile]
        assert abs(chip_sigmas(errors, expected["mean"], expected["std"], REPETITIONS)) < 4


def test_small_products_exactly(reference: Reference) -> None:
    small = reference["exact_small_mvm(columnwise omega=1)"]
    # The last one repeats a product with a wider range until nothing saturates, which no chip here does.
    assert set(small["cases"]) == {*SMALL, "dac4_adc4_b0.5_iterative"}
    weight, x = torch.tensor(small["W"]), torch.tensor(small["X"])
    scale = weight_scale(weight, "column")
    for case, periphery in SMALL.items():
        found = mvm(x, weight / scale.unsqueeze(1), periphery) * scale
        for tile in ("torch_tile", "cpp_tile"):
            expected = torch.tensor(small["cases"][case][tile])
            assert torch.allclose(found, expected, rtol=0, atol=1e-5), f"{case} {tile}"


def test_weight_noise_of_training(reference: Reference, matrices: Matrices, layer_on: LayerOn) -> None:
    weight, _ = matrices
    expected = reference["weight_modifier"]["ADD_NORMAL"]
    layer = layer_on(weight, mapping=Mapping(clip=NoClip(), scale="tile"))
    layer.simulate(expected["std_dev"])
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        delta = layer.train()(torch.eye(512)).T - weight
    rms = float(delta.double().square().mean().sqrt())
    assert abs(rms - expected["expected"]) < 4 * expected["expected"] / math.sqrt(2 * weight.numel())
