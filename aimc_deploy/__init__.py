"""Take a pretrained transformer to analog in-memory computing hardware.

From Python, :func:`load` opens a bundle that ``aimc-deploy map`` wrote::

    import aimc_deploy

    model = aimc_deploy.load("aimc-bundle")
    model.set_adapter("reviews")
    model.program(chip=0)
    model.drift("1y")
    logits = model(**tokens).logits
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aimc_deploy.version import __version__

if TYPE_CHECKING:
    from aimc_deploy.workflows.deployed import load

__all__ = ["__version__", "load"]


def __getattr__(name: str) -> Any:
    # Importing torch and transformers takes seconds: only those who load a model wait for it.
    if name == "load":
        from aimc_deploy.workflows.deployed import load

        return load
    raise AttributeError(f"module 'aimc_deploy' has no attribute {name!r}")
