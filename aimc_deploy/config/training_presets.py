"""Published devices that can be trained by pulses, and devices of the user's own from YAML files."""

from __future__ import annotations

import difflib
from importlib import resources
from pathlib import Path

from aimc_deploy.config.mistakes import checked
from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.config.yaml_file import parse_yaml, read_yaml
from aimc_deploy.errors import ConfigError


def training_presets() -> dict[str, str]:
    """Name and description of every device for training that comes with the package."""
    return {name: load_training_device(name).description for name in _names()}


def load_training_device(name: str) -> TrainingDevice:
    """A device for training by its name, or from a YAML file.

    Raises:
        ConfigError: there is no such device, or every mistake in the file at once, with its line.
    """
    if name.endswith((".yaml", ".yml")):
        document = read_yaml(Path(name))
    elif name in _names():
        text = (resources.files("aimc_deploy.configs") / "training" / f"{name}.yaml").read_text("utf-8")
        document = parse_yaml(text, f"preset {name}")
    else:
        close = difflib.get_close_matches(name, _names(), n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(
            f"there is no device for training '{name}': choose one of {', '.join(_names())}, or give a file "
            f"that ends in .yaml{hint}"
        )
    if not isinstance(document.data, dict):
        raise ConfigError(f"{name}: a device for training is a mapping of keys to values")
    return checked(TrainingDevice, document.data, document.places)


def _names() -> list[str]:
    folder = resources.files("aimc_deploy.configs") / "training"
    return sorted(part.name.removesuffix(".yaml") for part in folder.iterdir() if part.name.endswith(".yaml"))
