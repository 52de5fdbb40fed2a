"""Arrays and single pulses, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.config.training_device import DeviceSpread, TrainingDevice
from aimc_deploy.config.training_presets import load_training_device
from aimc_deploy.training.array import Array
from aimc_deploy.training.calibrate import zero_shift

LINEAR = {"kind": "linear"}


def device(**changes: object) -> TrainingDevice:
    return TrainingDevice.model_validate({"tau": 1.0, "dw_min": 1e-3, **changes})


def array(described: TrainingDevice, shape: tuple[int, int] = (1, 1), seed: int = 0) -> Array:
    return Array(described, shape, seed, "array", dtype=torch.float64)


def pulsed(part: Array, count: int, sign: int = 1) -> torch.Tensor:
    for _ in range(count):
        part.pulse(torch.full_like(part.state, sign))
    return part.weight()


def test_pulses_up_a_linear_response() -> None:
    tau, dw, start, n = 0.6, 0.01, -0.2, 57
    part = array(device(tau=tau, dw_min=dw))
    part.set(torch.full((1, 1), start, dtype=torch.float64))
    assert pulsed(part, n).item() == pytest.approx(tau - (tau - start) * (1 - dw / tau) ** n, abs=1e-12)
    assert part.pulses == n


def test_the_curve_of_the_reference_implementation() -> None:
    """50 pulses up and 50 down, as compiled aihwkit 1.2.0 computes them."""
    part = array(device(tau=0.6, dw_min=0.01))
    assert pulsed(part, 50).item() == pytest.approx(0.341066, abs=1e-6)
    assert pulsed(part, 50, -1).item() == pytest.approx(-0.193877, abs=1e-6)


def test_the_curve_of_exponential_steps_of_the_reference_implementation() -> None:
    """300 pulses up, as many down, and to the lower bound, as compiled aihwkit 1.2.0 computes them."""
    fitted = load_training_device("reram-es")
    alike = fitted.model_copy(update={"spread": DeviceSpread(), "cycle_to_cycle": 0.0, "write_noise": 0.0})
    part = array(alike)
    assert pulsed(part, 1).item() == pytest.approx(0.0014813, abs=1e-6)
    assert pulsed(part, 299).item() == pytest.approx(0.4290667, abs=1e-6)
    assert pulsed(part, 300, -1).item() == pytest.approx(-0.2428064, abs=1e-6)
    assert pulsed(part, 500, -1).item() == pytest.approx(-0.8733689, abs=1e-6)


@pytest.mark.parametrize("g", [0.5, 3.0])
def test_small_pulses_up_a_power_response(g: float) -> None:
    tau, dw, n = 0.8, 4e-5, 6000
    part = array(device(tau=tau, dw_min=dw, response={"kind": "power", "gamma_res": g}))
    part.set(torch.full((1, 1), 0.1, dtype=torch.float64))
    s = n * dw / tau
    expected = tau * (1 - ((1 - 0.1 / tau) ** (1 - g) + (g - 1) * s) ** (1 / (1 - g)))
    assert pulsed(part, n).item() == pytest.approx(expected, abs=1e-4)


def test_one_large_step_errs_by_half_of_it() -> None:
    """A step taken at once against the pulses it stands for: relative error ``step / (2 tau)``."""
    errors = []
    for step in (0.01, 0.1):
        exact = 1 - math.exp(-step)
        part = array(device(dw_min=step))
        errors.append(pulsed(part, 1).item() / exact - 1)
        assert errors[-1] == pytest.approx(step / 2, rel=0.05)
    assert errors[0] / errors[1] == pytest.approx(0.1, rel=0.05)


def test_a_large_step_is_made_in_parts_but_a_pulse_is_not() -> None:
    many, one = array(device()), array(device(dw_min=0.5))
    half = torch.full((1, 1), 0.5, dtype=torch.float64)
    many.write(half, slice(None), whole=False)
    assert many.weight().item() == pytest.approx((1 - (1 - 0.1) ** 5), abs=1e-12)
    one.pulse(torch.ones(1, 1, dtype=torch.float64))
    assert one.weight().item() == 0.5


@settings(max_examples=15)
@given(
    kind=st.sampled_from(["ideal", "linear", "power", "exponential"]),
    seed=st.integers(0, 1000),
    cycle=st.sampled_from([0.0, 0.3, 5.0]),
    noise=st.sampled_from(["additive", "multiplicative"]),
    size=st.floats(0.001, 3),
)
def test_no_pulse_leaves_the_bounds(kind: str, seed: int, cycle: float, noise: str, size: float) -> None:
    described = device(
        response={"kind": kind},
        dw_min=0.05,
        cycle_to_cycle=cycle,
        cycle_noise=noise,
        spread={"step": 0.3, "tau": 0.3, "tau_min": 0.3, "bias": 0.05},
        symmetric_point={"spread": 0.2},
    )
    part = array(described, (5, 4), seed)
    draw = torch.Generator().manual_seed(seed)
    for _ in range(5):
        net = torch.randn(5, 4, generator=draw, dtype=torch.float64) * size
        part.write(net, slice(None), whole=False)
        part.pulse((3 * net).round())
        assert torch.all(part.state <= part.high)
        assert torch.all(part.state >= part.low)
        assert torch.isfinite(part.state).all()


def test_cycle_noise_has_the_spread_of_its_pulses() -> None:
    shape = (200, 500)
    for noise, q in (("additive", 1.0), ("multiplicative", 0.6)):
        part = array(device(cycle_to_cycle=0.5, cycle_noise=noise), shape)
        part.set(torch.full(shape, 0.4, dtype=torch.float64))
        part.pulse(torch.full(shape, 4.0, dtype=torch.float64))
        # 1e5 devices: a standard error of 0.22 % of the standard deviation
        assert part.weight().std().item() == pytest.approx(0.5 * 1e-3 * q * 2, rel=0.01)
        assert part.weight().mean().item() == pytest.approx(0.4 + 4e-3 * 0.6, abs=2e-5)


def test_only_the_columns_that_are_written_change() -> None:
    part = array(device(spread={"step": 0.3, "tau": 0.2}, cycle_to_cycle=0.3), (6, 8))
    before = part.weight().clone()
    part.write(torch.full((6, 3), 0.01, dtype=torch.float64), slice(2, 5), whole=True)
    changed = part.weight() != before
    assert changed[:, 2:5].all()
    assert not changed[:, :2].any()
    assert not changed[:, 5:].any()


def test_whole_pulses_are_right_on_average() -> None:
    part = array(device(response={"kind": "ideal"}), (300, 300))
    part.write(torch.full((300, 300), 0.4e-3, dtype=torch.float64), slice(None), whole=True)
    assert set((part.weight() / 1e-3).round(decimals=9).unique().tolist()) == {0.0, 1.0}
    # standard error: sqrt(0.24 / 9e4) = 0.0016
    assert part.weight().mean().item() == pytest.approx(0.4e-3, abs=6e-6)


def test_write_noise_is_of_reading_and_not_of_the_state() -> None:
    part = array(device(write_noise=50.0), (300, 300))
    assert torch.equal(part.weight(), torch.zeros(300, 300, dtype=torch.float64))
    part.pulse(torch.ones(300, 300, dtype=torch.float64))
    assert torch.equal(part.state, torch.full((300, 300), 1e-3, dtype=torch.float64))
    assert part.weight().std().item() == pytest.approx(0.05, rel=0.01)  # standard error 0.24 %
    assert torch.equal(part.weight(), part.weight())  # until the next pulse


def test_reading_is_noisy_each_time() -> None:
    part = array(device(), (300, 300))
    first, second = part.read(0.2), part.read(0.2)
    assert first.std().item() == pytest.approx(0.2, rel=0.01)
    assert not torch.equal(first, second)
    assert torch.equal(part.read(), part.weight())


def test_retention() -> None:
    part = array(device(retention={"lifetime_steps": 100}, symmetric_point={"mean": 0.1}))
    part.set(torch.full((1, 1), 0.5, dtype=torch.float64))
    for _ in range(100):
        part.leak()
    assert part.weight().item() == pytest.approx(0.5 * 0.99**100, rel=1e-12)


def test_corrupt_devices_are_stuck() -> None:
    part = array(device(corrupt={"share": 0.2, "range": 0.1}, cycle_to_cycle=0.3), (200, 200))
    stuck = (part.up == 0) & (part.down == 0)
    assert stuck.double().mean().item() == pytest.approx(0.2, abs=0.008)  # 4 standard errors
    before = part.weight().clone()
    assert before[stuck].abs().max() <= 0.1
    assert before[~stuck].abs().max() == 0
    part.set(torch.full((200, 200), 0.5, dtype=torch.float64))
    part.pulse(torch.ones(200, 200, dtype=torch.float64))
    part.write(torch.full((200, 200), 0.01, dtype=torch.float64), slice(None), whole=False)
    assert torch.equal(part.weight()[stuck], before[stuck])
    assert part.weight()[~stuck].min() > 0.49
    torch.testing.assert_close(part.symmetric_point()[stuck], before[stuck])


def test_pairs_of_pulses_end_in_a_cycle_about_the_symmetric_point() -> None:
    dw, tau = 0.01, 1.0
    part = array(device(dw_min=dw, tau=tau))
    part.set(torch.full((1, 1), 0.3, dtype=torch.float64))
    found = zero_shift(part, 3000)
    assert part.weight().item() == pytest.approx(-dw / (2 - dw / tau), abs=1e-5)
    assert found.item() == pytest.approx(0, abs=1e-5)  # the mean of both ends


def test_how_many_pulses_find_the_symmetric_point() -> None:
    """1 % of the distance is left after ``(tau / dw) ln 100`` pulses."""
    part = array(device(dw_min=1e-3))
    part.set(torch.full((1, 1), 0.5, dtype=torch.float64))
    needed, one = 0, torch.ones_like(part.state)
    while abs(part.weight().item() + 0.25e-3) > 0.005:
        part.pulse(one)
        part.pulse(-one)
        needed += 2
    assert needed == pytest.approx(1000 * math.log(100), rel=0.02)


def test_pulses_of_random_sign_leave_a_spread() -> None:
    dw, draw = 0.01, torch.Generator().manual_seed(0)
    part, squares = array(device(dw_min=dw), (20, 500)), []
    for step in range(700):
        sign = torch.randint(0, 2, (20, 500), generator=draw).double() * 2 - 1
        part.pulse(sign)
        if step >= 400 and step % 20 == 0:
            squares.append(part.weight().square().mean())
    # 10,000 devices: a standard error of 0.7 % at most
    assert torch.stack(squares).mean().sqrt().item() == pytest.approx(math.sqrt(dw / 2), rel=0.03)


def test_the_zero_of_devices_that_differ_is_found() -> None:
    described = device(dw_min=0.005, symmetric_point={"spread": 0.2}, spread={"bias": 0.1, "tau": 0.1})
    part = array(described, (20, 20))
    torch.testing.assert_close(zero_shift(part, 3000), part.symmetric_point(), rtol=0, atol=2e-3)


def test_names_make_the_devices() -> None:
    described = device(spread={"step": 0.3, "tau": 0.3}, symmetric_point={"spread": 0.1})
    one, again, other = (array(described, (9, 9), seed) for seed in (0, 0, 1))
    for name in ("up", "high", "reference"):
        assert torch.equal(getattr(one, name), getattr(again, name))
        assert not torch.equal(getattr(one, name), getattr(other, name))
    assert torch.equal(pulsed(one, 3), pulsed(again, 3))


def test_the_spreads_are_those_asked_for() -> None:
    described = device(
        spread={"step": 0.2, "tau": 0.1, "tau_min": 0.05, "bias": 0.02},
        symmetric_point={"mean": 0.05, "spread": 0.03},
    )
    part = array(described, (300, 300))
    assert part.high.std().item() == pytest.approx(0.1, rel=0.02)
    assert part.low.std().item() == pytest.approx(0.05, rel=0.02)
    assert ((part.up + part.down) / 2).std().item() == pytest.approx(0.2, rel=0.02)
    assert ((part.up - part.down) / 2).std().item() == pytest.approx(0.02, rel=0.02)
    assert part.reference.mean().item() == pytest.approx(-0.05, abs=5e-4)
    assert part.reference.std().item() == pytest.approx(0.03, rel=0.02)


def test_a_reference_device_takes_the_symmetric_point_away() -> None:
    spread = {"step": 0.5, "step_distribution": "lognormal", "tau": 0.4, "tau_min": 0.6, "bias": 0.1}
    subtracted = array(device(spread=spread, symmetric_point={"subtracted": True}), (50, 50))
    torch.testing.assert_close(subtracted.symmetric_point(), torch.zeros(50, 50).double(), rtol=0, atol=1e-12)
    assert subtracted.weight().abs().max() < 1e-12  # a new array's weights are 0
    assert array(device(spread=spread), (50, 50)).symmetric_point().std() > 0.05
