"""Devices and random numbers that the tests of the physics share."""

from __future__ import annotations

import pytest

from aimc_deploy.config.hardware import HermesDevice, IdealDevice, PCMDevice
from aimc_deploy.physics.device import DeviceModel, device_model
from aimc_deploy.physics.random import Stream, stream


@pytest.fixture
def noise() -> Stream:
    """A stream with a fixed seed."""
    return stream("cpu", 2024)


@pytest.fixture(params=["pcm", "hermes1", "hermes2"])
def noisy_model(request: pytest.FixtureRequest) -> DeviceModel:
    """Each published device in turn."""
    devices = {
        "pcm": PCMDevice(),
        "hermes1": HermesDevice(num_devices=1),
        "hermes2": HermesDevice(num_devices=2),
    }
    return device_model(devices[request.param])


@pytest.fixture
def ideal_model() -> DeviceModel:
    """The device without any noise."""
    return device_model(IdealDevice())
