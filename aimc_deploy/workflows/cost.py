"""Cost: what a mapped model takes in time, energy and area on a chip, and which adapter it can hide."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.run import Source
from aimc_deploy.cost.estimate import Cost, estimate, hide
from aimc_deploy.errors import ArtifactError, HardwareError
from aimc_deploy.workflows.map import plan


@dataclass(frozen=True)
class CostResult:
    """The cost on ``hardware``; ``hidden`` is the rank and batch that keep to the budget, None if none do."""

    hardware: Hardware
    cost: Cost
    budget: float
    hidden: tuple[int, int] | None


def run(
    source: Path | Source, hardware: Hardware, *, rank: int, tokens: int, length: int, budget: float
) -> CostResult:
    """The cost of a bundle's tile map, or of a model that is only planned.

    Args:
        source: a bundle, or a model whose configuration is enough.
        hardware: whose chip and cluster count; its tiles must have the size of the bundle's.
        rank: of the adapter of every layer.
        tokens: handed to an adapter together.
        length: tokens of a sequence.
        budget: largest overhead of any layer's adapter in a pipeline, as a share.

    Raises:
        ArtifactError: there is no bundle, or it was mapped before tile maps told who reads what.
        ModelError: no model can be planned.
        HardwareError: the hardware has tiles of another size.
    """
    tile_map = plan(source, hardware) if isinstance(source, Source) else _mapped(source, hardware)
    cost = estimate(tile_map, hardware, rank=rank, tokens=tokens, length=length)
    return CostResult(hardware, cost, budget, hide(tile_map, hardware, budget))


def _mapped(bundle: Path, hardware: Hardware) -> dict[str, Any]:
    """The tile map of a bundle, if it is one for this hardware's tiles."""
    found = Bundle.open(bundle).read_json("tile_map.json")
    if "initiation_interval" not in found:
        raise ArtifactError(
            f"{bundle} was mapped by an earlier version, whose tile map does not say what each layer reads: "
            "map again with `aimc-deploy map --overwrite`"
        )
    size = {"rows": hardware.tile.rows, "cols": hardware.tile.cols}
    if found["tile"] != size:
        raise HardwareError(
            f"{bundle} is mapped on tiles of {found['tile']['rows']} x {found['tile']['cols']}, and "
            f"'{hardware.name}' has {size['rows']} x {size['cols']}: map for it with `aimc-deploy map "
            f"--hardware {hardware.name}`, or choose another with --hardware"
        )
    return found
