"""Trackers that get the losses of a training: TensorBoard, Trackio, MLflow, Weights & Biases.

Nothing of them is loaded unless ``adapt.report_to`` names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainingArguments
from transformers.integrations import TensorBoardCallback
from transformers.integrations.integration_utils import get_available_reporting_integrations

from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.model import dotted
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ConfigError


class Arguments(TrainingArguments):
    """The Trainer's settings; what trackers keep as a run's parameters is the configuration of the run."""

    parameters: Mapping[str, Any] = {}

    def to_dict(self) -> dict[str, Any]:
        """What every tracker logs."""
        return dict(self.parameters)


def check_trackers(adapt: Adapt) -> None:
    """Refuse trackers that cannot be used, before anything is loaded.

    Raises:
        ConfigError: one is not installed, or switched off in the environment.
    """
    if not adapt.report_to:
        return
    there = get_available_reporting_integrations()
    missing = [name for name in adapt.report_to if name not in there]
    if missing:
        raise ConfigError(
            f"adapt.report_to: {', '.join(missing)} cannot be used here: install with `pip install "
            f"{' '.join(missing)}`, or leave it out"
        )


def parameters(config: Run) -> dict[str, Any]:
    """The configuration by dotted keys, as ``--set`` takes them."""
    return dict(dotted(config.model_dump(mode="json")))


def keep_apart(trainer: Trainer, folder: Path) -> str | None:
    """Have TensorBoard write to ``folder``, for the folder of the checkpoints is removed after training.

    Returns:
        Where it writes: elsewhere if TENSORBOARD_LOGGING_DIR says so; None if it was not asked for.
    """
    for callback in trainer.callback_handler.callbacks:
        if isinstance(callback, TensorBoardCallback):
            callback.logging_dir = callback.logging_dir or str(folder)
            return callback.logging_dir
    return None
