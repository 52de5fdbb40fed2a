"""Residual learning and its relatives on quadratic problems, against closed forms and measured figures."""

from __future__ import annotations

import pytest
import torch
from quadratic import descend, problems, signs

from aimc_deploy.config import algorithm as config
from aimc_deploy.config.training_device import TrainingDevice
from aimc_deploy.training.algorithms import build


def device(**changes: object) -> TrainingDevice:
    return TrainingDevice.model_validate({"tau": 1.0, "dw_min": 1e-3, **changes})


IDEAL = device(response={"kind": "ideal"}, tau=100.0)


def residual(**changes: object) -> config.Residual:
    return config.Residual.model_validate({"gamma": 0.5, **changes})


def noise(seed: int = 0):
    return signs(torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("lr", "expected"), [(0.04, 0.366), (0.02, 0.375), (0.01, 0.382)])
def test_what_is_left_of_the_bias(lr: float, expected: float) -> None:
    """h = sigma = tau = 1, w* = 0.4, beta = alpha / 5: where Analog SGD ends at 0.2.

    The figures are of another program. Standard errors: 0.0015, 0.0011, 0.0007.
    """
    algorithm = problems(residual(transfer_lr=lr / 5), device(), 1000)
    algorithm.w.set(torch.full((1000, 1), 0.37, dtype=torch.float64))
    steps = round(16 / lr)
    found = descend(algorithm, steps, lr, sigma=1.0, noise=noise(), last=steps // 2)
    assert found.mean().item() == pytest.approx(expected, abs=0.003)


def test_the_bias_is_what_the_size_of_the_residual_makes_it() -> None:
    """``w* - W = (Sigma / h tau) E|P| R(W)``, and so falls with about the root of the learning rate.

    Standard errors: 4 % of each side, 5 % of the ratio.
    """
    found = {}
    for lr in (0.04, 0.01):
        algorithm = problems(residual(transfer_lr=lr / 5), device(), 1500)
        algorithm.w.set(torch.full((1500, 1), 0.37, dtype=torch.float64))
        steps = round(10 / lr)
        mean = descend(algorithm, steps, lr, sigma=1.0, noise=noise(), last=steps // 2).mean()
        size = algorithm.p.weight().abs().mean()
        bias = (0.4 - mean).item()
        assert bias == pytest.approx((size * algorithm.w.weight().mean()).item(), rel=0.15)
        found[lr] = bias
    assert 1.6 < found[0.04] / found[0.01] < 2.2


@pytest.mark.parametrize("c", [0.1, 0.2, 0.3])
def test_a_wrong_zero_costs_what_it_is_off(c: float) -> None:
    """``W - w* = Sigma c / h`` where the residual's symmetric point is ``c tau`` and taken for 0.

    Standard error: 0.0005.
    """
    algorithm = problems(residual(transfer_lr=0.004), IDEAL, 1500, residual_device=device(bias=c))
    algorithm.w.set(torch.full((1500, 1), 0.4, dtype=torch.float64))
    found = descend(algorithm, 1000, 0.02, sigma=0.5, noise=noise(), last=500).mean().item()
    assert found - 0.4 == pytest.approx(0.5 * c, abs=0.002)


@pytest.mark.parametrize(
    "how", [{"kind": "oracle"}, {"kind": "zero_shift", "pulses": 6000}], ids=lambda h: h["kind"]
)
def test_a_calibrated_zero_costs_nothing(how: dict[str, object]) -> None:
    algorithm = problems(
        residual(transfer_lr=0.004, calibration=how), IDEAL, 4000, residual_device=device(bias=0.3)
    )
    algorithm.w.set(torch.full((4000, 1), 0.4, dtype=torch.float64))
    found = descend(algorithm, 1000, 0.02, sigma=0.5, noise=noise(), last=600).mean().item()
    assert found == pytest.approx(0.4, abs=0.0012)  # standard error 0.0003


def test_a_calibration_with_an_error_keeps_it() -> None:
    how = {"kind": "oracle", "error_mean": 0.1, "error_spread": 0.05}
    algorithm = problems(residual(calibration=how), IDEAL, 20000, residual_device=device(bias=0.3))
    assert algorithm.q.mean().item() == pytest.approx(0.4, abs=0.002)
    assert algorithm.q.std().item() == pytest.approx(0.05, rel=0.03)


@pytest.mark.parametrize(
    ("c", "calibrated", "converges"), [(0.1, False, True), (0.3, False, False), (0.3, True, True)]
)
def test_interpolation_in_many_dimensions(c: float, calibrated: bool, converges: bool) -> None:
    """Where the noise fades with the error, all is well as long as ``c (2 / pi) sqrt(D)`` is below 1."""
    dimensions = 50
    draw = torch.Generator().manual_seed(0)
    target = torch.randn(1, dimensions, generator=draw, dtype=torch.float64) * 0.3
    described = residual(
        transfer_lr=0.002, columns=50, calibration={"kind": "oracle" if calibrated else "none"}
    )
    algorithm = build(
        described, IDEAL, (1, dimensions), 0, residual_device=device(tau=3.5, bias=c), dtype=torch.float64
    )
    for _ in range(3000):
        x = torch.randn(1, dimensions, generator=draw, dtype=torch.float64)
        algorithm.update(x, x @ (algorithm.weight() - target).T, 0.02)
    error = (algorithm.weight() - target).square().sum().item()
    assert (error < 1e-4) is converges, error
    assert (error > 0.5) is not converges, error


@pytest.mark.parametrize(("gamma", "expected"), [(0.0, 1.0), (0.1, 0.99**0.5 * 1.0), (0.4, 0.96**0.5)])
def test_only_a_share_of_the_residual_damps_it(gamma: float, expected: float) -> None:
    """Ideal devices without noise: the spectral radius of a step is ``sqrt(1 - alpha h gamma)``."""
    columns = []
    for p, w in ((1.0, 0.0), (0.0, 1.0)):
        algorithm = problems(residual(gamma=gamma, transfer_lr=0.1), IDEAL, 1, residual_device=IDEAL)
        algorithm.p.set(torch.full((1, 1), p, dtype=torch.float64))
        algorithm.w.set(torch.full((1, 1), w, dtype=torch.float64))
        descend(algorithm, 1, 0.1, target=0.0)
        columns.append([algorithm.p.weight().item(), algorithm.w.weight().item()])
    radius = torch.linalg.eigvals(torch.tensor(columns, dtype=torch.float64)).abs().max().item()
    assert radius == pytest.approx(expected, abs=1e-12)


def test_noisy_reads_bring_the_bias_back_and_an_average_takes_it_away() -> None:
    """``w* - W = (Sigma / h tau) E|P + eps| R(W)``; residual learning v2 writes an average of reads."""
    common = {"transfer_lr": 0.004, "read_noise": 0.3}
    algorithm = problems(residual(**common), device(), 1500)
    algorithm.w.set(torch.full((1500, 1), 0.3, dtype=torch.float64))
    mean = descend(algorithm, 1000, 0.01, sigma=0.3, noise=noise(), last=500).mean()
    size = algorithm.p.read(0.3).abs().mean()
    plain = (0.4 - mean).item()
    assert plain == pytest.approx((0.3 * size * algorithm.w.weight().mean()).item(), rel=0.15)
    v2 = config.ResidualV2(gamma=0.5, transfer_lr=0.02, read_noise=0.3, threshold=None)
    averaged = problems(v2, device(), 1500)
    averaged.w.set(torch.full((1500, 1), 0.35, dtype=torch.float64))
    mean = descend(averaged, 1600, 0.01, sigma=0.3, noise=noise(), last=600).mean()
    assert (0.4 - mean).item() < plain / 2


def test_one_pulse_at_a_time_ends_within_what_it_can_hold() -> None:
    """Residual learning v2: ``|W - w*| <= gamma dw``, and the weight that computes is better."""
    gamma, dw = 0.5, 0.02
    v2 = config.ResidualV2(gamma=gamma, transfer_lr=0.05)
    algorithm = problems(v2, device(dw_min=dw), 7, residual_device=device())
    targets = torch.linspace(0.1, 0.4, 7, dtype=torch.float64)[:, None]
    x = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(4000):
        algorithm.update(x, (algorithm.weight() - targets).T, 0.05)
    assert (algorithm.w.weight() - targets).abs().max() <= gamma * dw + 1e-6
    assert (algorithm.weight() - targets).abs().max() < 1e-3


def test_the_figures_of_the_reference_implementation() -> None:
    """Compiled aihwkit 1.2.0's TransferCompound: 0.377 with gamma 0 and 0.382 with 0.4, of 0.4."""
    for gamma, expected in ((0.0, 0.377), (0.4, 0.382)):
        algorithm = problems(residual(gamma=gamma, transfer_lr=0.002), device(), 1500)
        algorithm.w.set(torch.full((1500, 1), 0.37, dtype=torch.float64))
        found = descend(algorithm, 1500, 0.01, sigma=1.0, noise=noise(), last=900).mean().item()
        assert found == pytest.approx(expected, abs=0.002)  # standard error 0.0006


def test_changing_signs_find_a_zero_that_nobody_calibrated() -> None:
    """E-RIDER against residual learning with the same wrong zero."""
    uncalibrated, target = device(bias=0.3), 0.3
    errors = {}
    for name, described in {
        "residual": residual(gamma=0.1, transfer_lr=0.004),
        "e_rider": config.ERider(gamma=0.1, transfer_lr=0.004, flip_probability=0.02, follow=0.05),
    }.items():
        algorithm = problems(described, IDEAL, 500, residual_device=uncalibrated)
        algorithm.w.set(torch.full((500, 1), target, dtype=torch.float64))
        found = descend(algorithm, 3000, 0.02, target=target, sigma=1.0, noise=noise(), last=1000)
        errors[name] = abs(found.mean().item() - target)
    assert errors["residual"] > 0.2
    assert errors["e_rider"] < 0.03


def test_agad_finds_the_zero_that_nobody_calibrated() -> None:
    """Against Tiki-Taka v2 with the same wrong zero, which is off by ``Sigma c / h``."""
    errors = []
    for described in (
        config.TTv2(transfer_lr=0.02),
        config.AGAD(transfer_lr=0.02, flip_probability=0.3),
    ):
        pulsed = device(response={"kind": "ideal"}, dw_min=0.005)
        algorithm = problems(described, pulsed, 300, residual_device=device(bias=0.3))
        found = descend(algorithm, 2000, 0.05, target=0.1, sigma=0.5, noise=noise(), last=1000)
        errors.append(abs(found.mean().item() - 0.1))
    assert errors[0] == pytest.approx(0.5 * 0.3, rel=0.12)
    assert errors[1] < errors[0] / 3


def test_changing_signs_average_an_offset_away() -> None:
    """An offset of ``P`` without any gradient: Tiki-Taka v2 adds it up, chopped it hardly moves ``W``."""
    moved = {}
    for described in (config.TTv2(), config.ChoppedTTv2(flip_probability=0.3)):
        algorithm = build(
            described.model_copy(update={"columns": 50, "transfer_lr": 0.02}), IDEAL, (4, 50), 0
        )
        algorithm.p.set(torch.full((4, 50), 0.3))  # type: ignore[union-attr]
        for _ in range(300):
            algorithm.update(torch.zeros(1, 50), torch.zeros(1, 4), 0.1)
        moved[described.kind] = abs(algorithm.weight().mean().item())
    # One pulse at most for each visit of a column.
    assert moved["tt_v2"] == pytest.approx(300 * IDEAL.step, rel=0.02)
    assert moved["chopped_tt_v2"] < moved["tt_v2"] / 10


def test_more_arrays_hold_more_with_few_states() -> None:
    """Devices of four states: the error falls with every array."""
    few = device(dw_min=0.5)
    errors = []
    for tiles in (2, 3, 4):
        described = config.MultiTile(tiles=tiles, gamma=0.5, transfer_lr=0.1, every=20)
        algorithm = problems(described, few, 400)
        generator = torch.Generator().manual_seed(0)
        targets = torch.rand(400, 1, generator=generator, dtype=torch.float64) - 0.5
        x = torch.ones(1, 1, dtype=torch.float64)
        squares = []
        for step in range(1500):
            algorithm.update(x, (algorithm.weight() - targets).T, 0.05)
            if step >= 1000 and step % 20 == 0:
                squares.append((algorithm.weight() - targets).square().mean())
        errors.append(torch.stack(squares).mean().sqrt().item())
    assert errors[0] > errors[1] > errors[2], errors


def test_mixed_precision_holds_the_weight_within_a_pulse() -> None:
    algorithm = problems(config.MixedPrecision(), device(dw_min=0.05), 7)
    targets = torch.linspace(-0.4, 0.4, 7, dtype=torch.float64)[:, None]
    x = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(300):
        algorithm.update(x, (algorithm.weight() - targets).T, 0.1)
    assert (algorithm.weight() - targets).abs().max() <= 0.05 * 1.4
