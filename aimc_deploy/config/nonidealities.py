"""What keeps a hardware from computing exactly, piece by piece, and the hardware with one of these alone."""

from __future__ import annotations

from collections.abc import Callable

from aimc_deploy.config.hardware import ADC, DAC, Faults, Hardware

FAR = 1e9
"""Output range of an ADC that never saturates, in units of (largest weight x largest input)."""


def each_alone(hardware: Hardware) -> dict[str, Hardware]:
    """The hardware with only one of its non-idealities, by the name of that one.

    Tiles, mapping, placement and drift compensation stay. What the hardware does not have is left out.
    """
    there = [name for name, without in _WITHOUT.items() if without(hardware) != hardware]
    return {name: _without(hardware, *(other for other in there if other != name)) for name in there}


def _without(hardware: Hardware, *names: str) -> Hardware:
    for name in names:
        hardware = _WITHOUT[name](hardware)
    return hardware


def _device(*fields: str) -> Callable[[Hardware], Hardware]:
    """Takes those of the fields that the device has as 0."""

    def without(hardware: Hardware) -> Hardware:
        own = dict.fromkeys(set(fields) & set(type(hardware.device).model_fields), 0.0)
        return hardware.model_copy(update={"device": hardware.device.model_copy(update=own)})

    return without


def _part(**changes: object) -> Callable[[Hardware], Hardware]:
    return lambda hardware: hardware.model_copy(update=changes)


_WITHOUT: dict[str, Callable[[Hardware], Hardware]] = {
    "programming noise": _device("programming_noise_scale", "programming_noise"),
    "drift": _device("drift_scale", "drift_exponent", "drift_spread"),
    "read noise": _device("read_noise_scale", "read_noise"),
    "stuck devices": _part(faults=Faults()),
    "DAC": _part(dac=DAC(bits=None)),
    "output noise": _part(output_noise=0.0),
    "ADC": _part(adc=ADC(bits=None, output_range=FAR)),
}
"""Each non-ideality and how a hardware is freed of it, in the order in which a signal meets them."""
