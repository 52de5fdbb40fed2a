"""One training: a 64-64-32-10 sigmoid network on scikit-learn's digits, its matrices in memory or digital."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.errors import TrainingError
from aimc_deploy.physics.random import derive_seed
from aimc_deploy.training.algorithms import build
from aimc_deploy.training.diagnostics import diagnose
from aimc_deploy.training.layer import AnalogTrainLinear
from aimc_deploy.training.optimizer import AnalogOptimizer, digital_parameters
from aimc_deploy.workflows.study import job as plan
from aimc_deploy.workflows.study.job import Job, Row
from aimc_deploy.workflows.threads import one_thread


class Split(NamedTuple):
    """Images (samples, pixels) from 0 to 1 and digits, to learn from and to be judged by."""

    x: Tensor
    y: Tensor
    judge_x: Tensor
    judge_y: Tensor


@lru_cache(maxsize=2)
def split(part: str) -> Split:
    """The same for every seed. The test part is judged by, or else the last digits of the training part."""
    images, digits = (np.asarray(part) for part in load_digits(return_X_y=True))
    x, y = torch.tensor(images / 16, dtype=torch.float32), torch.tensor(digits)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(plan.SPLIT_SEED))
    if part == "test":
        learn, judge = order[: plan.TRAIN], order[plan.TRAIN :]
    else:
        learn, judge = order[: plan.TRAIN - plan.VALIDATION], order[plan.TRAIN - plan.VALIDATION : plan.TRAIN]
    return Split(x[learn], y[learn], x[judge], y[judge])


def train(job: Job) -> Row:
    """Train and judge; a training that cannot go on is judged as it is then."""
    with one_thread():
        return _train(job)


def _train(job: Job) -> Row:
    data = split(job.part)
    model = _network(job.settings, job.seed)
    rates = [job.lr if job.settings is None else plan.DIGITAL_RATE]
    optimizer: torch.optim.Optimizer = torch.optim.SGD(digital_parameters(model), rates[0])
    if job.settings is not None:
        optimizer = AnalogOptimizer(model, job.lr, optimizer)
    half = max(1, job.epochs // 2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, half, 0.5)
    draw = torch.Generator().manual_seed(derive_seed(job.seed, "batches"))
    loss, stopped = math.nan, None
    for epoch in range(job.epochs):
        try:
            loss = _epoch(model, optimizer, data, torch.randperm(len(data.x), generator=draw))
        except TrainingError as error:
            stopped = f"epoch {epoch + 1}: {error}"
            break
        scheduler.step()
    with torch.no_grad():
        right = (model(data.judge_x).argmax(1) == data.judge_y).double().mean().item()
    first = model[0]
    return Row(
        key=job.key,
        seed=job.seed,
        lr=job.lr,
        accuracy=100 * right,
        loss=loss if math.isfinite(loss) else None,
        stopped=stopped,
        first_layer=diagnose(first.algorithm) if isinstance(first, AnalogTrainLinear) else None,
    )


def _epoch(model: nn.Module, optimizer: torch.optim.Optimizer, data: Split, order: Tensor) -> float:
    """The mean loss of one epoch."""
    total = torch.zeros(())
    batches = order.split(plan.BATCH)
    for batch in batches:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(data.x[batch]), data.y[batch])
        loss.backward()
        optimizer.step()
        total += loss.detach()
    return total.item() / len(batches)


def _network(settings: InMemory | None, seed: int) -> nn.Sequential:
    """The network of a seed: the same weights to start with, wherever they are."""
    draw = torch.Generator().manual_seed(derive_seed(seed, "weights"))
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(itertools.pairwise(plan.SIZES)):
        largest = inputs**-0.5
        weight = (2 * torch.rand(outputs, inputs, generator=draw) - 1) * largest
        bias = (2 * torch.rand(outputs, generator=draw) - 1) * largest
        if settings is None:
            layer = nn.Linear(inputs, outputs)
            layer.weight.data = weight
        else:
            matrix = build(
                settings.algorithm,
                settings.device,
                (outputs, inputs),
                seed,
                number,
                residual_device=settings.residual_device,
            )
            matrix.program(weight)
            layer = AnalogTrainLinear(inputs, outputs, algorithm=matrix)  # the scale starts at 1
        layer.bias.data = bias
        layers += [layer, nn.Sigmoid()]
    return nn.Sequential(*layers[:-1])
