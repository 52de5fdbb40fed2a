"""The analog hardware: tiles, how weights are mapped, the device, the converters, the compensation.

Conductances are in uS and times in s. ``bits: null`` is an ideal converter. The four kinds of noise are
different things: ``programming_noise`` (once per chip), ``read_noise`` (1/f, per read time),
``output_noise`` (per product) and, in training only, ``weight_noise``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aimc_deploy.config.chip import Chip, Cluster, Placement
from aimc_deploy.config.model import Model, digest_of

Scale = Annotated[float, Field(ge=0, le=100, description="times as much as was measured")]
Bits = Annotated[int, Field(ge=2, le=16)]
Resolution = Annotated[Bits | None, Field(description="resolution; null: an ideal converter")]


class TileSize(Model):
    """Size of one crossbar in unit cells."""

    rows: Annotated[int, Field(ge=1, le=65536, description="inputs of one tile")] = 512
    cols: Annotated[int, Field(ge=1, le=65536, description="outputs of one tile")] = 512


class NoClip(Model):
    """Weights are mapped as they are."""

    kind: Literal["none"] = "none"


class LayerGaussianClip(Model):
    """Clip the weights of a layer at ``sigma`` standard deviations of that layer."""

    kind: Literal["layer_gaussian"] = "layer_gaussian"
    sigma: Annotated[float, Field(gt=0, le=100, description="standard deviations of the layer")] = 3.0


class FixedClip(Model):
    """Clip all weights at an absolute value."""

    kind: Literal["fixed"] = "fixed"
    value: Annotated[float, Field(gt=0, description="absolute weight")]


Clip = Annotated[NoClip | LayerGaussianClip | FixedClip, Field(discriminator="kind")]


class Mapping(Model):
    """How a weight matrix becomes conductances."""

    clip: Clip = LayerGaussianClip()
    scale: Annotated[
        Literal["column", "tile"], Field(description="one digital scale per column or per tile")
    ] = "column"
    split: Annotated[
        Literal["equal", "max"],
        Field(description="matrices larger than a tile: equal parts, or full tiles and a rest"),
    ] = "equal"
    digital: Annotated[
        tuple[str, ...], Field(description="layers to keep digital, as shell patterns of module names")
    ] = ()


class IdealDevice(Model):
    """A device that holds what was written: no programming noise, drift or read noise."""

    kind: Literal["ideal"] = "ideal"
    g_max: Annotated[float, Field(gt=0, description="largest conductance, uS")] = 25.0
    t_0_s: Annotated[float, Field(gt=0, description="s after programming at which drift starts")] = 20.0


class PCMDevice(Model):
    """Phase-change memory after Joshi et al. 2020 and Nandakumar et al. 2019.

    The three scales multiply the measured programming noise, drift exponent and read noise; 1 is the device.
    """

    kind: Literal["pcm"] = "pcm"
    g_max: Annotated[float, Field(gt=0, description="largest conductance, uS")] = 25.0
    programming_noise_scale: Scale = 1.0
    drift_scale: Scale = 1.0
    read_noise_scale: Scale = 1.0
    t_0_s: Annotated[float, Field(gt=0, description="s after programming at which drift starts")] = 20.0
    t_read_s: Annotated[float, Field(gt=0, description="s, duration of a read")] = 250.0e-9


class HermesDevice(Model):
    """IBM's 64-core HERMES chip: one or two devices per polarity, as measured on the chip."""

    kind: Literal["hermes"] = "hermes"
    num_devices: Annotated[Literal[1, 2], Field(description="devices a polarity")] = 2
    programming_noise_scale: Scale = 1.0
    drift_scale: Scale = 1.0
    read_noise_scale: Scale = 1.0
    t_read_s: Annotated[float, Field(gt=0, description="s, duration of a read")] = 512.0e-9

    @property
    def g_max(self) -> float:
        """Largest conductance in uS."""
        return 20.7 if self.num_devices == 2 else 10.35

    @property
    def t_0_s(self) -> float:
        """Time after programming at which drift starts, in s."""
        return 300.0 if self.num_devices == 2 else 200.0


class StateIndependentDevice(Model):
    """A device of which only spreads are known: the same for every conductance that it is asked to hold."""

    kind: Literal["state_independent"] = "state_independent"
    g_max: Annotated[float, Field(gt=0, description="largest conductance, uS")] = 25.0
    programming_noise: Annotated[
        float, Field(ge=0, le=1, description="standard deviation as a share of g_max")
    ] = 0.03
    drift_exponent: Annotated[float, Field(ge=0, le=1, description="mean over devices")] = 0.0
    drift_spread: Annotated[
        float, Field(ge=0, le=1, description="standard deviation of the drift exponent over devices")
    ] = 0.0
    read_noise: Annotated[
        float, Field(ge=0, le=1, description="standard deviation as a share of the conductance, at any time")
    ] = 0.0
    t_0_s: Annotated[float, Field(gt=0, description="s after programming at which drift starts")] = 20.0


class ReRAMDevice(Model):
    """Resistive memory of the NeuRRAM chip after Wan et al. 2022, measured at 0 s, 1 d and 2 d only."""

    kind: Literal["reram"] = "reram"
    g_max: Annotated[float, Field(gt=0, description="largest conductance, uS")] = 40.0
    programming_noise_scale: Scale = 1.0
    read_noise: Annotated[
        float, Field(ge=0, le=1, description="standard deviation as a share of the conductance, at any time")
    ] = 0.01

    @property
    def t_0_s(self) -> float:
        """Time after writing of the first measurement, in s."""
        return 1.0


