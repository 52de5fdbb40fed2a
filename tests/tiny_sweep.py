"""Sweeps small enough for a test: the tiny model on the tiny task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from shell import write_recipe
from tiny_deployment import recipe, write_checkpoint, write_task

from aimc_deploy.config.load import load_preset

# Groups of points with an adapter each: two ranks on two seeds; three evaluations of each of these.
GRID = {
    "adapt.lora.r": [1, 2],
    "seed": [0, 1],
    "evaluate.chips": [1, 2],
    "hardware.adc.bits": [5, 6, 8],
}


def write_sweep(folder: Path, **content: Any) -> Path:
    """A sweep with its recipe, checkpoint and data in ``folder``; JSON is YAML.

    Args:
        content: of the file, beside ``recipe``.
    """
    if not (folder / "recipe.yaml").exists():
        checkpoint, data = write_checkpoint(folder / "tiny"), write_task(folder / "SST-2")
        # Long enough to learn, on chips so noisy that every row is its own.
        hardware = load_preset("analog-fabric").model_copy(update={"output_noise": 0.3})
        learns = {"epochs": 5.0, "learning_rate": 2.0e-2, "checkpoint_steps": 100}
        config = recipe(folder / "unused", checkpoint, data, hardware=hardware, adapt=learns)
        write_recipe(folder / "recipe.yaml", config)
    path = folder / "sweep.yaml"
    path.write_text(json.dumps({"recipe": "recipe.yaml", **content}, indent=1))
    return path
