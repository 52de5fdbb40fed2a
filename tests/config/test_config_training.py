"""Devices and algorithms of training in memory: presets, and what is refused with its reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from aimc_deploy.config import algorithm as config
from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.config.mistakes import checked
from aimc_deploy.config.training_device import LinearResponse, TrainingDevice
from aimc_deploy.config.training_presets import load_training_device, training_presets
from aimc_deploy.errors import ConfigError

FILES = sorted((Path(__file__).parents[2] / "configs" / "training").glob("*.yaml"))
KINDS = [
    "analog_sgd",
    "residual",
    "residual_v2",
    "tt_v2",
    "chopped_tt_v2",
    "agad",
    "e_rider",
    "multi_tile",
    "mixed_precision",
]


EXP_STEP = {"kind": "exp_step", "factor_up": 0.1, "factor_down": 0.1, "rate_up": 5, "rate_down": 5}
EXP_STEP |= {"slope": 0.5, "offset": 0.0}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_file_is_a_device_with_a_description_and_a_source(file: Path) -> None:
    found = load_training_device(file.stem)
    assert found.name == file.stem
    assert load_training_device(str(file)) == found
    assert 20 < len(found.description) < 110
    assert any(year in found.source for year in ("2016", "2018", "2019", "2022", "2025"))


def test_the_presets_are_those_files() -> None:
    assert sorted(training_presets()) == sorted(file.stem for file in FILES)
    assert len(FILES) == 9


def test_the_default_device_is_the_soft_bounds_of_the_papers() -> None:
    described = load_training_device("soft-bounds")
    assert described.model_copy(update={"description": "", "source": ""}) == TrainingDevice()
    assert described.step == pytest.approx(1e-3)


@pytest.mark.parametrize(
    ("name", "states"),
    [
        ("reram", 1000),
        ("reram-es", 1481),
        ("reram-om", 21.1),
        ("reram-hfo2", 4.33),
        ("capacitor", 400),
        ("ecram", 1000),
    ],
)
def test_the_states_of_published_devices(name: str, states: float) -> None:
    assert load_training_device(name).num_states == pytest.approx(states, rel=0.01)


def test_every_algorithm_has_defaults_and_a_name_of_its_own() -> None:
    adapter = TypeAdapter(config.Algorithm)
    found = [adapter.validate_python({"kind": kind}) for kind in KINDS]
    assert [part.kind for part in found] == KINDS
    assert len({type(part) for part in found}) == len(KINDS)
    assert InMemory().algorithm == config.Residual()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"tau": 0}, "tau: Input should be greater than 0 (given: 0)"),
        ({"tau": -0.6}, "tau: Input should be greater than 0 (given: -0.6)"),
        ({"tau_min": 0.1}, "tau_min: Input should be less than 0 (given: 0.1)"),
        ({"dw_min": 0}, "dw_min: Input should be greater than 0 (given: 0)"),
        ({"states": 1}, "states: Input should be greater than or equal to 2 (given: 1)"),
        ({"dw_min": 0.7}, "leaves 1.7 states between -0.6 and 0.6, and 2 are the least: 0.6 at most"),
        ({"tau": 5e-324}, "tau: no float is as small as a step between -4.9"),
        ({"bias": 1.0}, "bias: Input should be less than 1 (given: 1.0)"),
        ({"response": {"kind": "power", "gamma_res": 0}}, "gamma_res: Input should be greater than 0"),
        ({"response": {"kind": "exponential", "gamma_res": 11}}, "gamma_res: Input should be less than or"),
        (
            {"response": {"kind": "linear", "slope_up": 1.5}},
            "response.slope_up: 1.5 makes the response negative before the bound is reached, so that a pulse",
        ),
        (
            {"response": {"kind": "piecewise", "up": [1, -0.1], "down": [0, 1]}},
            "response.up: -0.1 is negative: such a pulse would move the weight the wrong way",
        ),
        (
            {"response": {"kind": "piecewise", "up": [1, 0, 1], "down": [1, 1, 1]}},
            "response.up: it is 0 nowhere but at the bound it moves to: a weight would be stuck",
        ),
        (
            {"response": EXP_STEP | {"factor_down": 2.0}},
            "factor_down: q is -1 at a weight of 0, so that pulses down would not move it",
        ),
        ({"response": EXP_STEP | {"rate_up": 21}}, "rate_up: Input should be less than or equal to 20"),
        ({"response": {"kind": "exp_step"}}, "factor_up: Field required"),
        ({"corrupt": {"share": 1.1}}, "corrupt.share: Input should be less than or equal to 1"),
        ({"retention": {"lifetime_steps": 1}}, "retention.lifetime_steps: Input should be greater than 1"),
        ({"taus": 1}, "taus: unknown key; did you mean 'tau'? allowed:"),
    ],
)
def test_bad_devices_are_refused_with_the_reason(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(TrainingDevice, given, {})
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (
            {"kind": "e_rider", "flip_probability": 0},
            "algorithm.flip_probability: 0 ties the weight to where it started",
        ),
        ({"kind": "residual", "gamma": 1.5}, "gamma: Input should be less than or equal to 1 (given: 1.5)"),
        ({"kind": "residual", "gamma": -0.1}, "gamma: Input should be greater than or equal to 0"),
        ({"kind": "multi_tile", "gamma": 0}, "gamma: Input should be greater than 0 (given: 0)"),
        ({"kind": "multi_tile", "tiles": 1}, "tiles: Input should be greater than or equal to 2 (given: 1)"),
        ({"kind": "agad", "flip_probability": 0}, "flip_probability: Input should be greater than 0"),
        ({"kind": "residual", "transfer_lr": 0}, "transfer_lr: Input should be greater than 0"),
        ({"kind": "residual", "columns": 0}, "columns: Input should be greater than or equal to 1"),
        ({"kind": "residual", "calibration": {"kind": "zero_shift", "pulses": 1}}, "pulses: Input should be"),
        ({"kind": "residual", "update": {"kind": "counts", "desired_bl": 0}}, "desired_bl: Input should be"),
        ({"kind": "mixed_precision", "momentum": 1.0}, "momentum: Input should be less than 1"),
        (
            {"kind": "sgd"},
            "'analog_sgd', 'residual', 'residual_v2', 'tt_v2', 'chopped_tt_v2', 'agad', 'e_rider'",
        ),
    ],
)
def test_bad_algorithms_are_refused_with_the_reason(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(InMemory, {"algorithm": given}, {})
    assert reason in str(caught.value)


def test_a_mistake_in_a_file_is_shown_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\ntau: 1.0\nresponse:\n  kind: linear\n  slope_up: 2\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:5: response\.slope_up: 2 makes the resp"):
        load_training_device(str(file))
    file.write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: a device for training is a mapping"):
        load_training_device(str(file))


def test_an_unknown_preset_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"there is no device for training 'ecran': choose one of .*did you mean ecram\?"
    ):
        load_training_device("ecran")


def test_a_slope_is_refused_by_its_own_model_too() -> None:
    with pytest.raises(ValueError, match=r"1\.01 makes the response negative"):
        LinearResponse(slope_down=1.01)
