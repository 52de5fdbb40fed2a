"""What this installation is made of."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

LIBRARIES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "datasets",
    "safetensors",
    "numpy",
    "numba",
    "scikit-learn",
)


def library_versions() -> dict[str, str]:
    """Version of every library that a result depends on."""
    return {name: metadata.version(name) for name in LIBRARIES}


def run() -> dict[str, str]:
    """Tool, interpreter, libraries and machine."""
    import torch

    from aimc_deploy.version import __version__

    return {
        "aimc-deploy": __version__,
        "python": sys.version.split()[0],
        "platform": " ".join((platform.system(), platform.machine(), *platform.libc_ver())).strip(),
        "processors": str(os.cpu_count()),
        "torch threads": str(torch.get_num_threads()),
        "cuda": torch.cuda.get_device_name(0) if torch.cuda.is_available() else "not available",
        **library_versions(),
    }
