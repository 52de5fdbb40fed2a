"""Training in memory as a whole: the devices, the algorithm, and how weights are brought to their range."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator

from aimc_deploy.config.algorithm import Algorithm, MixedPrecision, Residual
from aimc_deploy.config.hardware import Hardware, Resolution
from aimc_deploy.config.model import Model
from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.config.training_presets import load_training_device
from aimc_deploy.errors import ConfigError


def _of_preset(device: Any) -> Any:
    """A device that is given by its name."""
    try:
        return load_training_device(device) if isinstance(device, str) else device
    except ConfigError as error:
        raise ValueError(str(error)) from None


Device = Annotated[TrainingDevice, BeforeValidator(_of_preset, json_schema_input_type=TrainingDevice | str)]


class Converters(Model):
    """In front of and behind an array that learns, in both directions; each vector has a range of its own.

    The unit of the outputs is (upper bound of the weights x largest input).
    """

    dac_bits: Resolution = 8
    adc_bits: Resolution = 8
    output_range: Annotated[float, Field(gt=0, description="full scale of the ADC, in those units")] = 12.0
    output_noise: Annotated[
        float, Field(ge=0, description="standard deviation before the ADC, in those units")
    ] = 0.04

    @classmethod
    def of(cls, hardware: Hardware) -> Converters:
        """Those of the tiles."""
        return cls(
            dac_bits=hardware.dac.bits,
            adc_bits=hardware.adc.bits,
            output_range=hardware.adc.output_range,
            output_noise=hardware.output_noise,
        )


class InMemory(Model):
    """How layers are trained in memory."""

    device: Annotated[Device, Field(description="a description, the name of a published one, or a file")] = (
        TrainingDevice()
    )
    residual_device: Annotated[
        Device | None,
        Field(description="of the arrays that take the gradient; null: the same"),
    ] = None
    algorithm: Algorithm = Residual()
    rms: Annotated[
        float, Field(gt=0, lt=1, description="of the weights a layer starts with, in units of tau")
    ] = 0.25
    learn_scale: Annotated[bool, Field(description="train the digital scale behind the array, too")] = True
    converters: Annotated[
        Converters | None, Field(description="around every array, forwards and backwards; null: ideal ones")
    ] = None

    _suited: ClassVar[dict[str, dict[str, Any]]] = {}

    @field_validator("algorithm", mode="before")
    @classmethod
    def _of_the_default_kind(cls, algorithm: Any) -> Any:
        """So that one setting of the default algorithm can be changed alone."""
        if isinstance(algorithm, dict):
            algorithm = {"kind": cls.model_fields["algorithm"].default.kind, **algorithm}
            return cls._suited.get(algorithm["kind"], {}) | algorithm
        return algorithm


class AdaptInMemory(InMemory):
    """How what an adaptation trains is learned in memory: LoRA's matrices, the head, or chosen layers."""

    _suited = {"mixed_precision": {"adam": True, "momentum": 0.9}} | {
        kind: {"columns": None, **more}
        for kind, more in {
            "residual": {},
            "residual_v2": {},
            "tt_v2": {"gamma": 0.4},
            "chopped_tt_v2": {"gamma": 0.4},
            "agad": {"gamma": 0.4},
            "e_rider": {},
        }.items()
    }

    algorithm: Annotated[
        Algorithm,
        Field(
            description="by its kind alone: one set for adapters, which learn in few steps (Adam in mixed "
            "precision, every column read in each step)"
        ),
    ] = MixedPrecision(adam=True, momentum=0.9)
    converters: Annotated[  # type: ignore[assignment]
        Converters | Literal["hardware"] | None,
        Field(
            description="around every array, forwards and backwards: a description, 'hardware' for those of "
            "the tiles, or null for ideal ones"
        ),
    ] = None
    learning_rate: Annotated[
        float | None, Field(gt=0, description="of the pulses, in weight units; null: the algorithm's own")
    ] = None
