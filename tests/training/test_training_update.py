"""From gradients to pulses: mean, spread, batches, and the three modes against each other."""

from __future__ import annotations

import pytest
import torch

from aimc_deploy.config.algorithm import Counts, Expected, Sequential
from aimc_deploy.config.training_device import IdealResponse, TrainingDevice
from aimc_deploy.errors import TrainingError
from aimc_deploy.training.array import Array
from aimc_deploy.training.update import coincidence_trains, update

DW = 1e-3


def array(shape: tuple[int, int], **changes: object) -> Array:
    described = TrainingDevice.model_validate({"tau": 1.0, "dw_min": DW, **changes})
    return Array(described, shape, 0, "update", dtype=torch.float64)


def batch(samples: int, outputs: int, inputs: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, inputs, generator=draw, dtype=torch.float64)
    d = torch.randn(samples, outputs, generator=draw, dtype=torch.float64)
    return x, d


def test_an_ideal_array_does_what_is_asked() -> None:
    x, d = batch(8, 5, 7)
    part = array((5, 7), response={"kind": "ideal"}, tau=100.0)
    update(part, x, d, 0.01, Expected())
    torch.testing.assert_close(part.weight(), -0.01 * d.T @ x, rtol=1e-12, atol=1e-12)


def test_pulses_of_different_samples_do_not_cancel() -> None:
    """Two samples that ask for opposite steps leave the weight, but for the pull to the symmetric point."""
    part = array((1, 1))
    part.set(torch.full((1, 1), 0.5, dtype=torch.float64))
    x, d = torch.ones(2, 1, dtype=torch.float64), torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    update(part, x, d, 0.01, Expected())
    assert part.weight().item() == pytest.approx(0.5 - 0.02 * 0.5, abs=1e-12)


