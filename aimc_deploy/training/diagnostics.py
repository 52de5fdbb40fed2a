"""What training in memory does to the devices, what it costs, and which settings are known to fail."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch

from aimc_deploy.config import algorithm as config
from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.training.algorithm import Algorithm
from aimc_deploy.training.array import Array

FEW_STATES = 20
"""At and below it residual learning was seen to collapse. Source: arXiv 2510.02516, tables of few states."""


@dataclass(frozen=True)
class ArrayState:
    """One array at one moment.

    Attributes:
        pulses_per_device: mean over its devices, since it was built.
        saturated: share of devices within one pulse, or 5 % of the upper bound, of a bound.
        rms_by_tau: root mean square of the weights by the upper bound.
        from_symmetric_point: rms distance from each device's symmetric point, by the upper bound.
        symmetric_point_spread: standard deviation of the symmetric points over devices, by the upper bound;
            always to be looked at: exact zeros are the hard case, and spread ones hide a collapse.
        energy_pj: of all its pulses, or None where the energy of one is not known.
        time_ns_per_step: of its pulses, mean over steps, at one train at a time; None where not known.
    """

    pulses_per_device: float
    saturated: float
    rms_by_tau: float
    from_symmetric_point: float
    symmetric_point_spread: float
    energy_pj: float | None
    time_ns_per_step: float | None


@dataclass(frozen=True)
class Warned:
    """A setting or a state that is known to fail: why, and what to change."""

    reason: str
    change: str


def array_state(array: Array, steps: int) -> ArrayState:
    """What its devices have been through."""
    with torch.no_grad():
        point, tau = array.symmetric_point(), array.device.tau
        # Pulses vanish towards a soft bound, which is never reached.
        near = torch.minimum(array.high - array.state, array.state - array.low) < max(array.dw, 0.05 * tau)
        weight = array.weight()
        pulse_pj, pulse_ns = array.device.pulse_pj, array.device.pulse_ns
        each = array.pulses / array.state.numel()
        return ArrayState(
            pulses_per_device=each,
            saturated=near.double().mean().item(),
            rms_by_tau=weight.square().mean().sqrt().item() / tau,
            from_symmetric_point=(weight - point).square().mean().sqrt().item() / tau,
            symmetric_point_spread=point.std(correction=0).item() / tau,
            energy_pj=None if pulse_pj is None else array.pulses * pulse_pj.value,
            time_ns_per_step=None if pulse_ns is None or not steps else array.slots / steps * pulse_ns.value,
        )


def diagnose(algorithm: Algorithm) -> dict[str, Any]:
    """Plain data: the arrays by name, and warnings of what their state shows."""
    states = {name: array_state(array, algorithm.steps) for name, array in algorithm.arrays()}
    warnings = [warned for name, state in states.items() for warned in _of_state(name, state)]
    return {
        "steps": algorithm.steps,
        "arrays": {name: asdict(state) for name, state in states.items()},
        "warnings": [asdict(warned) for warned in warnings],
    }


def _of_state(name: str, state: ArrayState) -> list[Warned]:
    found = []
    if state.saturated > 0.05:
        found.append(
            Warned(
                f"array {name}: {state.saturated:.0%} of the devices are at a bound and learn one way only",
                "a larger out_scale (a smaller rms), a larger tau, or a lower learning rate",
            )
        )
    if state.rms_by_tau > 0.5:
        found.append(
            Warned(
                f"array {name}: the rms of the weights is {state.rms_by_tau:.2f} tau, where the pull to the "
                "symmetric point is strong",
                "a larger out_scale (a smaller rms), or a larger tau",
            )
        )
    return found


def advise(settings: InMemory) -> list[Warned]:
    """Warnings of settings that are known to fail, before anything is trained."""
    algorithm, device = settings.algorithm, settings.device
    residual = settings.residual_device or device
    found = []
    if isinstance(algorithm, config.AnalogSGD) and device.response.kind != "ideal":
        found.append(
            Warned(
                "analog_sgd: the response draws every weight to its symmetric point with a force that does "
                "not fade; networks collapse where tau is about as large as their weights (seen up to tau 1)",
                "algorithm residual or mixed_precision, or a larger tau",
            )
        )
    if isinstance(algorithm, config.Residual) and residual.num_states <= FEW_STATES:
        found.append(
            Warned(
                f"residual: {residual.num_states:.3g} states are too few for what one column holds",
                "algorithm tt_v2, multi_tile or mixed_precision",
            )
        )
    if isinstance(algorithm, config.Residual | config.ResidualV2) and algorithm.calibration.kind == "none":
        point = residual.symmetric_point
        spread = (
            abs(point.mean) + point.spread + (0 if point.subtracted else abs(residual.bias) * residual.tau)
        )
        if spread > 0.05 * residual.tau:
            found.append(
                Warned(
                    f"{algorithm.kind}: the residual array's symmetric points are about {spread:.2g} from 0, "
                    "and its zero is not calibrated: weights end as far off as the gradient's noise allows",
                    "calibration zero_shift, or algorithm e_rider, agad or chopped_tt_v2",
                )
            )
    if isinstance(algorithm, config.Residual):
        found += _of_rates(algorithm)
    if isinstance(algorithm, config.ERider) and algorithm.follow * algorithm.flip_probability > 4e-3:
        found.append(
            Warned(
                "e_rider: the zero follows the signal it should be subtracted from",
                "follow and flip_probability of about 0.02",
            )
        )
    if isinstance(algorithm, config.MultiTile) and algorithm.every < 20:
        found.append(
            Warned(
                f"multi_tile: {algorithm.every} steps are too few for an array to come to rest",
                "every 20 or more",
            )
        )
    return found


def _of_rates(algorithm: config.Residual) -> list[Warned]:
    found = []
    if algorithm.transfer_lr >= 0.8:
        found.append(
            Warned(f"residual: transfer_lr {algorithm.transfer_lr:g} diverges (seen from 0.8)", "0.05 to 0.2")
        )
    elif algorithm.transfer_lr >= 0.2 and algorithm.gamma == 0:
        found.append(
            Warned(
                f"residual: transfer_lr {algorithm.transfer_lr:g} with gamma 0 has nothing to damp it",
                "gamma 0.4, or transfer_lr 0.1",
            )
        )
    return found
