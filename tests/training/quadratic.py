"""Many independent one-dimensional problems at once: ``f = h / 2 (w - w*)^2`` with a noisy gradient."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from aimc_deploy.config import algorithm as config
from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.training.algorithm import Algorithm
from aimc_deploy.training.algorithms import build

Noise = Callable[[Tensor], Tensor]


def signs(generator: torch.Generator) -> Noise:
    """-1 or 1."""
    return lambda like: (
        torch.randint(0, 2, like.shape, generator=generator, dtype=torch.int8).to(like.dtype).mul_(2).sub_(1)
    )


def normal(generator: torch.Generator) -> Noise:
    """Standard normal."""
    return lambda like: torch.empty_like(like).normal_(generator=generator)


def problems(
    described: config.Algorithm,
    device: TrainingDevice,
    count: int,
    *,
    residual_device: TrainingDevice | None = None,
    dtype: torch.dtype = torch.float64,
) -> Algorithm:
    """A matrix of one column: every output is a problem of its own, with 1 for its input."""
    return build(described, device, (count, 1), 0, "quadratic", residual_device=residual_device, dtype=dtype)


def descend(
    algorithm: Algorithm,
    steps: int,
    lr: float | Callable[[int], float],
    *,
    h: float = 1.0,
    target: float = 0.4,
    sigma: float = 0.0,
    noise: Noise | None = None,
    last: int = 1,
) -> Tensor:
    """The weight that computes, as its mean over the ``last`` steps, one for each problem."""
    weight = algorithm.weight()
    x = torch.ones(1, 1, dtype=weight.dtype)
    mean = torch.zeros_like(weight)
    for step in range(steps):
        gradient = h * (algorithm.weight() - target)
        if noise is not None:
            gradient = gradient + sigma * noise(gradient)
        algorithm.update(x, gradient.T, lr(step) if callable(lr) else lr)
        if step >= steps - last:
            mean += algorithm.weight() / last
    return mean
