"""``adapters/NAME/adapter.json``: what an adapter was trained for, and how good it was then."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.times import Time, seconds
from aimc_deploy.tasks.registry import Kind
from aimc_deploy.tile.periphery import LARGEST_RANGE, SMALLEST_RANGE

InputRange = Annotated[float, Field(ge=SMALLEST_RANGE, le=LARGEST_RANGE, allow_inf_nan=False)]


class Stage(BaseModel):
    """Part of a schedule: from the age ``since`` on, ``adapter`` is used."""

    model_config = ConfigDict(frozen=True)

    since: Time
    adapter: str


class AdapterRecord(BaseModel):
    """What ``adapter.json`` says of an adapter.

    Attributes:
        run_sha256: of the settings, the base and the data it was trained with.
        scores: the task's metric on the dev set: ``digital`` without any hardware; ``adapted`` on chip 0
            at 0 s; ``unadapted`` there with LoRA switched off (None where there is none).
        stages: of a schedule, which has no parameters of its own: the first is for a new chip.
    """

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    task: str
    metric: str
    method: Literal["lora", "head", "layers", "full"]
    kind: Kind = "classes"
    num_labels: Annotated[int, Field(ge=1)]
    hardware_aware: bool
    hardware_digest: str
    base_sha256: str
    run_sha256: str
    max_length: Annotated[int, Field(ge=1)]
    parameters: Annotated[int, Field(ge=0)]
    input_ranges: dict[str, list[InputRange]] | None = None
    scores: dict[str, float | None]
    training: dict[str, Any] = {}
    stages: tuple[Stage, ...] = ()

    @field_validator("training")
    @classmethod
    def _tells_what_is_asked(cls, training: dict[str, Any]) -> dict[str, Any]:
        match training.get("in_memory"):
            case None | {"algorithm": {"kind": str()}}:
                pass
            case _:
                raise ValueError("in_memory does not name its algorithm")
        match training.get("hardware", {}):
            case {"dac": value} if not isinstance(value, dict):
                raise ValueError("hardware.dac is no description of a converter")
            case {"name": value} if not isinstance(value, str):
                raise ValueError("hardware.name is no text")
            case dict():
                return training
        raise ValueError("hardware is no description of it")

    @property
    def analog_head(self) -> bool:
        """Whether the head goes onto tiles too."""
        return bool(self.training.get("analog_head"))

    @property
    def how(self) -> str:
        """The method, and the algorithm where pulses trained what it trains."""
        in_memory = self.training.get("in_memory")
        return f"{self.method}, {in_memory['algorithm']['kind']} in memory" if in_memory else self.method

    def trained_for(self, hardware_digest: str) -> str:
        """The hardware that it met in training, told to somebody whose hardware has that digest."""
        if not self.hardware_aware:
            return "no hardware"
        if self.hardware_digest == hardware_digest:
            return "this hardware"
        return self.training.get("hardware", {}).get("name", "other hardware")

    def at_age(self, age_s: float) -> str | None:
        """Of a schedule, the adapter for a chip of that age; None where there is no schedule."""
        begun = [stage.adapter for stage in self.stages if seconds(stage.since) <= age_s]
        return begun[-1] if begun else None

    def ranges_for(self, hardware: Hardware) -> dict[str, list[float]] | None:
        """The static input ranges, if they were calibrated the way ``hardware`` says; else None."""
        asked = hardware.dac.input_range.model_dump(mode="json")
        calibrated = self.training.get("hardware", {}).get("dac", {}).get("input_range")
        return self.input_ranges if calibrated == asked else None
