"""A linear layer whose matrix sits on analog tiles."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aimc_deploy.config.hardware import Hardware
from aimc_deploy.physics.conductance import clip_weights, weight_scale
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.random import Stream, derive_seed, stream
from aimc_deploy.tile.grid import Grid, ProgrammedGrid, Segment
from aimc_deploy.tile.mvm import mvm
from aimc_deploy.tile.periphery import Periphery


class AnalogLinear(nn.Linear):
    """``nn.Linear`` computed by tiles; a subclass of it, so that PEFT wraps it like any other.

    ``weight`` holds the meta-weights: what the tiles were asked to hold. It is frozen, and nothing here
    ever writes to it. The forward pass is one of

    - digital: the plain product with the meta-weights (before :meth:`program`, the default);
    - a chip: one programmed instance at one time (:meth:`program`, then :meth:`drift`; or
      :meth:`sample_chip`, for training);
    - simulated: converters and output noise around the meta-weights, with fresh weight noise in each pass
      (:meth:`simulate`, for training as published).

    Attributes:
        name: name of the layer in the model; seeds its noise.
        grid: the mapped tiles.
        input_ranges: static DAC range of each set of rows, or None for each row's own.
        bypassed: compute the plain product for now; the chip stays as it is.
        places: tile, first row and first column of each block; None for a tile of its own each.
    """

    def __init__(self, grid: Grid, bias: Tensor | None, name: str, hardware: Hardware) -> None:
        layout = grid.layout
        super().__init__(layout.rows, layout.cols, bias=bias is not None, device="meta")
        self.weight = nn.Parameter(grid.weight(), requires_grad=False)
        if bias is not None:
            self.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
        self.name = name
        self.grid = grid
        self.register_buffer("w_scale", grid.w_scale(), persistent=False)
        self.input_ranges: list[float] | None = None
        self.bypassed = False
        self.places: tuple[tuple[int, int, int], ...] | None = None
        self.set_hardware(hardware)

    def set_hardware(self, hardware: Hardware) -> None:
        """Take other converters, noise and compensation; what was programmed is forgotten.

        Raises:
            ValueError: the targets were mapped for another ``g_max``.
        """
        mapped, asked = self.grid.tiles[0].g_max, hardware.device.g_max
        if mapped != asked:
            raise ValueError(
                f"layer '{self.name}' is mapped for g_max {mapped:g} uS, not {asked:g} uS: map again"
            )
        self.hardware = hardware
        self.periphery = Periphery.of(hardware)
        self.digital()

    def digital(self) -> None:
        """Compute the plain product, without any hardware."""
        self._programmed: ProgrammedGrid | None = None
        self._segments: list[Segment] | None = None
        self._noise: Stream | None = None
        self._weight_noise: float | None = None

    def simulate(self, weight_noise: float) -> None:
        """Compute as in the published hardware-aware training.

        Args:
            weight_noise: standard deviation as a share of the tile's largest weight, drawn anew in each
                pass in training mode.
        """
        self.digital()
        self._weight_noise = weight_noise

    def sample_chip(self, youngest_s: float, oldest_s: float, *names: str | int, level: float = 1.0) -> None:
        """Become part of a chip of no further use: programmed for ``names``, at an age of the layer's own.

        The device says how ages are spread. Nothing is kept that only another time would need.

        Args:
            level: how far weights and scales are from their targets, as a share of what the chip's are.
        """
        self.digital()
        model = device_model(self.hardware.device)
        names = (*names, self.name)
        share = derive_seed(*names, "age") / 2**63
        age_s = model.draw_age_s(share, youngest_s, oldest_s)
        programmed = self.grid.to(self.weight.device).program(model, *names, hardware=self.hardware)
        segments = programmed.drift(age_s, self.hardware)
        if level != 1:
            segments = [self._at_level(*found, level) for found in enumerate(segments)]
        self._segments = segments
        self._noise = stream(self.weight.device, *names, "output")

    def program(self, seed: int, chip: int) -> None:
        """Write the targets into the devices of chip number ``chip``; nothing of an earlier chip stays.

        The chip lives on the torch device that the layer is on now.
        """
        self.digital()
        model = device_model(self.hardware.device)
        targets = self.grid.to(self.weight.device)
        self._programmed = targets.program(model, seed, "chip", chip, self.name, hardware=self.hardware)

    def drift(self, t_inference_s: float, *reading: str | int) -> None:
        """Move the programmed chip to ``t_inference_s`` seconds after programming.

        Args:
            reading: names another reading of the conductances at that time; read and output noise differ.

        Raises:
            RuntimeError: nothing is programmed.
        """
        if self._programmed is None:
            raise RuntimeError(
                f"layer '{self.name}' is not programmed: call program(chip) before drift(time)"
            )
        self._segments = self._programmed.drift(t_inference_s, self.hardware, *reading)
        names = (*self._programmed.names, "output", float(t_inference_s), *reading)
        self._noise = stream(self.weight.device, *names)

    def draw_apart(self, part: int) -> None:
        """Draw what each product draws anew, output noise and its like, from a stream of ``part``'s own.

        Several processes that compute parts of a batch on one chip would repeat each other's noise.
        """
        if self._noise is not None and self._noise.seed is not None:
            self._noise = stream(self._noise.device, self._noise.seed, "part", part)

    def forward(self, input: Float[Tensor, "*batch rows"]) -> Float[Tensor, "*batch cols"]:
        if self.bypassed:
            return nn.functional.linear(input, self.weight, self.bias)
        if self._segments is not None:
            return self._through(input, self._segments, self._noise)
        if self._weight_noise is not None:
            noise = Stream(input.device, None)
            return self._through(input, self._simulated(self._weight_noise, noise), noise)
        return nn.functional.linear(input, self.weight, self.bias)

    def _through(self, x: Tensor, segments: list[Segment], noise: Stream | None) -> Tensor:
        """Row segments through their own converters, summed digitally onto the bias."""
        total: Tensor | None = self.bias
        for index, (rows, segment) in enumerate(zip(self.grid.layout.row_slices, segments, strict=True)):
            total = mvm(
                x[..., rows],
                segment.weight,
                self.periphery,
                input_range=None if self.input_ranges is None else self.input_ranges[index],
                read_variance=segment.read_variance,
                out_scale=segment.out_scale,
                onto=total,
                noise=noise,
            )
        assert total is not None
        return total

    def _at_level(self, index: int, segment: Segment, level: float) -> Segment:
        """A segment between its target and what it is, or beyond."""
        weight, scale = self._normalised(index, self.grid.layout.row_slices[index])
        return replace(
            segment,
            weight=torch.lerp(weight, segment.weight, level),
            out_scale=torch.lerp(scale, segment.out_scale, level),
        )

    def _simulated(self, weight_noise: float, noise: Stream) -> list[Segment]:
        """The weights with fresh weight noise."""
        segments = []
        for index, rows in enumerate(self.grid.layout.row_slices):
            weight, scale = self._normalised(index, rows)
            if weight_noise > 0 and self.training:
                weight = weight + noise.normal_like(weight).mul_(weight_noise)
            segments.append(Segment(weight, scale))
        return segments

    def _normalised(self, index: int, rows: slice) -> tuple[Tensor, Tensor]:
        """Normalised weights of a set of rows and the scale of each column.

        Where all weights are being retrained the tiles do not hold them yet: clip and scale follow the
        weights, as the mapping will when it is done.
        """
        if not self.weight.requires_grad:
            scale = self.w_scale[index]
            return self.weight[:, rows] / scale.unsqueeze(1), scale
        mapping = self.hardware.mapping
        weight = clip_weights(self.weight, mapping.clip)[:, rows]
        scale = weight_scale(weight.detach(), mapping.scale)
        return weight / scale.unsqueeze(1), scale
