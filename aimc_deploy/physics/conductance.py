"""Map: weights to conductances and back, deterministically (the first step, before any noise)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.config.hardware import Clip, FixedClip, LayerGaussianClip


def clip_weights(weight: Float[Tensor, "cols rows"], clip: Clip) -> Float[Tensor, "cols rows"]:
    """Clip a layer's weights as the mapping says; the result is what the chip is asked to hold.

    ``layer_gaussian`` clips at ``sigma`` standard deviations (population) of the whole layer.
    Source: Li et al., arXiv 2411.17367 (sigma 3); Rasch et al., Nature Communications 14, 5282 (2023).
    """
    if isinstance(clip, LayerGaussianClip):
        bound = clip.sigma * float(weight.detach().double().std(correction=0))
        return weight.clamp(-bound, bound)
    if isinstance(clip, FixedClip):
        return weight.clamp(-clip.value, clip.value)
    return weight.clone()


def weight_scale(weight: Float[Tensor, "cols rows"], per: str) -> Float[Tensor, " cols"]:
    """Digital scale applied after the ADC: largest absolute weight of each column, or of the tile.

    A column of zeros, or of numbers too small to have all their digits, gets the scale 1, so that nothing is
    divided by zero.
    """
    largest = weight.abs().amax(dim=1)
    if per == "tile":
        largest = largest.amax().expand_as(largest)
    return torch.where(largest >= torch.finfo(largest.dtype).tiny, largest, torch.ones_like(largest))


def to_conductance(
    normalised: Float[Tensor, "cols rows"], g_max: float
) -> tuple[Float[Tensor, "cols rows"], Float[Tensor, "cols rows"]]:
    """Differential pair ``(g_plus, g_minus)`` in uS for weights in [-1, 1]; one of the two is zero."""
    return normalised.clamp(min=0) * g_max, (-normalised).clamp(min=0) * g_max


def to_weight(
    g_plus: Float[Tensor, "cols rows"], g_minus: Float[Tensor, "cols rows"], g_max: float
) -> Float[Tensor, "cols rows"]:
    """Normalised weight ``(g_plus - g_minus) / g_max`` of a pair in uS."""
    return (g_plus - g_minus) / g_max
