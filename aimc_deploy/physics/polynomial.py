"""Polynomials in a relative conductance, as published fits are given."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def polynomial(coefficients: tuple[float, ...], rel: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """``c0 + c1 r + c2 r^2 + ...``"""
    total = torch.full_like(rel, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        total = total * rel + coefficient
    return total
