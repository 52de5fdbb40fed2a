"""A sweep: which points of the settings are to be computed, or searched."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from aimc_deploy.config.executor import Executor, Local
from aimc_deploy.config.model import Model

Dotted = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*$")]
"""A key of a recipe, such as ``hardware.adc.bits``."""

Objective = Literal["accuracy", "tiles", "token_ns", "sequence_ns", "adapter_bytes"]
"""What a search makes large (accuracy) or small (all others)."""

NOT_SWEPT = ("bundle", "executor")
MAX_POINTS = 100_000


class Range(Model):
    """Numbers from ``low`` to ``high``, both included; whole ones where both are whole."""

    low: int | float
    high: int | float
    log: Annotated[bool, Field(description="draw the logarithm evenly")] = False
    step: Annotated[int | float | None, Field(gt=0, description="only low, low + step, ...")] = None

    @model_validator(mode="after")
    def _is_a_range(self) -> Range:
        if self.low >= self.high:
            raise ValueError(f"low: {self.low} is not less than high, {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: needs low above 0 and no step")
        if self.whole and self.step is not None and not isinstance(self.step, int):
            raise ValueError("step: from one whole number to another it is whole too")
        return self

    @property
    def whole(self) -> bool:
        """Whether only whole numbers are meant."""
        return isinstance(self.low, int) and isinstance(self.high, int)


Values = Annotated[tuple[Any, ...], Field(min_length=1)]


Space = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Values, Tag("values")],
    Discriminator(lambda given: "range" if isinstance(given, dict | Range) else "values"),
]


class Sweep(Model):
    """The file that ``aimc-deploy sweep`` takes."""

    recipe: Annotated[
        str | None, Field(description="what all points begin with; relative to this file. null: the defaults")
    ] = None
    set: Annotated[dict[Dotted, Any], Field(description="settings of all points, over the recipe's")] = Field(
        default_factory=dict
    )
    grid: Annotated[
        dict[Dotted, Values], Field(description="any keys of a recipe, and the values of each: all together")
    ] = Field(default_factory=dict)
    points: Annotated[
        tuple[dict[Dotted, Any], ...], Field(description="points of their own, after those of the grid")
    ] = ()
    accuracy: Annotated[
        bool, Field(description="train and measure; false: only plan and reckon tiles, time and energy")
    ] = True
    executor: Executor = Local()
    search: Annotated[
        dict[Dotted, Space],
        Field(description="for --search: keys of a recipe, and the range or the values of each"),
    ] = Field(default_factory=dict)
    objectives: Annotated[
        tuple[Objective, ...], Field(min_length=1, description="of the search, all at the same time")
    ] = ("accuracy", "tiles")
    search_seed: Annotated[int, Field(ge=0, lt=2**31, description="of the search alone")] = 0
    batch: Annotated[
        int, Field(ge=1, le=1000, description="trials that are chosen together, from what is known before")
    ] = 8

    @model_validator(mode="after")
    def _has_points(self) -> Sweep:
        if not self.grid and not self.points and not self.search:
            raise ValueError("there are no points: give grid, points or search")
        grid = math.prod(map(len, self.grid.values())) if self.grid else 0
        if grid + len(self.points) > MAX_POINTS:
            raise ValueError(
                f"{grid + len(self.points):,} points are more than the {MAX_POINTS:,} allowed: use search"
            )
        listed = (key for point in self.points for key in point)
        for key in (*self.set, *self.grid, *self.search, *listed):
            if key.partition(".")[0] in NOT_SWEPT:
                raise ValueError(
                    f"{key}: cannot be set or swept: each point has a bundle of its own, and `executor` is a "
                    "key of this file"
                )
        for key in (*self.grid, *self.search):
            if key in self.set:
                raise ValueError(f"{key}: is set for all points and swept too: leave it out of one of them")
        if not self.accuracy and self.search and "accuracy" in self.objectives:
            raise ValueError("objectives: with accuracy: false there is none to search for")
        return self
