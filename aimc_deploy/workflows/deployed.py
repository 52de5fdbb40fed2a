"""A bundle as a model in Python: program a chip, let it age, choose a task, call it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from peft import PeftModel
from torch import nn

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.hardware import Hardware, StaticRange
from aimc_deploy.config.times import seconds
from aimc_deploy.errors import ArtifactError
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.convert import analog_layers, base_sha256, drift, program, replace_layers
from aimc_deploy.nn.head import Place, head_layers, head_on_tiles, restore_head
from aimc_deploy.workflows.adapters import fit_head, read_record
from aimc_deploy.workflows.attach import attach
from aimc_deploy.workflows.base import read_hardware, read_model
from aimc_deploy.workflows.input_ranges import set_ranges
from aimc_deploy.workflows.own_layers import put_layers

Calibration = Callable[[nn.Module], None]


class DeployedModel(nn.Module):
    """A mapped model with its adapters; it is called, moved and asked like the transformers model inside.

    It computes digitally until :meth:`program` writes it to a chip.
    """

    def __init__(self, bundle: Bundle, hardware: Hardware | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.bundle = bundle
        self.hardware = hardware or read_hardware(bundle)
        self.seed = seed
        self.adapter: str | None = None
        self.chip: int | None = None
        self.age_s = 0.0
        self._digital_head: list[Place] = []  # what an analog head stands in the place of
        self._own_layers: dict[str, AnalogLinear] = {}  # what the adapter's stand in the place of
        self._attached: str | None = None  # the adapter asked for, or the stage of it
        self.model: Any = read_model(bundle, self.hardware)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)

    def set_adapter(self, name: str, calibration: Calibration | None = None) -> DeployedModel:
        """Switch to another adapter of the bundle; no tile changes, and the chip stays as it is.

        Of a schedule, the adapter for the chip's age is used, and :meth:`drift` changes it.

        Args:
            calibration: called with the model where the hardware has static input ranges and the adapter
                was trained without them; sets them. It leaves the layers in digital mode, so that it is
                not for a schedule, which changes adapters on a chip.

        Raises:
            ArtifactError: there is no such adapter, or it has no input ranges for this hardware.
        """
        stage = read_record(self.bundle, name).at_age(self.age_s)
        self._attach(stage or name, calibration if stage is None else None)
        self.adapter = name
        return self

    def _attach(self, name: str, calibration: Calibration | None) -> None:
        """Put the parameters of an adapter into the model: the one asked for, or one of its stages."""
        record = read_record(self.bundle, name)
        ranges = record.ranges_for(self.hardware)
        uncalibrated = ranges is None and isinstance(self.hardware.dac.input_range, StaticRange)
        if uncalibrated and calibration is None:
            raise ArtifactError(
                f"adapter '{name}' has no input ranges calibrated as this hardware says: adapt for the "
                "hardware (`aimc-deploy adapt --hardware`), or pass a calibration"
            )
        restore_head(self._digital_head)
        if isinstance(self.model, PeftModel):
            self.model = self.model.unload()
        back, self._own_layers = self._own_layers, {}
        replace_layers(self.model, back)
        self.model = fit_head(self.model, record.kind, record.num_labels)
        self.model = attach(self.bundle, self.model, name)
        if record.method == "layers":
            self._own_layers = put_layers(self.bundle, self.model, name)
        self._attached = name
        self._digital_head = head_on_tiles(self.model, self.hardware) if record.analog_head else []
        try:
            set_ranges(self.model, ranges)
        except ArtifactError as error:
            raise ArtifactError(f"{self.bundle.path}: adapter '{name}': {error}") from None
        if uncalibrated and calibration is not None:
            calibration(self.model)
            self.chip = None
        if self.chip is not None:
            for layer in head_layers(self.model):
                layer.program(self.seed, self.chip)
                layer.drift(self.age_s)
            for layer in back.values():
                layer.program(self.seed, self.chip)
            if back:
                drift(self.model, self.age_s)  # all of it: tiles that share a compensation need each other

    def program(self, chip: int = 0) -> DeployedModel:
        """Write the weights to chip number ``chip``; it is at 0 s until :meth:`drift`."""
        self.chip = chip
        program(self.model, self.seed, chip)
        return self.drift(0.0)

    def drift(self, time: str | float) -> DeployedModel:
        """Move the programmed chip to a time since programming, such as ``"1y"``, or seconds."""
        self.age_s = seconds(time)
        stage = None if self.adapter is None else read_record(self.bundle, self.adapter).at_age(self.age_s)
        if stage is not None and stage != self._attached:
            self._attach(stage, None)
        drift(self.model, self.age_s)
        return self

    def digital(self) -> DeployedModel:
        """Compute without any hardware again."""
        self.chip = None
        for layer in analog_layers(self.model).values():
            layer.digital()
        return self

    def base_sha256(self) -> str:
        """SHA-256 of what the tiles were asked to hold."""
        return base_sha256(self.model)


def load(bundle: str | Path, *, seed: int = 0) -> DeployedModel:
    """Open a bundle as a model.

    Args:
        bundle: folder that ``aimc-deploy map`` wrote.
        seed: of the chips; the same seed and chip number give the same chip.

    Raises:
        ArtifactError: there is no bundle, or it is damaged.
    """
    return DeployedModel(Bundle.open(Path(bundle)), seed=seed).eval()
