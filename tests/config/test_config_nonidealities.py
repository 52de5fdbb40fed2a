"""A hardware with one of its non-idealities alone."""

from __future__ import annotations

import pytest

from aimc_deploy.config.hardware import (
    ADC,
    DAC,
    Faults,
    Hardware,
    HermesDevice,
    IdealDevice,
    PCMDevice,
    ReRAMDevice,
    StateIndependentDevice,
    StaticRange,
)
from aimc_deploy.config.load import load_preset, presets
from aimc_deploy.config.nonidealities import FAR, each_alone

NOTHING = Hardware(
    device=IdealDevice(), dac=DAC(bits=None), adc=ADC(bits=None, output_range=FAR), output_noise=0
)


def test_each_has_what_it_is_called_after_and_nothing_else() -> None:
    hardware = Hardware(
        device=PCMDevice(read_noise_scale=3.0),
        dac=DAC(bits=7, input_range=StaticRange()),
        adc=ADC(bits=6, gain_spread=0.1),
        faults=Faults(stuck_at_zero=0.01),
        output_noise=0.2,
    )
    quiet = {"programming_noise_scale": 0.0, "drift_scale": 0.0, "read_noise_scale": 0.0}
    ideal = {
        "device": PCMDevice(**quiet),
        "dac": DAC(bits=None),
        "adc": ADC(bits=None, output_range=FAR),
        "faults": Faults(),
        "output_noise": 0.0,
    }
    own = {
        "programming noise": {"device": PCMDevice(**{**quiet, "programming_noise_scale": 1.0})},
        "drift": {"device": PCMDevice(**{**quiet, "drift_scale": 1.0})},
        "read noise": {"device": PCMDevice(**{**quiet, "read_noise_scale": 3.0})},
        "stuck devices": {"faults": hardware.faults},
        "DAC": {"dac": hardware.dac},
        "output noise": {"output_noise": 0.2},
        "ADC": {"adc": hardware.adc},
    }
    assert each_alone(hardware) == {
        name: hardware.model_copy(update={**ideal, **changes}) for name, changes in own.items()
    }


@pytest.mark.parametrize(
    ("device", "names"),
    [
        (IdealDevice(), []),
        (HermesDevice(), ["programming noise", "drift", "read noise"]),
        (StateIndependentDevice(programming_noise=0.1), ["programming noise"]),
        (
            StateIndependentDevice(programming_noise=0, drift_spread=0.1, read_noise=0.2),
            ["drift", "read noise"],
        ),
        (ReRAMDevice(), ["programming noise", "read noise"]),
    ],
)
def test_what_a_device_does_not_have_is_left_out(device: object, names: list[str]) -> None:
    assert list(each_alone(NOTHING.model_copy(update={"device": device}))) == names


def test_tiles_mapping_and_compensation_stay() -> None:
    for preset in presets():
        hardware = load_preset(preset)
        for alone in each_alone(hardware).values():
            assert alone.mapping_digest() == hardware.mapping_digest()
            assert alone.placement == hardware.placement
            assert alone.drift_compensation == hardware.drift_compensation
            assert Hardware.model_validate(alone.model_dump()) == alone
