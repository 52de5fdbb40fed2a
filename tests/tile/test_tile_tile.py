"""One crossbar through its life: map, program, drift."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor

from aimc_deploy.config.hardware import HermesDevice, IdealDevice, PCMDevice
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.drift import PowerLaw
from aimc_deploy.physics.random import stream
from aimc_deploy.tile.pair import ProgrammedPair
from aimc_deploy.tile.tile import ProgrammedTile, Tile

YEAR = 31_536_000.0


@dataclasses.dataclass(frozen=True)
class UniformDrift(PowerLaw):
    """A device without noise in which every cell drifts alike."""

    nu: float
    g_max: float = 25.0
    t_0_s: float = 20.0

    def sigma_programming(self, rel: Tensor) -> Tensor:
        return torch.zeros_like(rel)

    def drift_exponent(self, rel: Tensor, normal: Tensor) -> Tensor:
        return torch.full_like(rel, self.nu)

    def sigma_read(self, rel: Tensor, t_s: float) -> Tensor:
        return torch.zeros_like(rel)


def programmed(
    weight: Tensor, device: PCMDevice | HermesDevice | IdealDevice, seed: int = 0
) -> ProgrammedTile:
    model = device_model(device)
    tile = Tile.map(weight, "column", model.g_max)
    return tile.program(model, stream("cpu", seed))


@pytest.mark.parametrize(("scale", "expected"), [("column", [0.4, 0.2]), ("tile", [0.4, 0.4])])
def test_targets_worked_out_by_hand(scale: str, expected: list[float]) -> None:
    tile = Tile.map(torch.tensor([[0.4, -0.1], [-0.2, 0.1]]), scale, 20.0)
    assert tile.w_scale.tolist() == pytest.approx(expected)
    second = 20.0 if scale == "column" else 10.0
    assert tile.g_plus.flatten().tolist() == pytest.approx([20.0, 0.0, 0.0, second / 2])
    assert tile.g_minus.flatten().tolist() == pytest.approx([0.0, 5.0, second, 0.0])


@pytest.mark.parametrize("scale", ["column", "tile"])
@pytest.mark.parametrize("g_max", [10.35, 20.7, 25.0])
def test_targets_lie_between_zero_and_g_max(weight: Tensor, scale: str, g_max: float) -> None:
    tile = Tile.map(weight, scale, g_max)
    both = torch.stack([tile.g_plus, tile.g_minus])
    assert float(both.min()) == 0.0
    assert float(both.max()) == pytest.approx(g_max, rel=1e-6)
    assert torch.allclose(tile.weight(), weight, rtol=1e-6, atol=0)


def test_a_column_of_zeros_is_mapped_to_devices_that_are_off() -> None:
    tile = Tile.map(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), "column", 25.0)
    assert tile.g_plus[0].tolist() == tile.g_minus[0].tolist() == [0.0, 0.0]
    assert tile.weight().tolist() == [[0.0, 0.0], [1.0, 0.0]]


def test_the_states_are_immutable_and_come_in_order(weight: Tensor) -> None:
    tile = Tile.map(weight, "column", 25.0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        tile.g_max = 30.0  # type: ignore[misc]
    assert not hasattr(tile, "drift"), "nothing drifts before it is programmed"
    chip = programmed(weight, PCMDevice())
    assert not hasattr(chip, "program"), "a programmed tile cannot be programmed again from noisy weights"


def test_programming_and_drifting_change_no_earlier_state(weight: Tensor) -> None:
    model = device_model(PCMDevice())
    tile = Tile.map(weight, "column", model.g_max)
    targets = [tensor.clone() for tensor in (tile.g_plus, tile.g_minus, tile.w_scale)]
    chip = tile.program(model, stream("cpu", 0))
    fields = ("g_plus", "g_minus", "ageing_plus", "ageing_minus")
    held = [getattr(chip.pair, name).clone() for name in fields]
    for per_mvm in (False, True):
        chip.drift(YEAR, "global", stream("cpu", 1), read_per_mvm=per_mvm)
    for before, after in zip(targets, (tile.g_plus, tile.g_minus, tile.w_scale), strict=True):
        assert torch.equal(before, after)
    for before, name in zip(held, fields, strict=True):
        assert torch.equal(before, getattr(chip.pair, name))


def test_both_devices_of_the_pair_are_written(weight: Tensor) -> None:
    # Devices that are off get noise too, in both halves, and the halves are independent.
    chip = programmed(torch.zeros(200, 200), PCMDevice())
    for half in (chip.pair.g_plus, chip.pair.g_minus):
        share = float((half > 0).double().mean())
        assert abs(share - 0.5) < 4 * 0.5 / 200
    correlation = float(
        torch.corrcoef(torch.stack([chip.pair.g_plus.flatten(), chip.pair.g_minus.flatten()]))[0, 1]
    )
    assert abs(correlation) < 4 / 200
    nu = torch.corrcoef(torch.stack([chip.pair.ageing_plus.flatten(), chip.pair.ageing_minus.flatten()]))
    assert abs(float(nu[0, 1])) < 4 / 200


def test_the_pair_holds_the_normalised_weight_on_average() -> None:
    count = 40_000
    # Devices at 10 uS and 0 uS: the error is that of both, the second a rectified normal.
    model = device_model(PCMDevice())
    weight = torch.full((1, count), 0.4)
    weight[0, 0] = 1.0  # fixes the scale
    values = programmed(weight, PCMDevice()).weight()[0, 1:].double()
    on, off = (float(model.sigma_programming(torch.tensor(rel))) / 25 for rel in (0.4, 0.0))
    mean = 0.4 - off / math.sqrt(2 * math.pi)
    std = math.sqrt(on**2 + off**2 * (0.5 - 0.5 / math.pi))
    assert abs(float(values.mean()) - mean) < 4 * std / math.sqrt(count)
    assert abs(float(values.std()) - std) < 4 * std / math.sqrt(2 * count)


def test_a_quiet_tile_at_zero_seconds_is_as_programmed(weight: Tensor) -> None:
    chip = programmed(weight, PCMDevice(read_noise_scale=0.0))
    drifted = chip.drift(0.0, "global", stream("cpu"))
    assert torch.equal(drifted.weight, chip.weight())
    assert bool((drifted.compensation == 1).all())
    assert drifted.read_variance is None


@pytest.mark.parametrize("compensation", ["global", "per_column"])
@pytest.mark.parametrize("t_s", [0.0, 3600.0, 10 * YEAR])
def test_uniform_drift_is_undone_exactly(weight: Tensor, compensation: str, t_s: float) -> None:
    model = UniformDrift(nu=0.06)
    tile = Tile.map(weight, "column", model.g_max)
    drifted = tile.program(model, stream("cpu")).drift(t_s, compensation, stream("cpu"))
    left = ((t_s + 20.0) / 20.0) ** -0.06
    target = weight / tile.w_scale.unsqueeze(1)
    assert torch.allclose(drifted.weight, left * target, rtol=1e-5, atol=0)
    assert torch.allclose(drifted.compensation, torch.full((24,), 1 / left), rtol=1e-5)


def test_drift_is_counted_from_the_end_of_programming(weight: Tensor) -> None:
    for model in (UniformDrift(0.06, t_0_s=20.0), UniformDrift(0.06, t_0_s=300.0)):
        tile = Tile.map(weight, "tile", model.g_max)
        chip = tile.program(model, stream("cpu"))
        ratio = chip.drift(280.0, "none", stream("cpu")).weight.norm() / chip.weight().norm()
        assert float(ratio) == pytest.approx(((280.0 + model.t_0_s) / model.t_0_s) ** -0.06, rel=1e-5)


def test_the_reference_of_the_compensation_is_the_programmed_state(weight: Tensor) -> None:
    chip = programmed(weight, PCMDevice())
    drifted = chip.drift(YEAR, "global", stream("cpu", 4))
    expected = float(chip.weight().abs().mean() / drifted.weight.abs().mean())
    assert drifted.compensation.tolist() == pytest.approx([expected] * 24, rel=1e-5)
    columns = chip.drift(YEAR, "per_column", stream("cpu", 4))
    each = chip.weight().abs().mean(dim=1) / drifted.weight.abs().mean(dim=1)
    assert torch.allclose(columns.compensation, each, rtol=1e-5)
    assert bool((chip.drift(YEAR, "none", stream("cpu")).compensation == 1).all())


def test_the_read_variance_is_the_variance_of_single_readings() -> None:
    readings = 20_000
    # Both devices of every pair well above zero, so that the bound there does not matter.
    model = device_model(PCMDevice())
    g_plus, g_minus = torch.tensor([[20.0, 10.0]]), torch.tensor([[5.0, 15.0]])
    nu = torch.full((1, 2), 0.05)
    chip = ProgrammedTile(ProgrammedPair(g_plus, g_minus, nu, nu, model))
    noise = stream("cpu", 0)
    expanded = (value.expand(readings, 2) for value in (g_plus, g_minus, nu, nu))
    many = ProgrammedTile(ProgrammedPair(*expanded, model))
    seen = many.drift(YEAR, "none", noise).weight.double()
    quiet = chip.drift(YEAR, "none", noise, read_per_mvm=True)
    assert quiet.read_variance is not None
    variance = quiet.read_variance[0].double()
    assert bool(((seen.var(dim=0) - variance).abs() < 4 * variance * math.sqrt(2 / readings)).all())
    assert bool(((seen.mean(dim=0) - quiet.weight[0]).abs() < 4 * (variance / readings).sqrt()).all())


def test_reading_per_product_draws_nothing_while_drifting(weight: Tensor) -> None:
    chip = programmed(weight, PCMDevice())
    noise = stream("cpu", 0)
    first = chip.drift(YEAR, "global", noise, read_per_mvm=True)
    assert noise.next_key() == stream("cpu", 0).next_key()
    model = chip.pair.model
    left = [
        g * (nu * -math.log((YEAR + model.t_0_s) / model.t_0_s)).exp()
        for g, nu in ((chip.pair.g_plus, chip.pair.ageing_plus), (chip.pair.g_minus, chip.pair.ageing_minus))
    ]
    assert torch.allclose(first.weight, (left[0] - left[1]) / model.g_max, rtol=1e-5, atol=1e-7)
