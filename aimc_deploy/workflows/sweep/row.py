"""What is known of a point when it is done, as the file that keeps it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from aimc_deploy.artifact.files import read_json, write_json
from aimc_deploy.errors import ArtifactError


class Spread(BaseModel):
    """The task's metric over chips at one time; see :class:`aimc_deploy.artifact.results.Summary`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    time: str
    t_s: float
    mean: float
    std: float | None
    ci_low: float | None
    ci_high: float | None


class Row(BaseModel):
    """One point.

    Attributes:
        digital: the metric without hardware.
        times: in the order of time; empty where nothing was trained.
        token_ns, sequence_ns: with the adapter of every layer; None if the chip's time is not known.
        token_nj: energy of a token, with adapters; None if the chip's is not known.
        adapter_parameters: of LoRA alone, without the head.
        adapter_bytes: memory that the adapters need beside the tiles, as `aimc-deploy cost` reckons it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    key: str
    adapter: str | None = None
    metric: str | None = None
    digital: float | None = None
    times: tuple[Spread, ...] = ()
    tiles: int
    utilisation: float
    token_ns: float | None
    sequence_ns: float | None
    token_nj: float | None
    adapter_parameters: int
    adapter_bytes: int


def place(out: Path, group: str, key: str) -> Path:
    """Where the row of a point is kept."""
    return out / "points" / group / f"{key}.json"


def bundle_of(out: Path, group: str) -> Path:
    """The bundle that the points of a group share."""
    return out / "points" / group / "bundle"


def write_row(path: Path, row: Row) -> None:
    """Keep a row.

    Raises:
        ArtifactError: it cannot be written.
    """
    write_json(path, row.model_dump(mode="json"))


def read_row(path: Path) -> Row | None:
    """The row that is kept; None if there is none that is whole."""
    try:
        return Row.model_validate(read_json(path))
    except (ArtifactError, ValidationError):
        return None
