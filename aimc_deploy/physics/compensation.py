"""Drift compensation: a digital factor that undoes the average loss of conductance."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def read_out(weight: Float[Tensor, "cols rows"]) -> Float[Tensor, " cols"]:
    """Mean absolute response of each column to the identity, from an exact (fully averaged) read-out.

    A read-out through one pass of a noisy 8-bit ADC biases the factor by up to 2.6 %; averaging removes
    the bias, and is what a chip does in the seconds it has for it.
    """
    return weight.abs().mean(dim=1)


def compensation_factor(
    reference: Float[Tensor, " cols"], now: Float[Tensor, " cols"], kind: str
) -> Float[Tensor, " cols"]:
    """Factor for each column, ``mean|Y_ref| / mean|Y_t|``: of the tile (``global``) or of the column.

    ``none`` is 1; so is the factor of columns that conduct nothing.
    Source: Joshi et al., Nature Communications 11, 2473 (2020), global drift compensation.
    """
    if kind == "none":
        return torch.ones_like(now)
    if kind == "global":
        reference, now = reference.mean().expand_as(now), now.mean().expand_as(now)
    return torch.where(now > 0, reference / now, torch.ones_like(now))
