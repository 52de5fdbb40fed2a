"""Devices, pairs and placements of other kinds, all the way from mapping to evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aimc_deploy.config.hardware import DualPair, Faults, Hardware
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Run
from aimc_deploy.errors import HardwareError
from aimc_deploy.workflows import adapt, evaluate, map, predict

Configure = Callable[..., Run]


def exactness(config: Run, hardware: Hardware) -> float:
    """SQNR in dB of one layer on the first chip, young, with converters that are exact."""
    settings = config.evaluate.model_copy(update={"adapters": ("sst2",), "times": ("0s",), "chips": 1})
    exact = {
        "output_noise": 0.0,
        "dac": hardware.dac.model_copy(update={"bits": None}),
        "adc": hardware.adc.model_copy(update={"bits": None, "output_range": 1e6}),
    }
    hardware = hardware.model_copy(update=exact)
    asked = config.model_copy(update={"hardware": hardware, "evaluate": settings})
    return evaluate.run(asked).results.layers[0].sqnr_db["mobilebert.encoder.layer.0.output.dense"]


def test_resistive_memory_is_trained_for_and_measured_at_its_three_times(
    tmp_path: Path, configure: Configure
) -> None:
    config = configure(tmp_path / "b", hardware="neurram", adapt={"epochs": 0.5})
    map.run(config, tmp_path / "b")
    adapt.run(config)
    settings = config.evaluate.model_copy(update={"times": ("0s", "1d", "2d")})
    results = evaluate.run(config.model_copy(update={"evaluate": settings})).results
    assert {row.time for row in results.rows} == {"0s", "1d", "2d"}
    young, old = results.layers
    assert sum(young.sqnr_db.values()) > sum(old.sqnr_db.values()), "the spread grows"
    message = "measured at 0s, 1d and 2d only"
    with pytest.raises(HardwareError, match=message):
        evaluate.run(config)
    with pytest.raises(HardwareError, match=message):
        predict.run(config, ["a film"], at="1h")
    with pytest.raises(HardwareError, match=message):
        adapt.run(
            config.model_copy(update={"adapt": config.adapt.model_copy(update={"chip": 1, "age": "1y"})})
        )


def test_two_pairs_are_better_than_one_and_faults_are_worse(adapted: Path, configure: Configure) -> None:
    config = configure(adapted)
    usual = load_preset("pcm")
    single = exactness(config, usual)
    dual = exactness(config, usual.model_copy(update={"pairs": DualPair()}))
    faulty = exactness(config, usual.model_copy(update={"faults": Faults(stuck_at_random=0.1)}))
    assert faulty + 10 < single < dual - 2


def test_the_cells_between_diagonal_blocks_cost_exactness(tmp_path: Path, configure: Configure) -> None:
    found = {}
    usual = load_preset("pcm")
    for strategy in ("naive", "diagonal"):
        placement = usual.placement.model_copy(update={"strategy": strategy})
        hardware = usual.model_copy(update={"placement": placement})
        config = configure(tmp_path / strategy, hardware=hardware, adapt={"epochs": 0.5})
        map.run(config, tmp_path / strategy)
        adapt.run(config)
        found[strategy] = exactness(config, hardware)
    # The chips are the same but for these cells.
    assert found["diagonal"] < found["naive"] - 0.5
