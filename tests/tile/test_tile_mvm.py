"""Products through DAC, array, output noise and ADC."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aimc_deploy.config.hardware import ADC, DAC, Hardware
from aimc_deploy.physics.random import stream
from aimc_deploy.tile.mvm import mvm
from aimc_deploy.tile.periphery import Periphery

IDEAL = Periphery(dac_bits=None, adc_bits=None, output_range=1e6, output_noise=0.0)
COARSE = Periphery(dac_bits=4, adc_bits=4, output_range=2.0, output_noise=0.0)
FEW = settings(max_examples=60)


def inputs(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def weights(cols: int, rows: int, seed: int = 1) -> Tensor:
    """Normalised weights: the largest of each column is 1."""
    weight = inputs(cols, rows, seed=seed)
    return weight / weight.abs().amax(dim=1, keepdim=True)


def test_the_periphery_is_read_from_the_hardware(hardware: Callable[..., Hardware]) -> None:
    described = hardware(dac=DAC(bits=7), adc=ADC(bits=9, output_range=10.0), output_noise=0.02)
    assert Periphery.of(described) == Periphery(7, 9, 10.0, 0.02)


@pytest.mark.parametrize("input_range", [None, 20.0])
@pytest.mark.parametrize("batch", [(5,), (2, 3), (), (2, 1, 4)])
def test_without_errors_it_is_the_plain_product(batch: tuple[int, ...], input_range: float | None) -> None:
    x, weight = inputs(*batch, 12), weights(7, 12)
    y = mvm(x, weight, IDEAL, input_range=input_range)
    assert y.shape == (*batch, 7)
    assert torch.allclose(y, x @ weight.T, rtol=1e-5, atol=1e-5)


def test_products_worked_out_by_hand() -> None:
    x, weight = torch.tensor([[3.0, 1.2, -1.7]]), torch.tensor([[1.0, -0.5, 0.25]])
    dac = Periphery(3, None, 1e6, 0.0)
    # The row's own range is 3, which three bits cut into levels at every integer.
    assert float(mvm(x, weight, dac)) == pytest.approx(3.0 - 0.5 * 1.0 - 0.25 * 2.0)
    # A static range of 1.5 has levels at every half, and what is larger saturates.
    assert float(mvm(x, weight, dac, input_range=1.5)) == pytest.approx(1.5 - 0.5 * 1.0 - 0.25 * 1.5)
    # The ADC has levels at every half, times the input range: 1.975 / 4 is near a half.
    adc = Periphery(None, 3, 1.5, 0.0)
    assert float(mvm(x, weight, adc, input_range=4.0)) == pytest.approx(2.0)
    one, two = torch.ones(1, 1), torch.ones(1, 2)
    assert float(mvm(30 * one, one, adc, input_range=4.0)) == pytest.approx(4.0), "the DAC saturates"
    assert float(mvm(30 * two, two, adc, input_range=4.0)) == pytest.approx(6.0), "and so does the ADC"


@given(st.integers(2, 8), st.integers(0, 2**31))
@FEW
def test_quantised_inputs_are_at_most_half_a_step_away(bits: int, seed: int) -> None:
    x = inputs(4, 16, seed=seed)
    read = mvm(x, torch.eye(16), Periphery(bits, None, 1e6, 0.0))
    half = x.abs().amax(dim=1, keepdim=True) / (2**bits - 2)
    assert bool(((read - x).abs() <= half * (1 + 1e-5)).all())
    largest = x.abs().argmax(dim=1, keepdim=True)
    assert torch.allclose(read.gather(1, largest), x.gather(1, largest), rtol=1e-6), "the largest is a level"


@given(st.floats(0.01, 100), st.integers(0, 2**31))
@FEW
def test_a_dynamic_range_follows_the_scale_of_its_row(factor: float, seed: int) -> None:
    # A factor that is a power of two changes no rounding: the codes are the same.
    x, weight, power = inputs(3, 10, seed=seed), weights(5, 10), 2.0 ** round(math.log2(factor))
    assert torch.equal(mvm(x * power, weight, COARSE), mvm(x, weight, COARSE) * power)


@pytest.mark.parametrize("input_range", [None, 2.0])
def test_every_row_is_independent_of_its_batch_mates(input_range: float | None) -> None:
    x, weight = inputs(6, 40), weights(9, 40)
    y = mvm(x, weight, COARSE, input_range=input_range)
    loud = x.clone()
    loud[1:] *= 1000.0  # a range taken over the batch would crush the first row
    assert torch.equal(mvm(loud, weight, COARSE, input_range=input_range)[0], y[0])
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    assert torch.equal(mvm(x[order], weight, COARSE, input_range=input_range), y[order])


def test_every_row_is_the_same_alone_in_a_batch_and_in_a_sequence() -> None:
    # In double precision no code lies near enough to a tie for another order of summation to matter.
    x, weight = inputs(4, 3, 40).double(), weights(9, 40).double()
    y = mvm(x, weight, COARSE)
    for batch in range(4):
        for token in range(3):
            alone = mvm(x[batch, token], weight, COARSE)
            assert torch.allclose(alone, y[batch, token], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("input_range", [None, 3.0])
def test_rows_of_zeros_give_zeros(dtype: torch.dtype, input_range: float | None) -> None:
    x, weight = inputs(3, 8).to(dtype), weights(5, 8).to(dtype)
    x[1] = 0
    y = mvm(x, weight, COARSE, input_range=input_range)
    assert y.dtype == dtype
    assert bool((y[1] == 0).all())
    assert bool(y.isfinite().all())
    assert bool((y[[0, 2]] != 0).any(dim=1).all()), "the others are computed"


def test_noise_on_a_row_of_zeros_has_no_size() -> None:
    noisy = Periphery(8, 8, 10.0, 0.04)
    y = mvm(torch.zeros(2, 8), weights(5, 8), noisy, noise=stream("cpu", 0))
    assert float(y.abs().max()) < 1e-28


@pytest.mark.parametrize("input_range", [None, 4.0])
def test_output_noise_has_the_size_asked_for(input_range: float | None) -> None:
    sigma, count = 0.04, 20_000
    row = torch.tensor([3.0, -1.0, 0.5])
    weight = weights(4, 3)
    x = row.expand(count, 3)
    y = mvm(
        x,
        weight,
        Periphery(None, None, 1e6, sigma),
        input_range=input_range,
        noise=stream("cpu", 0),
    )
    # In units of the largest weight, 1, and the full scale of the input.
    error = ((y - row @ weight.T) / (3.0 if input_range is None else 4.0)).double()
    assert bool((error.mean(dim=0).abs() < 4 * sigma / math.sqrt(count)).all())
    assert bool(((error.std(dim=0) - sigma).abs() < 4 * sigma / math.sqrt(2 * count)).all())
    between = torch.corrcoef(error.T) - torch.eye(4)
    assert float(between.abs().max()) < 4 / math.sqrt(count), "columns do not share noise"
    following = torch.corrcoef(torch.stack([error[1:, 0], error[:-1, 0]]))[0, 1]
    assert abs(float(following)) < 4 / math.sqrt(count), "nor do rows"


def test_noise_comes_before_the_adc() -> None:
    x, weight = torch.ones(1000, 2), torch.tensor([[0.5, 0.5]])
    y = mvm(x, weight, Periphery(None, 4, 1.4, 0.3), noise=stream("cpu", 0))
    levels = (y / 0.2).round() * 0.2
    assert torch.allclose(y, levels, atol=1e-6), "every output is a level"
    assert len(levels.unique()) > 5
    assert float(y.max()) == pytest.approx(1.4), "and saturates with its noise"


def test_read_noise_is_drawn_for_every_row_and_column() -> None:
    count = 20_000
    row = torch.tensor([2.0, -1.0, 0.0])
    weight = torch.tensor([[0.5, 1.0, -1.0], [1.0, 0.25, 0.0]])
    variance = torch.tensor([[0.01, 0.02, 5.0], [0.04, 0.0, 5.0]])
    output_noise = 0.05
    y = mvm(
        row.expand(count, 3),
        weight,
        Periphery(None, None, 1e6, output_noise),
        read_variance=variance,
        noise=stream("cpu", 0),
    ).double()
    # In units of the row's own range, 2: inputs 1, -1/2, 0.
    expected = 2.0 * (torch.tensor([0.01 + 0.02 / 4, 0.04], dtype=torch.float64) + output_noise**2).sqrt()
    assert bool(((y.std(dim=0) - expected).abs() < 4 * expected / math.sqrt(2 * count)).all())
    mean = (row @ weight.T).double()
    assert bool(((y.mean(dim=0) - mean).abs() < 4 * expected / math.sqrt(count)).all())
    assert abs(float(torch.corrcoef(y.T)[0, 1])) < 4 / math.sqrt(count)
    assert abs(float(torch.corrcoef(torch.stack([y[1:, 0], y[:-1, 0]]))[0, 1])) < 4 / math.sqrt(count)


def test_the_same_stream_gives_the_same_noise_and_no_stream_follows_torchs_own() -> None:
    x, weight, noisy = inputs(5, 8), weights(4, 8), Periphery(8, 8, 10.0, 0.04)
    first, again = (mvm(x, weight, noisy, noise=stream("cpu", 3)) for _ in range(2))
    assert torch.equal(first, again)
    noise = stream("cpu", 3)
    mvm(x, weight, noisy, noise=noise)
    assert not torch.equal(mvm(x, weight, noisy, noise=noise), first), "a stream goes on"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        first = mvm(x, weight, noisy)
        torch.manual_seed(3)
        assert torch.equal(mvm(x, weight, noisy), first)
        assert not torch.equal(mvm(x, weight, noisy), first)


def test_no_argument_is_changed() -> None:
    x, weight, variance = inputs(5, 8), weights(4, 8), torch.full((4, 8), 0.01)
    copies = [tensor.clone() for tensor in (x, weight, variance)]
    for input_range in (None, 1.0):
        mvm(x, weight, Periphery(4, 4, 2.0, 0.04), input_range=input_range, read_variance=variance)
    for tensor, copy in zip((x, weight, variance), copies, strict=True):
        assert torch.equal(tensor, copy)
