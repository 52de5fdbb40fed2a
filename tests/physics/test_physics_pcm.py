"""The phase-change memory of Joshi and Nandakumar: values of the specification and limits."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aimc_deploy.config.hardware import PCMDevice
from aimc_deploy.physics.device import device_model
from aimc_deploy.physics.pcm import PCMModel

DEVICES = 200_000
rels = st.floats(0, 1)


def nu(rel: float, normal: float, **device: float) -> float:
    values = torch.tensor([rel, normal], dtype=torch.float64)
    return float(PCMModel(PCMDevice(**device)).drift_exponent(values[0], values[1]))


def test_the_configured_device_is_this_one() -> None:
    model = device_model(PCMDevice(g_max=30.0, t_0_s=10.0))
    assert isinstance(model, PCMModel)
    assert (model.g_max, model.t_0_s) == (30.0, 10.0)


@pytest.mark.parametrize(("rel", "expected"), [(0.0, 0.26348), (0.5, 0.952705), (1.0, 1.05538)])
def test_programming_noise_of_the_published_polynomial(rel: float, expected: float) -> None:
    assert float(PCMModel(PCMDevice()).sigma_programming(torch.tensor(rel))) == pytest.approx(expected)
    half = PCMModel(PCMDevice(g_max=12.5)).sigma_programming(torch.tensor(rel))
    assert float(half) == pytest.approx(expected / 2), "it grows with g_max"
    thrice = PCMModel(PCMDevice(programming_noise_scale=3.0)).sigma_programming(torch.tensor(rel))
    assert float(thrice) == pytest.approx(3 * expected)


@pytest.mark.parametrize(
    ("rel", "mean", "std"),
    [
        (0.0, 0.1, 0.045),  # both at their upper bound
        (math.exp(-4), 4 * 0.0155 + 0.0244, 4 * 0.0125 - 0.0059),
        (math.exp(-3), 3 * 0.0155 + 0.0244, 3 * 0.0125 - 0.0059),
        (math.exp(-2), 2 * 0.0155 + 0.0244, 2 * 0.0125 - 0.0059),
        (1.0, 0.049, 0.008),  # both at their lower bound
    ],
)
def test_mean_and_deviation_of_the_drift_exponent(rel: float, mean: float, std: float) -> None:
    assert nu(rel, 0.0) == pytest.approx(mean)
    assert nu(rel, 1.0) - nu(rel, 0.0) == pytest.approx(std)
    assert nu(rel, -1.0) == pytest.approx(mean - std)
    assert nu(rel, -10.0) == pytest.approx(10 * std - mean), "a negative exponent is folded back"
    assert nu(rel, 1.0, drift_scale=2.0) == pytest.approx(2 * (mean + std))
    assert nu(rel, 1.0, drift_scale=0.0) == 0.0


def test_the_exponents_scatter_as_a_folded_normal() -> None:
    normal = torch.randn(DEVICES, generator=torch.Generator().manual_seed(0))
    values = PCMModel(PCMDevice()).drift_exponent(torch.zeros(DEVICES), normal).double()
    mean, std = 0.1, 0.045
    ratio = mean / std
    folded = std * math.sqrt(2 / math.pi) * math.exp(-(ratio**2) / 2) + mean * math.erf(ratio / math.sqrt(2))
    standard_error = math.sqrt((mean**2 + std**2 - folded**2) / DEVICES)
    assert abs(float(values.mean()) - folded) < 4 * standard_error


@given(rels, rels)
def test_stronger_devices_drift_and_flicker_less(rel_1: float, rel_2: float) -> None:
    weak, strong = sorted((rel_1, rel_2))
    assert 0.049 <= nu(strong, 0.0) <= nu(weak, 0.0) <= 0.1
    model = PCMModel(PCMDevice())
    low, high = (float(model.sigma_read(torch.tensor(rel), 3600.0)) for rel in (weak, strong))
    assert high <= low * (1 + 1e-6)


@pytest.mark.parametrize(("rel", "share"), [(1.0, 0.0088), (0.25, 0.0088 / 0.25**0.65), (0.0, 0.2)])
@pytest.mark.parametrize("t_s", [20.0, 3.2e8])
def test_read_noise_grows_with_the_root_of_the_logarithm_of_time(
    rel: float, share: float, t_s: float
) -> None:
    expected = share * math.sqrt(math.log((t_s + 250e-9) / (2 * 250e-9)))
    assert float(PCMModel(PCMDevice()).sigma_read(torch.tensor(rel), t_s)) == pytest.approx(expected)
    double = PCMModel(PCMDevice(read_noise_scale=2.0)).sigma_read(torch.tensor(rel), t_s)
    assert float(double) == pytest.approx(2 * expected)
    slow = PCMModel(PCMDevice(t_read_s=1e-3)).sigma_read(torch.tensor(rel), t_s)
    assert float(slow) == pytest.approx(share * math.sqrt(math.log((t_s + 1e-3) / 2e-3)))


def test_the_read_noise_of_weak_devices_is_bounded() -> None:
    # 0.0088 / r^0.65 passes 0.2 at r = 0.00818.
    model = PCMModel(PCMDevice())
    weak = model.sigma_read(torch.tensor([0.0, 1e-9, 0.008]), 20.0)
    assert torch.equal(weak, weak[:1].expand(3))
    assert float(model.sigma_read(torch.tensor(0.0083), 20.0)) < float(weak[0])