def test_an_update_is_an_analog_update() -> None:
    x, d = batch(6, 4, 3)
    part = array((4, 3), response={"kind": "power", "gamma_res": 2.0}, spread={"tau": 0.2})
    start = torch.linspace(-0.5, 0.5, 12, dtype=torch.float64).view(4, 3)
    part.set(start)
    q = part.response()
    update(part, x, d, 1e-4, Expected())
    net, total = -1e-4 * d.T @ x, 1e-4 * d.abs().T @ x.abs()
    expected = start + net * q.symmetric(start) - total * q.asymmetric(start)
    torch.testing.assert_close(part.weight(), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("sigma", [0.0, 0.5])
def test_coincidences_have_the_mean_and_the_variance_of_their_probability(sigma: float) -> None:
    """Mean ``-lr d x``; variance ``BL p (1 - p) dw^2``, and ``BL p sigma^2 dw^2`` of cycle noise."""
    lr, count = 0.01, 40000
    x, d = torch.tensor([[0.8]], dtype=torch.float64), torch.tensor([[0.15]], dtype=torch.float64)
    part = array((1, 1), response={"kind": "ideal"}, cycle_to_cycle=sigma)
    trains = coincidence_trains(x.repeat(count, 1), d.repeat(count, 1), lr, DW, 31, part.generator).signed()
    pulses = (trains[0] * trains[1]).sum((1, 2))
    slots = trains[0].shape[1]
    assert slots == 2  # lr x d / dw is 1.2
    p = lr * 0.8 * 0.15 / DW / slots
    # 4e4 samples: standard errors of 0.3 % of the mean and 0.6 % of the variance
    assert pulses.mean().item() == pytest.approx(-slots * p, rel=0.01)
    assert pulses.var(unbiased=True).item() == pytest.approx(slots * p * (1 - p), rel=0.03)
    moved = array((count, 1), response={"kind": "ideal"}, cycle_to_cycle=sigma)
    moved.pulse(pulses[:, None])
    expected = (slots * p * (1 - p) + slots * p * sigma**2) * DW**2
    assert moved.weight().var().item() == pytest.approx(expected, rel=0.03)


def test_small_values_meet_seldom_but_as_often_as_they_should() -> None:
    lr, count = 0.01, 60000
    x, d = torch.tensor([[0.8, 0.1]], dtype=torch.float64), torch.tensor([[0.5, -0.05]], dtype=torch.float64)
    draw = torch.Generator().manual_seed(1)
    xs, ds = coincidence_trains(x.repeat(count, 1), d.repeat(count, 1), lr, DW, 31, draw).signed()
    mean = ds.flatten(0, 1).T @ xs.flatten(0, 1) / count
    torch.testing.assert_close(mean, -lr * d.T @ x / DW, rtol=0.03, atol=0.003)


def test_a_train_is_no_longer_than_allowed_and_cuts_the_gradient() -> None:
    x, d = torch.tensor([[1.0]], dtype=torch.float64), torch.tensor([[5.0]], dtype=torch.float64)
    xs, ds = coincidence_trains(x, d, 0.1, DW, 10, torch.Generator().manual_seed(0)).signed()
    assert xs.shape == (1, 10, 1)
    assert (xs * ds).sum().item() == -10  # every slot, and no more


def test_nothing_is_fired_for_a_sample_without_gradient() -> None:
    x, d = batch(3, 2, 2)
    d[1] = 0
    x[2] = 0
    xs, ds = coincidence_trains(x, d, 0.01, DW, 31, torch.Generator().manual_seed(0)).signed()
    assert xs[0].abs().sum() > 0
    assert xs[1].abs().sum() == ds[1].abs().sum() == 0
    assert xs[2].abs().sum() == 0
    part = array((2, 2))
    for how in (Expected(), Counts(), Sequential()):
        update(part, torch.zeros(3, 2).double(), d, 0.01, how)
    assert torch.equal(part.state, torch.zeros(2, 2).double())
    assert part.pulses == 0


def test_counting_agrees_with_going_pulse_by_pulse() -> None:
    """Mean within its standard error and the error of order; ratio of standard deviations 1 within 3 %."""
    lr, copies = 0.02, 1500
    x, d = batch(4, 1, 1, seed=3)
    found = {}
    for how in (Counts(), Sequential()):
        part = array((copies, 1), cycle_to_cycle=0.3)
        part.set(torch.full((copies, 1), 0.3, dtype=torch.float64))
        # Copies side by side share the pulses of their input: take runs one after the other, too.
        values = []
        for _ in range(25):
            part.set(torch.full((copies, 1), 0.3, dtype=torch.float64))
            update(part, x, d.repeat(1, copies), lr, how)
            values.append(part.weight().clone())
        found[how.kind] = torch.stack(values)
    asked = lr * (d.abs() * x.abs()).sum().item()
    counts, sequential = found["counts"], found["sequential"]
    spread = counts.mean(1).std().item() / 5 * 2**0.5
    assert abs(counts.mean() - sequential.mean()).item() < 3 * spread + asked * DW
    assert (counts.std(1).mean() / sequential.std(1).mean()).item() == pytest.approx(1, abs=0.03)


def test_counting_has_the_mean_of_expecting() -> None:
    x, d = batch(10, 40, 30)
    means = []
    for how in (Expected(), Counts()):
        part = array((40, 30))
        part.set(torch.full((40, 30), 0.4, dtype=torch.float64))
        for _ in range(60):
            update(part, x, d, 1e-4, how)
        means.append(part.weight())
    difference = (means[0] - means[1]).std()
    # The pull alone takes 0.015 off the mean; elements share pulses, so that it has an error of 0.0005.
    assert abs((means[0] - means[1]).mean()) < 1.5e-3
    assert difference < 0.1 * (means[0] - 0.4).std() + 5e-3
    assert torch.corrcoef(torch.stack([mean.flatten() for mean in means]))[0, 1] > 0.95


def test_pulses_are_counted() -> None:
    x, d = batch(5, 6, 7)
    expected, counts = array((6, 7)), array((6, 7))
    lr = 0.02
    update(expected, x, d, lr, Expected())
    asked = (lr * d.abs().T @ x.abs()).sum().item() / DW
    assert expected.pulses == pytest.approx(asked, rel=1e-9)
    for _ in range(20):
        update(counts, x, d, lr, Counts(desired_bl=1000))
    assert counts.pulses == pytest.approx(20 * asked, rel=0.02)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(bad: float) -> None:
    x, d = batch(3, 2, 2)
    d[1, 1] = bad
    part = array((2, 2), response=IdealResponse().model_dump())
    with pytest.raises(TrainingError, match="not finite: lower the learning rate"):
        update(part, x, d, 0.01, Expected())
    assert torch.equal(part.state, torch.zeros(2, 2).double())


@pytest.mark.parametrize("how", [Counts(), Sequential()])
def test_samples_that_need_nothing_change_nothing(how: Counts | Sequential) -> None:
    x, d = batch(4, 2, 3)
    plain, padded = array((2, 3)), array((2, 3))
    update(plain, x, d, 0.05, how)
    padded_x = torch.cat((x[:2], x[:1], x[2:], torch.zeros(1, 3).double()))
    update(padded, padded_x, torch.cat((d[:2], torch.zeros(1, 2).double(), d[2:], d[:1])), 0.05, how)
    assert plain.pulses == padded.pulses > 0
    assert plain.slots == padded.slots
    assert torch.equal(plain.state, padded.state)


def test_samples_that_need_nothing_fire_nothing() -> None:
    x = torch.tensor([[0.0, 0.0], [1.0, 0.5], [0.0, 0.0], [1.0, 1.0]])
    d = torch.tensor([[1.0], [0.0], [0.0], [20.0]])
    trains = coincidence_trains(x, d, 0.01, DW, 31, torch.Generator().manual_seed(0)).signed()
    for train in trains:
        assert torch.isfinite(train).all()
    fired = (trains[1] @ torch.ones(1, 1)).abs() * trains[0].abs()
    assert fired[:3].sum() == 0
    assert fired[3].sum() > 20, "31 slots, and it needs 200 pulses of each of two devices"
