"""How arrays are trained by pulses: the algorithm, and how a gradient becomes pulses."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from aimc_deploy.config.model import Model

Gamma = Annotated[
    float, Field(ge=0, le=1, description="share of the residual array in the weight that computes")
]
Rate = Annotated[float, Field(gt=0, le=1)]
Momentum = Annotated[float, Field(ge=0, lt=1)]


class Expected(Model):
    """The mean effect of the pulses, without their granularity: deterministic but for cycle noise."""

    kind: Literal["expected"] = "expected"


class Counts(Model):
    """Random coincidences of pulses, counted over a batch."""

    kind: Literal["counts"] = "counts"
    desired_bl: Annotated[int, Field(ge=1, le=1024, description="most pulses of a train")] = 31


class Sequential(Model):
    """The same, pulse by pulse: slow, to test the others by."""

    kind: Literal["sequential"] = "sequential"
    desired_bl: Annotated[int, Field(ge=1, le=1024, description="most pulses of a train")] = 31


Update = Annotated[Expected | Counts | Sequential, Field(discriminator="kind")]


class NoCalibration(Model):
    """The symmetric point is taken for 0."""

    kind: Literal["none"] = "none"


class Oracle(Model):
    """Every device's own symmetric point is known, but for an error."""

    kind: Literal["oracle"] = "oracle"
    error_mean: Annotated[float, Field(description="weight units")] = 0.0
    error_spread: Annotated[float, Field(ge=0, description="standard deviation, weight units")] = 0.0


class ZeroShift(Model):
    """Found by pulses in turn up and down, which drive every device to its symmetric point."""

    kind: Literal["zero_shift"] = "zero_shift"
    pulses: Annotated[int, Field(ge=2, description="in all, up and down")] = 2000


Calibration = Annotated[NoCalibration | Oracle | ZeroShift, Field(discriminator="kind")]


class AnalogSGD(Model):
    """The gradient moves the weight itself."""

    kind: Literal["analog_sgd"] = "analog_sgd"
    update: Update = Expected()


class _Transfer(Model):
    """What all algorithms have in common that let the gradient move a second array, read column by column."""

    update: Update = Expected()
    gamma: Gamma = 0.0
    fast_lr: Annotated[
        float | None, Field(gt=0, description="constant rate of the second array; null: the optimizer's")
    ] = None
    transfer_lr: Annotated[
        float, Field(gt=0, description="of what is read, written to the weight; follows the schedule")
    ] = 0.1
    columns: Annotated[int | None, Field(ge=1, description="read at a time; null: all")] = 1
    every: Annotated[int, Field(ge=1, description="steps between reads")] = 1
    read_noise: Annotated[float, Field(ge=0, description="standard deviation, weight units")] = 0.0
    calibration: Calibration = NoCalibration()


class Residual(_Transfer):
    """Residual learning, or Tiki-Taka where ``gamma`` is 0."""

    kind: Literal["residual"] = "residual"
    gamma: Gamma = 0.4


class ResidualV2(_Transfer):
    """Residual learning with a digital moving average of what is read."""

    kind: Literal["residual_v2"] = "residual_v2"
    gamma: Gamma = 0.4
    transfer_lr: Annotated[Rate, Field(description="of the moving average")] = 0.05
    threshold: Annotated[
        float | None, Field(gt=0, description="of the average for one pulse, in pulses; null: write it all")
    ] = 1.0


class _Buffered(_Transfer):
    """Reads are summed digitally, and one pulse is written when a sum is worth one."""

    forget: Annotated[float, Field(ge=0, lt=1, description="share of the sum lost when a column is read")] = (
        0.0
    )


class _Chopped(_Buffered):
    """The signs of columns change at random, which averages a wrong zero away."""

    flip_probability: Annotated[Rate, Field(description="of a column's sign, each time it is read")] = 0.1


class TTv2(_Buffered):
    """Tiki-Taka with a digital sum of what is read, and one pulse when it is worth one."""

    kind: Literal["tt_v2"] = "tt_v2"


class ChoppedTTv2(_Chopped):
    """The same with the sign of every column changed at random."""

    kind: Literal["chopped_tt_v2"] = "chopped_tt_v2"


class AGAD(_Chopped):
    """The same, with the zero estimated from what was read before the last change of sign."""

    kind: Literal["agad"] = "agad"
    average: Annotated[Rate, Field(description="of the moving average of reads")] = 0.1


class ERider(_Transfer):
    """Residual learning that follows the symmetric point while it trains, with changing signs."""

    kind: Literal["e_rider"] = "e_rider"
    gamma: Gamma = 0.1
    flip_probability: Annotated[
        float, Field(ge=0, le=1, description="of a column's sign when it is read")
    ] = 0.02
    follow: Annotated[Rate, Field(description="rate at which the zero follows what is read")] = 0.02

    @field_validator("flip_probability")
    @classmethod
    def _chopped(cls, probability: float) -> float:
        if probability == 0:
            raise ValueError(
                "0 ties the weight to where it started (W - transfer_lr / follow * Q is conserved), so that "
                "it ends in the wrong place: take 0.01 to 0.1"
            )
        return probability


class MultiTile(Model):
    """A weight of several arrays, each ``gamma`` times as important as the one before."""

    kind: Literal["multi_tile"] = "multi_tile"
    update: Update = Counts()
    tiles: Annotated[int, Field(ge=2, le=16)] = 4
    gamma: Annotated[float, Field(gt=0, lt=1, description="about 1 / states is best")] = 0.5
    transfer_lr: Annotated[float, Field(gt=0)] = 0.1
    every: Annotated[int, Field(ge=1, description="steps of one array for one of the array before")] = 20
    read_noise: Annotated[float, Field(ge=0, description="standard deviation, weight units")] = 0.0


class MixedPrecision(Model):
    """The gradient is summed digitally, and whole pulses are written."""

    kind: Literal["mixed_precision"] = "mixed_precision"
    momentum: Momentum = 0.0
    adam: Annotated[
        bool,
        Field(description="scale each gradient by its own size, as Adam does, with momentum as its beta_1"),
    ] = False


Algorithm = Annotated[
    AnalogSGD | Residual | ResidualV2 | TTv2 | ChoppedTTv2 | AGAD | ERider | MultiTile | MixedPrecision,
    Field(discriminator="kind"),
]
