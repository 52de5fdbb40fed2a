"""Find the symmetric point of each device: what a residual array's zero should be."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.algorithm import Calibration, Oracle, ZeroShift
from aimc_deploy.training.array import Array


def zero_shift(array: Array, pulses: int) -> Float[Tensor, "outputs inputs"]:
    """Drive every device to its symmetric point with pulses in turn up and down, and say where it is.

    For a linear response ``n`` pulses leave ``exp(-n dw / tau)`` of the distance: 1 % after
    ``(tau / dw) ln 100``. The last two states lie on both sides of the point, and their mean is returned.

    Source: Kim, Rasch, Gokmen et al., "Zero-shifting technique for deep neural network training on resistive
    cross-point arrays", 2019 (arXiv 1907.10228).
    """
    one = torch.ones_like(array.state)
    before = array.weight().clone()
    for number in range(pulses):
        before = array.weight().clone()
        array.pulse(one if number % 2 == 0 else -one)
    return (before + array.weight()) / 2


def calibrate(array: Array, how: Calibration) -> Float[Tensor, "outputs inputs"]:
    """The zero of each device as it is found; the array is left there.

    Without calibration it is 0. An oracle knows the symmetric point but for the error asked for.
    """
    if isinstance(how, ZeroShift):
        return zero_shift(array, how.pulses)
    zero = torch.zeros_like(array.state)
    if isinstance(how, Oracle):
        zero = array.symmetric_point().clone()
        if how.error_mean or how.error_spread:
            zero += how.error_mean + how.error_spread * array.normal_like(zero)
    array.set(zero)
    return zero