Device = Annotated[
    IdealDevice | PCMDevice | HermesDevice | StateIndependentDevice | ReRAMDevice,
    Field(discriminator="kind"),
]


class SinglePair(Model):
    """Each weight is the difference of two devices."""

    kind: Literal["single"] = "single"


class DualPair(Model):
    """Each weight is held by two pairs; the second counts less and corrects what the first has missed.

    ``w = w1 + w2 / significance``: the first pair is written and read, and then the second one. Source:
    Mackin et al., Advanced Electronic Materials 5, 1900026 (2019).
    """

    kind: Literal["dual"] = "dual"
    significance: Annotated[
        float, Field(ge=1, le=1024, description="how much less the second pair counts")
    ] = 8.0


Pairs = Annotated[SinglePair | DualPair, Field(discriminator="kind")]


class DynamicRange(Model):
    """Input range of each token: its own largest absolute value."""

    kind: Literal["dynamic"] = "dynamic"


class StaticRange(Model):
    """One input range for each set of tiles with the same inputs, calibrated on samples: what a chip does.

    ``max`` takes the largest absolute value seen, ``quantile`` that quantile of the absolute values, and
    ``moving_std`` a running average of ``num_std`` standard deviations.
    """

    kind: Literal["static"] = "static"
    method: Annotated[
        Literal["max", "quantile", "moving_std"], Field(description="how the range is found")
    ] = "quantile"
    quantile: Annotated[float, Field(gt=0.5, le=1, description="for quantile")] = 0.9995
    num_std: Annotated[float, Field(gt=0, description="standard deviations, for moving_std")] = 4.0
    momentum: Annotated[float, Field(gt=0, le=1, description="share of the newest batch, for moving_std")] = (
        0.1
    )
    batches: Annotated[int, Field(ge=1, description="calibration batches")] = 16


InputRange = Annotated[DynamicRange | StaticRange, Field(discriminator="kind")]


class DAC(Model):
    """Input converter."""

    bits: Resolution = 8
    input_range: InputRange = DynamicRange()


class ADC(Model):
    """Output converter; its full scale is in units of (largest weight x largest input) of the tile."""

    bits: Resolution = 8
    output_range: Annotated[
        float, Field(gt=0, description="full scale, in units of (largest weight x largest input)")
    ] = 12.0
    gain_spread: Annotated[
        float, Field(ge=0, le=1, description="standard deviation of the converters' gains, for each chip")
    ] = 0.0


Rate = Annotated[float, Field(ge=0, le=1, description="share of all devices")]


class Faults(Model):
    """Shares of devices that hold one value for ever, drawn for each chip.

    A row is stuck with both devices of its pairs; of a column, each polarity has devices of its own.
    """

    unit: Annotated[
        Literal["cell", "row", "column", "tile"], Field(description="what is stuck as a whole")
    ] = "cell"
    known: Annotated[
        bool,
        Field(
            description="a test of the chip has found them, and they are avoided: by spare tiles, by the "
            "lines that do least harm, by the other device of the pair"
        ),
    ] = False

    stuck_at_zero: Rate = 0.0
    stuck_at_g_max: Rate = 0.0
    stuck_at_random: Annotated[
        Rate, Field(description="share of all devices; the value is uniform between 0 and g_max")
    ] = 0.0

    @property
    def share(self) -> float:
        """Of all devices, those that are stuck."""
        return self.stuck_at_zero + self.stuck_at_g_max + self.stuck_at_random

    @model_validator(mode="after")
    def _no_more_than_all(self) -> Faults:
        if self.share > 1:
            raise ValueError(f"faults: the shares add up to {self.share:g}, and there is no more than 1")
        return self


_NO_PHYSICS = {"name", "description", "placement", "chip", "cluster"}


class Hardware(Model):
    """A complete description of the analog hardware."""

    name: Annotated[str, Field(description="in tables and messages")] = "pcm"
    description: Annotated[str, Field(description="one line")] = ""
    tile: TileSize = TileSize()
    mapping: Mapping = Mapping()
    placement: Placement = Placement()
    chip: Chip = Chip()
    cluster: Cluster = Cluster()
    device: Device = PCMDevice()
    pairs: Pairs = SinglePair()
    dac: DAC = DAC()
    adc: ADC = ADC()
    faults: Faults = Faults()
    output_noise: Annotated[
        float, Field(ge=0, description="standard deviation, in units of (largest weight x largest input)")
    ] = 0.04
    drift_compensation: Annotated[
        Literal["none", "global", "per_column"],
        Field(description="a digital factor for each tile, or each column"),
    ] = "global"
    read_noise_per: Annotated[
        Literal["time", "mvm"], Field(description="draw read noise once per evaluation time, or per product")
    ] = "time"

    def digest(self) -> str:
        """SHA-256 of the physics described; name, prose, placement, time and energy do not count."""
        return digest_of(self.essentials(_NO_PHYSICS))

    def mapping_digest(self) -> str:
        """SHA-256 of what fixes the programmed targets: tile size, mapping and ``g_max``."""
        return digest_of(
            {
                "tile": self.tile.essentials(),
                "mapping": self.mapping.essentials(),
                "g_max": self.device.g_max,
            }
        )
