"""Training in memory as a whole: the devices, the algorithm, and how weights are brought to their range."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aimc_deploy.config.algorithm import Algorithm, Residual
from aimc_deploy.config.model import Model
from aimc_deploy.config.training_device import TrainingDevice


class InMemory(Model):
    """How layers are trained in memory."""

    device: TrainingDevice = TrainingDevice()
    residual_device: Annotated[
        TrainingDevice | None,
        Field(description="of the arrays that take the gradient; null: the same"),
    ] = None
    algorithm: Algorithm = Residual()
    rms: Annotated[
        float, Field(gt=0, lt=1, description="of the weights a layer starts with, in units of tau")
    ] = 0.25
    learn_scale: Annotated[bool, Field(description="train the digital scale behind the array, too")] = True
