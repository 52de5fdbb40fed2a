"""The studies as data: which devices, algorithms and learning rates are compared, and on what axis.

They follow the comparisons of Wu et al., NeurIPS 2025 (arXiv 2502.06309): bounds and steepness of its tables
1 and 8, mixing as in its figure 5; few states as in arXiv 2510.02516, moving zeros as in arXiv 2602.21321.
Weights start as torch draws them and the scale behind an array at 1, so that ``tau`` is in units of the
network's own weights. Imports nothing heavy: the command line lists them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.errors import ConfigError

DIGITAL = "digital SGD"
SGD_RATES = (0.2, 0.5, 1.0, 2.0)
RATES = (0.05, 0.1, 0.2, 0.4)
COLUMNS = 8
"""Read at a time, of 64, 64 and 32."""


@dataclass(frozen=True)
class Point:
    """One cell of a study's table.

    Attributes:
        method: its line.
        x: its column; None if it does not depend on the axis, as the digital baseline.
        settings: of the layers in memory; None: all is digital.
        rates: learning rates to choose from; a single one is taken as it is.
        epochs: the rate is halved after half of them.
    """

    method: str
    x: float | str | None
    settings: InMemory | None
    rates: tuple[float, ...]
    epochs: int


def place(x: float | str) -> str:
    """A place on an axis, for a table or a picture."""
    return x if isinstance(x, str) else f"{x:g}"


@dataclass(frozen=True)
class Study:
    """What is compared.

    Attributes:
        title: one line.
        axis: what differs from column to column.
        points: line by line.
    """

    name: str
    title: str
    axis: str
    points: tuple[Point, ...]


def study(name: str, epochs: int | None = None) -> Study:
    """A study by its name.

    Args:
        epochs: instead of its own, for a quick look.

    Raises:
        ConfigError: there is no such study, or too few epochs.
    """
    if name not in _STUDIES:
        raise ConfigError(f"there is no study '{name}': choose one of {', '.join(_STUDIES)}")
    if epochs is not None and epochs < 1:
        raise ConfigError(f"{epochs} epochs: 1 at least")
    return _STUDIES[name](epochs)


def _settings(algorithm: dict[str, Any], device: dict[str, Any]) -> InMemory:
    return InMemory.model_validate({"algorithm": algorithm, "device": device})


def _residual(gamma: float, kind: str = "residual", **other: Any) -> dict[str, Any]:
    return {"kind": kind, "gamma": gamma, "columns": COLUMNS, **other}


SGD: dict[str, Any] = {"kind": "analog_sgd"}
PULSED: dict[str, Any] = {"update": {"kind": "counts"}}


def _digital(epochs: int) -> Point:
    return Point(DIGITAL, None, None, SGD_RATES, epochs)


def _tau(epochs: int | None) -> Study:
    epochs = epochs or 30
    methods = {
        "Analog SGD": (SGD, SGD_RATES),
        "residual, gamma 0": (_residual(0.0), RATES),
        "residual, gamma 0.4": (_residual(0.4), RATES),
    }
    points = [
        Point(method, tau, _settings(algorithm, {"tau": tau}), rates, epochs)
        for method, (algorithm, rates) in methods.items()
        for tau in (0.4, 0.6, 0.8, 1.0, 1.5, 2.5)
    ]
    return Study("tau", "bounds of the weights, linear response", "tau", (_digital(epochs), *points))


def _responses(epochs: int | None) -> Study:
    epochs = epochs or 20
    responses = [
        ("power", 0.5, 0.6),
        ("power", 0.5, 1.0),
        ("power", 1.0, 0.6),
        ("power", 2.0, 0.6),
        ("exponential", 0.5, 1.0),
        ("exponential", 2.0, 1.0),
    ]
    methods = {"Analog SGD": (SGD, SGD_RATES), "residual, gamma 0.4": (_residual(0.4), RATES)}
    points = [
        Point(
            method,
            f"{kind} {steepness:g}, tau {tau:g}",
            _settings(algorithm, {"tau": tau, "response": {"kind": kind, "gamma_res": steepness}}),
            rates,
            epochs,
        )
        for method, (algorithm, rates) in methods.items()
        for kind, steepness, tau in responses
    ]
    return Study("responses", "steeper response functions", "response", (_digital(epochs), *points))


def _gamma(epochs: int | None) -> Study:
    """The rates are what is studied, so none is chosen."""
    epochs = epochs or 20
    points = [
        Point(
            f"residual, alpha {alpha:g}, beta {beta:g}",
            gamma,
            _settings(_residual(gamma, transfer_lr=beta), {"tau": 0.8}),
            (alpha,),
            epochs,
        )
        for alpha, beta in ((0.2, 0.2), (0.1, 0.4))
        for gamma in (0.0, 0.1, 0.4)
    ]
    return Study("gamma", "share of the residual array, at high rates", "gamma", (_digital(epochs), *points))


def _symmetric_point(epochs: int | None) -> Study:
    epochs, tau = epochs or 20, 0.8
    chip = {"tau": tau, "states": 1200, "cycle_to_cycle": 0.3}
    every: tuple[float, ...] = (0.0, 0.1, 0.3)
    methods: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[float, ...]]] = {
        "Analog SGD, expected": (SGD, {"tau": tau}, every),
        "Analog SGD, pulsed": (SGD | PULSED, chip, every),
    }
    for name, calibration, spreads in (
        ("no calibration", {"kind": "none"}, (0.1, 0.3)),
        ("500 pulses", {"kind": "zero_shift", "pulses": 500}, (0.3,)),
        ("2000 pulses", {"kind": "zero_shift", "pulses": 2000}, (0.1, 0.3)),
        ("oracle", {"kind": "oracle"}, (0.3,)),
    ):
        methods[f"residual, {name}"] = (_residual(0.4, calibration=calibration, **PULSED), chip, spreads)
    for flips, follow in ((0.02, 0.02), (0.1, 0.1)):
        rider = _residual(0.1, "e_rider", flip_probability=flips, follow=follow, **PULSED)
        methods[f"E-RIDER, p {flips:g}, eta {follow:g}"] = (rider, chip, (0.3,))
    points = [
        Point(
            method,
            spread,
            _settings(algorithm, device | {"symmetric_point": {"spread": spread * tau}}),
            SGD_RATES if algorithm["kind"] == "analog_sgd" else RATES,
            epochs,
        )
        for method, (algorithm, device, spreads) in methods.items()
        for spread in spreads
    ]
    return Study(
        "symmetric-point",
        "spread of the symmetric points, and finding them",
        "spread / tau",
        (_digital(epochs), *points),
    )


def _noise(epochs: int | None) -> Study:
    epochs, rates = epochs or 20, (0.1, 0.2, 0.4, 0.8)  # what is read must stand out from the noise
    methods = {
        "residual": _residual(0.4),
        "residual v2, beta 0.05": _residual(0.4, "residual_v2", transfer_lr=0.05),
        "residual v2, beta 0.2": _residual(0.4, "residual_v2", transfer_lr=0.2),
        "TT-v2, gamma 0.4": _residual(0.4, "tt_v2"),
    }
    points = [
        Point(method, noise, _settings(algorithm | {"read_noise": noise}, {"tau": 0.8}), rates, epochs)
        for method, algorithm in methods.items()
        for noise in (0.0, 0.3, 1.0)
    ]
    return Study("noise", "noise when the residual is read", "read noise", (_digital(epochs), *points))


def _states(epochs: int | None) -> Study:
    epochs = epochs or 20
    methods: dict[str, tuple[dict[str, Any], float, tuple[float, ...]]] = {
        "Analog SGD, tau 2.5": (SGD | PULSED, 2.5, SGD_RATES),
        "residual, gamma 0.4": (_residual(0.4, **PULSED), 0.8, RATES),
        "TT-v2, gamma 0": (_residual(0.0, "tt_v2", **PULSED), 0.8, RATES),
        "TT-v2, gamma 0.4": (_residual(0.4, "tt_v2", **PULSED), 0.8, RATES),
        "mixed precision, momentum 0.9": (
            {"kind": "mixed_precision", "momentum": 0.9},
            0.8,
            (0.03, 0.1, 0.3),
        ),
    }
    points = [
        Point(method, states, _settings(algorithm, {"tau": tau, "states": states}), rates, epochs)
        for method, (algorithm, tau, rates) in methods.items()
        for states in (1200, 50, 20)
    ]
    return Study("states", "few states, pulsed", "states", (_digital(epochs), *points))


_STUDIES = {
    "tau": _tau,
    "responses": _responses,
    "gamma": _gamma,
    "symmetric-point": _symmetric_point,
    "noise": _noise,
    "states": _states,
}
STUDIES = tuple(_STUDIES)
