"""Whole matrices on programmed chips over time, against aihwkit 1.2.0.

aihwkit does not keep what it programmed. It keeps the *weights* that the programmed conductances stand
for, and maps them again before every drift (``BaseNoiseModel.apply_drift_noise``): the noise of a device
that should be off moves to its partner, and all conductances are scaled so that the largest programmed
weight, about 1.1, is ``g_max`` again. In the full chain it also reads the drift compensation out through
one pass of its noisy 8-bit ADC, which makes the factor too small. Its numbers contain both steps, which no
chip should make. Here they are put around this project's own physics to compare everything else with them;
the project's chips without them are tested in ``test_reference_equations.py``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from aimc_deploy.config.hardware import ADC, DAC, HermesDevice, Mapping, NoClip, PCMDevice
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.physics.conductance import to_conductance
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.random import Stream, stream
from aimc_deploy.tile.mvm import mvm
from aimc_deploy.tile.tile import ProgrammedTile

Reference = dict[str, Any]
Matrices = tuple[Tensor, Tensor]
LayerOn = Callable[..., AnalogLinear]
Sigmas = Callable[..., float]

CHIPS = 20
TABLES: dict[str, dict[str, Any]] = {
    "program_drift_columnwise_noGDC": {"drift_compensation": "none"},
    "program_drift_columnwise_GDC": {},
    "program_drift_tensorwise_GDC": {"mapping": Mapping(clip=NoClip(), scale="tile")},
    "program_drift_columnwise_GDC_hermes2": {"device": HermesDevice(num_devices=2)},
}
OUTPUT, WEIGHT = "rel_output_error(alpha applied)", "rel_fro_weight_error(no alpha)"


def relative_error(found: Tensor, exact: Tensor) -> float:
    return float((found - exact).norm() / exact.norm())


def mapped_again(chip: ProgrammedTile) -> tuple[ProgrammedTile, float]:
    """The programmed weights on a fresh pair, and the weight that ``g_max`` stands for now."""
    weight = chip.weight()
    largest = float(weight.abs().max())
    g_plus, g_minus = to_conductance(weight / largest, chip.pair.model.g_max)
    pair = dataclasses.replace(chip.pair, g_plus=g_plus, g_minus=g_minus)
    return dataclasses.replace(chip, pair=pair), largest


def chips(layer: AnalogLinear, table: str) -> Iterator[tuple[int, ProgrammedTile]]:
    """Independent chips of a layer that has one tile."""
    model = device_model(layer.hardware.device)
    for chip in range(CHIPS):
        (tile,) = layer.grid.program(model, table, "chip", chip).tiles
        yield chip, tile


@pytest.mark.parametrize("table", TABLES)
def test_errors_right_after_programming(
    reference: Reference, matrices: Matrices, layer_on: LayerOn, chip_sigmas: Sigmas, table: str
) -> None:
    """Nothing is mapped again yet: the project's chips as they are."""
    weight, x = matrices
    layer = layer_on(weight, **{"device": PCMDevice(), **TABLES[table]})
    scale = layer.grid.w_scale()[0].unsqueeze(1)
    held = [tile.weight() * scale for _, tile in chips(layer, table)]
    found = {
        WEIGHT: [relative_error(each, weight) for each in held],
        OUTPUT: [relative_error(x @ each.T, x @ weight.T) for each in held],
    }
    for quantity, values in found.items():
        expected = reference[table][quantity]["prog"]
        distance = chip_sigmas(values, expected["mean"], expected["std"], reference[table]["reps"])
        assert abs(distance) < 4, quantity


@pytest.mark.parametrize("table", TABLES)
def test_errors_and_compensation_over_time(
    reference: Reference, matrices: Matrices, layer_on: LayerOn, chip_sigmas: Sigmas, table: str
) -> None:
    weight, x = matrices
    layer = layer_on(weight, **{"device": PCMDevice(), **TABLES[table]})
    scale, exact = layer.grid.w_scale()[0].unsqueeze(1), x @ weight.T
    found: dict[tuple[str, str], list[float]] = {}
    for chip, tile in chips(layer, table):
        again, largest = mapped_again(tile)
        for time, t_inference_s in reference["meta"]["times_s"].items():
            generator = stream("cpu", table, chip, "read", time)
            drifted = again.drift(t_inference_s, layer.hardware.drift_compensation, generator)
            now, factor = drifted.weight * largest * scale, drifted.compensation.unsqueeze(1)
            found.setdefault((WEIGHT, time), []).append(relative_error(now, weight))
            found.setdefault((OUTPUT, time), []).append(relative_error(x @ (factor * now).T, exact))
            found.setdefault(("alpha", time), []).append(float(factor.mean()))
    assert len(found) == 3 * 8
    distances = {}
    for (quantity, time), values in found.items():
        expected = reference[table][quantity][time]
        distances[quantity, time] = chip_sigmas(
            values, expected["mean"], expected["std"], reference[table]["reps"]
        )
    assert not {name: value for name, value in distances.items() if abs(value) > 4}


def test_the_full_chain_over_time(
    reference: Reference, matrices: Matrices, layer_on: LayerOn, chip_sigmas: Sigmas
) -> None:
    weight, x = matrices
    layer = layer_on(
        weight, device=PCMDevice(), dac=DAC(bits=8), adc=ADC(bits=8, output_range=10.0), output_noise=0.04
    )
    scale, exact, periphery = layer.grid.w_scale()[0], x @ weight.T, layer.periphery
    expected = reference["chain_program_drift_GDC_dac8_adc8_b10_n0.04"]
    errors: dict[str, list[float]] = {time: [] for time in expected}
    for chip, tile in chips(layer, "chain"):
        noise = stream("cpu", "chain", chip, "output")

        def once(normalised: Tensor, noise: Stream = noise) -> float:
            """Mean absolute response to the identity in one noisy pass, the compensation's read-out."""
            return float(mvm(torch.eye(512), normalised, periphery, noise=noise).abs().mean())

        again, largest = mapped_again(tile)
        at_programming = once(tile.weight())
        for time, values in errors.items():
            t_inference_s = reference["meta"]["times_s"][time]
            drifted = again.drift(t_inference_s, "none", stream("cpu", "chain", chip, "read", time))
            now = drifted.weight * largest
            y = mvm(x, now, periphery, noise=noise) * (at_programming / once(now))
            values.append(relative_error(y * scale, exact))
    assert len(errors) == 8
    # The reference does not say of how many chips its spread is; as many as in its tables, 20 and not 10,
    # makes the smaller tolerance.
    distances = {
        time: chip_sigmas(values, expected[time]["mean"], expected[time]["std"], 20)
        for time, values in errors.items()
    }
    assert not {time: value for time, value in distances.items() if abs(value) > 4}


def test_there_is_no_step_of_mapping_again_in_a_chip(matrices: Matrices, layer_on: LayerOn) -> None:
    """What drifts is what was programmed: both devices of a pair, and nothing scaled."""
    layer = layer_on(matrices[0], device=PCMDevice(read_noise_scale=0.0, drift_scale=0.0))
    _, tile = next(chips(layer, "kept"))
    assert bool(((tile.pair.g_plus > 0) & (tile.pair.g_minus > 0)).any()), (
        "a device that should be off holds noise"
    )
    again, largest = mapped_again(tile)
    assert largest > 1.02
    kept = tile.drift(3600.0, "none", stream("cpu"))
    assert torch.equal(kept.weight, tile.weight())
    assert not torch.equal(again.pair.g_plus, tile.pair.g_plus)
