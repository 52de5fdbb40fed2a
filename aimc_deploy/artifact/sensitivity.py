"""``sensitivity.json``: what each layer costs a task when it is analog, and which ones were kept digital."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from aimc_deploy.artifact.manifest import SCHEMA_VERSION
from aimc_deploy.artifact.results import Record

FILE, PICTURE = "sensitivity.json", "report/sensitivity.svg"


class LayerEffect(Record):
    """One layer, as means over chips.

    Attributes:
        sqnr_db: of its products, with every layer analog.
        error: of the logits with only this layer analog: root mean square, as a share of their own.
        alone: the metric with only this layer analog.
        without: the metric with every layer analog but this one.
    """

    layer: str
    sqnr_db: float
    error: float
    alone: float
    without: float


class Sensitivity(Record):
    """Every layer of a model on one task.

    Attributes:
        at: time since programming.
        max_drop: what the metric may lose, as a fraction.
        exact: the metric without hardware; ``analog`` with all layers on tiles, ``chosen`` as decided.
        layers: the most sensitive first.
        digital: the layers that were kept digital for it.
        weights, digital_weights: of all these layers, and of those that were kept digital.
    """

    schema_version: str = SCHEMA_VERSION
    task: str
    metric: str
    samples: int
    chips: int
    at: str
    seed: int
    max_drop: Annotated[float, Field(ge=0, le=1)]
    exact: float
    analog: float
    chosen: float
    layers: tuple[LayerEffect, ...]
    digital: tuple[str, ...]
    weights: int
    digital_weights: int
