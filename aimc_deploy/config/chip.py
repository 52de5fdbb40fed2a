"""A chip as it is built: tiles and what is on which, time, energy, and the digital cores beside them.

Every figure says where it is from and how it was found; what nobody has published is null.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from aimc_deploy.config.model import Model

Strategy = Literal["naive", "fused", "dense", "layer", "diagonal"]


class Quantity(Model):
    """A published figure, and how much it is worth."""

    value: Annotated[float, Field(gt=0, description="in the unit of its key")]
    kind: Annotated[
        Literal["measured", "derived", "simulated", "fitted", "assumed", "marketing"],
        Field(description="on silicon; by arithmetic from what is; by its authors; to a published result"),
    ]
    source: Annotated[str, Field(description="authors, venue, year")]


class Chip(Model):
    """Size, time and energy of a chip; null where nobody has published it, and then nothing is made of it."""

    tiles: Annotated[Quantity | None, Field(description="tiles on one chip")] = None
    mvm_ns: Annotated[Quantity | None, Field(description="ns for one product of a tile")] = None
    mvm_nj: Annotated[Quantity | None, Field(description="nJ for one product of a whole tile")] = None
    tile_mm2: Annotated[Quantity | None, Field(description="mm2 of one tile")] = None


_REDMULE = "Tortorella et al., RedMulE, DATE 2022 (arXiv 2204.11192)"
_AHWA = "Li et al., AHWA-LoRA, Neuromorph. Comput. Eng. 6, 014011 (2026)"


class Cluster(Model):
    """The digital cores beside the tiles, which compute the adapters."""

    clock_mhz: Annotated[Quantity, Field(description="MHz")] = Quantity(
        value=666, kind="simulated", source=_REDMULE
    )
    macs_per_cycle: Annotated[Quantity, Field(description="multiply-accumulates of fp16 a cycle")] = Quantity(
        value=31.6, kind="simulated", source=_REDMULE
    )
    efficiency: Annotated[Quantity, Field(description="share of that which an adapter reaches")] = Quantity(
        value=0.7, kind="fitted", source=f"2.72 x at 128 ns, 512 x 128, rank 8: {_AHWA}"
    )
    sync_ns: Annotated[Quantity, Field(description="ns to hand over a batch of tokens")] = Quantity(
        value=20.5, kind="fitted", source=f"4 % in the best case, taken at 512 ns: {_AHWA}"
    )
    gflops_per_w: Annotated[Quantity, Field(description="fp16")] = Quantity(
        value=688, kind="simulated", source=_REDMULE
    )
    memory_kib: Annotated[Quantity, Field(description="KiB")] = Quantity(
        value=128, kind="simulated", source=_AHWA
    )


Lines = tuple[Annotated[int, Field(ge=0)], ...]


class TileFault(Model):
    """What cannot be used of one tile: all of it if neither rows nor columns are named."""

    tile: Annotated[int, Field(ge=0, description="number of the tile")]
    rows: Annotated[Lines, Field(description="faulty rows")] = ()
    cols: Annotated[Lines, Field(description="faulty columns")] = ()


class FaultMap(Model):
    """A file with what is faulty on one chip, as its test has found it."""

    faults: tuple[TileFault, ...]


class Placement(Model):
    """Which block goes where; blocks that share a tile share its compensation, and the scale of a tile."""

    strategy: Annotated[
        Strategy,
        Field(
            description="naive: a tile for each block; fused: blocks that read the same inputs share one; "
            "dense: fewest tiles; layer: fewest for each encoder layer, blocks of one stage apart; diagonal: "
            "blocks on rows and columns of their own"
        ),
    ] = "layer"
    tiles: Annotated[int | None, Field(ge=1, description="on the chip; null: as many as it takes")] = None
    faults: Annotated[
        tuple[TileFault, ...], Field(description="what of the chip is not to be used; see --fault-map")
    ] = ()
