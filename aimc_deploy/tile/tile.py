"""One crossbar holding one block of a weight matrix, through its life: map, program, drift.

The three states are three small immutable objects, so that a tile cannot be drifted before it is
programmed and programming again never starts from noisy weights.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from aimc_deploy.physics.compensation import compensation_factor, read_out
from aimc_deploy.physics.conductance import to_conductance, to_weight, weight_scale
from aimc_deploy.physics.device import DeviceModel
from aimc_deploy.physics.faults import Stuck
from aimc_deploy.physics.random import Stream
from aimc_deploy.tile.defects import Defects
from aimc_deploy.tile.lines import Lines
from aimc_deploy.tile.pair import ProgrammedPair


@dataclass(frozen=True)
class Tile:
    """Targets of one block: what the chip is asked to hold.

    Attributes:
        g_plus, g_minus: target conductances of the differential pair, (cols, rows), uS.
        w_scale: digital scale of each column, applied after the ADC.
        g_max: conductance that stands for a normalised weight of 1, uS.
        idle_rows: rows of the crossbar that other blocks drive at the same time as these.
        room: columns and rows of the crossbar that the block may be put on; None: as many as it has.
    """

    g_plus: Float[Tensor, "cols rows"]
    g_minus: Float[Tensor, "cols rows"]
    w_scale: Float[Tensor, " cols"]
    g_max: float
    idle_rows: int = 0
    room: tuple[int, int] | None = None

    @classmethod
    def map(
        cls, weight: Float[Tensor, "cols rows"], scale: str, g_max: float, largest: float | None = None
    ) -> Tile:
        """Targets for a block of clipped weights; ``scale`` is ``column`` or ``tile``.

        Args:
            largest: absolute weight on the crossbar, whose scale the block takes; None for its own scales.
        """
        w_scale = weight_scale(weight, scale)
        if largest is not None:
            w_scale = torch.full_like(w_scale, largest if largest >= torch.finfo(w_scale.dtype).tiny else 1.0)
        g_plus, g_minus = to_conductance(weight / w_scale.unsqueeze(1), g_max)
        return cls(g_plus, g_minus, w_scale, g_max)

    def to(self, device: torch.device) -> Tile:
        """The same targets on another torch device."""
        return replace(
            self,
            g_plus=self.g_plus.to(device),
            g_minus=self.g_minus.to(device),
            w_scale=self.w_scale.to(device),
        )

    def weight(self) -> Float[Tensor, "cols rows"]:
        """The weights that the targets stand for."""
        return to_weight(self.g_plus, self.g_minus, self.g_max) * self.w_scale.unsqueeze(1)

    def program(
        self,
        model: DeviceModel,
        noise: Stream,
        defects: Defects | None = None,
        *,
        significance: float | None = None,
    ) -> ProgrammedTile:
        """Write the targets into one chip's devices.

        Args:
            significance: of the first pair against the second, where each weight has two.
        """
        known = defects is not None and defects.faults.known
        stuck, lines = self._stuck(defects), None
        if stuck is not None:
            lines = self._lines(stuck, known)
            stuck = lines.of(stuck)
        pair = ProgrammedPair.program(self.g_plus, self.g_minus, model, noise, stuck, known=known)
        fine = None
        if significance is not None:
            wanted = to_weight(self.g_plus, self.g_minus, self.g_max)
            missed = wanted.sub_(pair.weight()).mul_(significance).clamp_(-1, 1)
            stuck = self._stuck(defects)
            if stuck is not None and lines is not None:
                stuck = lines.of(stuck)
            targets = to_conductance(missed, self.g_max)
            fine = ProgrammedPair.program(*targets, model, noise, stuck, known=known)
        idle = None
        if self.idle_rows:
            empty = self.g_plus.new_zeros(self.g_plus.shape[0], self.idle_rows)
            stuck = None if defects is None else defects.stuck(empty, self.g_max)
            idle = ProgrammedPair.program(empty, empty, model, noise, stuck)
        gains = None if defects is None else defects.gains(len(self.g_plus))
        return ProgrammedTile(pair, fine, significance or 1.0, idle, gains)

    def _stuck(self, defects: Defects | None) -> Stuck | None:
        """The stuck devices of all lines that the block may be put on."""
        if defects is None:
            return None
        return defects.stuck(self.g_plus.new_empty(self.room or self.g_plus.shape), self.g_max)

    def _lines(self, stuck: Stuck, known: bool) -> Lines:
        """The lines that the block is put on."""
        if known:
            return Lines.of_least_harm(self.g_plus - self.g_minus, self.w_scale, stuck, self.g_max)
        cols, rows = self.g_plus.shape
        return Lines.first(cols, rows, self.g_plus.device)


@dataclass(frozen=True)
class ProgrammedTile:
    """What one chip's tile holds right after programming.

    Attributes:
        pair: the devices of the weights.
        fine: a second pair for each weight, which counts ``1 / significance``; None where there is one.
        idle: cells that hold nothing, in the rows that other blocks of the tile drive at the same time.
        gains: of the ADC of each column, or None where all are 1.
    """

    pair: ProgrammedPair
    fine: ProgrammedPair | None = None
    significance: float = 1.0
    idle: ProgrammedPair | None = None
    gains: Float[Tensor, " cols"] | None = None

    def weight(self) -> Float[Tensor, "cols rows"]:
        """Normalised weights right after programming: the reference of the compensation."""
        weight = self.pair.weight()
        return weight if self.fine is None else weight.add_(self.fine.weight(), alpha=1 / self.significance)

    def drift(
        self,
        t_inference_s: float,
        compensation: str,
        noise: Stream,
        *,
        read_per_mvm: bool = False,
    ) -> DriftedTile:
        """The tile ``t_inference_s`` seconds after programming, read once.

        With ``read_per_mvm`` the conductances carry no read noise; its variance is kept and drawn anew
        for every product instead.
        """
        weight, variance = self.pair.read(t_inference_s, noise, per_mvm=read_per_mvm)
        if self.fine is not None:
            fine, of_fine = self.fine.read(t_inference_s, noise, per_mvm=read_per_mvm)
            weight.add_(fine, alpha=1 / self.significance)
            if variance is not None and of_fine is not None:
                variance.add_(of_fine, alpha=1 / self.significance**2)
        reference, now = read_out(self.weight()), read_out(weight)
        factor = compensation_factor(reference, now, compensation)
        if self.idle is not None:
            crosstalk = self._crosstalk(self.idle, t_inference_s, noise, per_mvm=read_per_mvm)
            variance = crosstalk.expand_as(weight) if variance is None else variance.add_(crosstalk)
        if self.gains is not None:
            # Of reference and read-out alike, so that the factor knows nothing of them.
            weight.mul_(self.gains.unsqueeze(1))
        return DriftedTile(weight, factor, variance, reference, now)

    def _crosstalk(
        self, idle: ProgrammedPair, t_inference_s: float, noise: Stream, *, per_mvm: bool
    ) -> Float[Tensor, "cols 1"]:
        """What cells without a weight add to a column, as a variance for each of its own cells.

        The inputs that the other blocks have at that time are another token's and not known here. They are
        taken to be as large as this block's own, and as good as random.
        """
        weight, variance = idle.read(t_inference_s, noise, per_mvm=per_mvm)
        squares = weight.square_() if variance is None else weight.square_().add_(variance)
        return squares.sum(dim=1, keepdim=True) / self.pair.g_plus.shape[1]


@dataclass(frozen=True)
class DriftedTile:
    """What a product sees.

    Attributes:
        weight: normalised weights, (cols, rows), drifted and read.
        compensation: digital factor of each column.
        read_variance: variance of the normalised weights from product to product, or None.
        reference, now: read-out of each column right after programming and now; the factor follows from them.
    """

    weight: Float[Tensor, "cols rows"]
    compensation: Float[Tensor, " cols"]
    read_variance: Float[Tensor, "cols rows"] | None
    reference: Float[Tensor, " cols"]
    now: Float[Tensor, " cols"]
