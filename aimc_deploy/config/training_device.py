"""A device whose weight is changed by pulses: its response, granularity, spreads, noise and cost.

Weights are in units of their own, between ``tau_min`` and ``tau``; a digital scale behind the array brings
them to those of the network. One pulse at weight ``w`` moves it by ``dw_min * q_plus(w)`` up or
``dw_min * q_minus(w)`` down. Spreads are relative standard deviations over devices unless said otherwise.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from aimc_deploy.config.chip import Quantity
from aimc_deploy.config.model import Model, digest_of

Spread = Annotated[float, Field(ge=0, le=10)]
Steepness = Annotated[float, Field(gt=0, le=10, description="the response falls faster with more of it")]


class IdealResponse(Model):
    """Every pulse counts the same, up to the bounds: ``q = 1``."""

    kind: Literal["ideal"] = "ideal"


class LinearResponse(Model):
    """``q_plus = 1 - slope_up w / tau``, ``q_minus = 1 - slope_down w / tau_min``; slope 1: soft bounds."""

    kind: Literal["linear"] = "linear"
    slope_up: Annotated[float, Field(ge=0, description="1: up pulses vanish at the upper bound")] = 1.0
    slope_down: Annotated[float, Field(ge=0, description="1: down pulses vanish at the lower bound")] = 1.0

    @field_validator("slope_up", "slope_down")
    @classmethod
    def _positive(cls, slope: float) -> float:
        if slope > 1:
            raise ValueError(
                f"{slope:g} makes the response negative before the bound is reached, so that a pulse would "
                "move the weight the wrong way: 1 at most, or bring the bound nearer"
            )
        return slope


class PowerResponse(Model):
    """``q_plus = (1 - w / tau) ** gamma_res``, and the same downwards."""

    kind: Literal["power"] = "power"
    gamma_res: Steepness = 1.0


class ExponentialResponse(Model):
    """``q_plus = (exp(gamma_res (1 - w / tau)) - 1) / (exp(gamma_res) - 1)``, and the same downwards."""

    kind: Literal["exponential"] = "exponential"
    gamma_res: Steepness = 1.0


class PiecewiseResponse(Model):
    """Values measured at equal distances from the lower to the upper bound, and straight lines between."""

    kind: Literal["piecewise"] = "piecewise"
    up: Annotated[tuple[float, ...], Field(min_length=2, description="q_plus, from tau_min to tau")]
    down: Annotated[tuple[float, ...], Field(min_length=2, description="q_minus, from tau_min to tau")]

    @field_validator("up", "down")
    @classmethod
    def _positive(cls, values: tuple[float, ...], info: ValidationInfo) -> tuple[float, ...]:
        if min(values) < 0:
            raise ValueError(
                f"{min(values):g} is negative: such a pulse would move the weight the wrong way: 0 or more"
            )
        if min(values[:-1] if info.field_name == "up" else values[1:]) == 0:
            raise ValueError("it is 0 nowhere but at the bound it moves to: a weight would be stuck")
        return values


Factor = Annotated[float, Field(ge=-100, le=100, description="of the exponential")]
Rise = Annotated[float, Field(ge=0, le=20, description="how fast the exponential changes")]


class ExponentialStepResponse(Model):
    """``q_plus = 1 - factor_up exp(rate_up z)``, ``q_minus = 1 - factor_down exp(-rate_down z)``, 0 or more.

    ``z = 2 slope w / (tau - tau_min) + offset``. Measured devices were fitted with it.
    """

    kind: Literal["exp_step"] = "exp_step"
    factor_up: Factor
    factor_down: Factor
    rate_up: Rise
    rate_down: Rise
    slope: Annotated[float, Field(ge=-1, le=1, description="of z")]
    offset: Annotated[float, Field(ge=-1, le=1, description="z of a weight of 0")]

    @model_validator(mode="after")
    def _positive(self) -> ExponentialStepResponse:
        for name, factor, rate in (
            ("up", self.factor_up, self.rate_up),
            ("down", self.factor_down, -self.rate_down),
        ):
            at_zero = 1 - factor * math.exp(rate * self.offset)
            if at_zero <= 0:
                raise ValueError(
                    f"factor_{name}: q is {at_zero:g} at a weight of 0, so that pulses {name} would not move "
                    "it that way: it must be above 0 there"
                )
        return self


Response = Annotated[
    IdealResponse
    | LinearResponse
    | PowerResponse
    | ExponentialResponse
    | ExponentialStepResponse
    | PiecewiseResponse,
    Field(discriminator="kind"),
]


class DeviceSpread(Model):
    """How devices of one array differ: drawn once, when the array is built."""

    step: Annotated[Spread, Field(description="of the size of a pulse")] = 0.0
    step_distribution: Annotated[
        Literal["normal", "lognormal"], Field(description="of the size of a pulse")
    ] = "normal"
    tau: Annotated[Spread, Field(description="of the upper bound")] = 0.0
    tau_min: Annotated[Spread, Field(description="of the lower bound")] = 0.0
    bias: Annotated[Spread, Field(description="of up against down, absolute")] = 0.0


class SymmetricPoint(Model):
    """Where pulses up and down are equal, as seen by the array: what a reference device subtracts counts."""

    subtracted: Annotated[
        bool, Field(description="a reference device takes each device's own symmetric point away")
    ] = False
    mean: Annotated[float, Field(description="shift in weight units, on top")] = 0.0
    spread: Annotated[
        float, Field(ge=0, description="standard deviation of the shift over devices, weight units")
    ] = 0.0


class Retention(Model):
    """Weights leak towards 0."""

    lifetime_steps: Annotated[
        float | None, Field(gt=1, description="training steps to 1/e; null: none is lost")
    ] = None
    spread: Spread = 0.0


class Corrupt(Model):
    """Devices that no pulse moves; each is stuck somewhere around 0, and nobody knows which they are."""

    share: Annotated[float, Field(ge=0, le=1, description="of all devices")] = 0.0
    range: Annotated[
        float, Field(ge=0, le=1, description="stuck uniformly within this share of the bounds")
    ] = 1.0


class TrainingDevice(Model):
    """A device that is trained in place by pulses."""

    name: Annotated[str, Field(description="in tables and messages")] = "soft-bounds"
    description: Annotated[str, Field(description="one line")] = ""
    source: Annotated[str, Field(description="where the figures are from")] = ""
    response: Response = LinearResponse()
    tau: Annotated[float, Field(gt=0, description="upper bound, weight units")] = 0.6
    tau_min: Annotated[float | None, Field(lt=0, description="lower bound; null: -tau")] = None
    dw_min: Annotated[
        float | None, Field(gt=0, description="weight change of one pulse where q is 1; null: from states")
    ] = None
    states: Annotated[
        float, Field(ge=2, description="(tau - tau_min) / dw_min, where dw_min is not given")
    ] = 1200
    bias: Annotated[float, Field(gt=-1, lt=1, description="up pulses larger than down pulses")] = 0.0
    bias_kind: Annotated[
        Literal["symmetric", "one_sided"],
        Field(description="1 + bias up and 1 - bias down; or only the smaller of the two is changed"),
    ] = "symmetric"
    spread: DeviceSpread = DeviceSpread()
    symmetric_point: SymmetricPoint = SymmetricPoint()
    cycle_to_cycle: Annotated[
        float, Field(ge=0, le=100, description="standard deviation of one pulse, in pulses")
    ] = 0.0
    cycle_noise: Annotated[
        Literal["additive", "multiplicative"],
        Field(description="the same everywhere, or in proportion to the response"),
    ] = "additive"
    write_noise: Annotated[
        float, Field(ge=0, le=1000, description="of a written weight as it is read, in pulses")
    ] = 0.0
    retention: Retention = Retention()
    corrupt: Corrupt = Corrupt()
    pulse_ns: Annotated[Quantity | None, Field(description="ns of one pulse")] = None
    pulse_pj: Annotated[Quantity | None, Field(description="pJ of one pulse of one device")] = None

    @property
    def lower(self) -> float:
        """Lower bound in weight units."""
        return -self.tau if self.tau_min is None else self.tau_min

    @property
    def step(self) -> float:
        """Weight change of one pulse where the response is 1."""
        return self.dw_min or (self.tau - self.lower) / self.states

    @property
    def num_states(self) -> float:
        """How many pulses of that size lie between the bounds."""
        return (self.tau - self.lower) / self.step

    def digest(self) -> str:
        """SHA-256 of the physics described; name, prose, time and energy do not count."""
        return digest_of(self.essentials({"name", "description", "source", "pulse_ns", "pulse_pj"}))

    @model_validator(mode="after")
    def _at_least_two_states(self) -> TrainingDevice:
        if self.step == 0:
            raise ValueError(f"tau: no float is as small as a step between {self.lower:g} and {self.tau:g}")
        if self.num_states < 2:
            raise ValueError(
                f"dw_min: {self.step:g} leaves {self.num_states:.2g} states between {self.lower:g} and "
                f"{self.tau:g}, and 2 are the least: {(self.tau - self.lower) / 2:g} at most"
            )
        return self
