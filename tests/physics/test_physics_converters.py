"""DAC and ADC: their levels, their rounding and their saturation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.physics.converters import positive_levels, quantise_

EPS = torch.finfo(torch.float32).eps
FEW = settings(max_examples=100)
bit_counts = st.integers(2, 10)
full_scales = st.floats(0.125, 64, width=32)
inputs = st.lists(st.floats(-100, 100, width=32, allow_subnormal=False), min_size=1, max_size=20)


def quantised(values: list[float], bits: int | None, full_scale: float) -> torch.Tensor:
    return quantise_(torch.tensor(values), bits, full_scale)


@pytest.mark.parametrize(("bits", "expected"), [(2, 1), (3, 3), (8, 127), (16, 32767)])
def test_steps_from_zero_to_full_scale(bits: int, expected: int) -> None:
    assert positive_levels(bits) == expected
    # The specification's step, 2 * range / (2^b - 2).
    assert 1 / expected == pytest.approx(2 / (2**bits - 2))


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_the_code_has_one_level_less_than_a_power_of_two(bits: int) -> None:
    found = quantise_(torch.linspace(-3, 3, 20_001), bits, 2.0).unique()
    assert len(found) == 2**bits - 1
    assert found[0] == -2.0
    assert found[-1] == 2.0
    assert torch.allclose(found.diff(), torch.full((2**bits - 2,), 4.0 / (2**bits - 2)), atol=1e-5)


def test_values_worked_out_by_hand() -> None:
    # 3 bits at 3.0: levels at every integer from -3 to 3; ties go to the even level.
    found = quantised([0.4, 0.6, 0.5, 1.5, 2.5, -0.5, -1.5, 2.6, 3.4, 7.0, -100.0], 3, 3.0)
    assert found.tolist() == [0.0, 1.0, 0.0, 2.0, 2.0, 0.0, -2.0, 3.0, 3.0, 3.0, -3.0]


def test_an_ideal_converter_saturates_and_nothing_else() -> None:
    assert quantised([0.123456, -2.5, 2.5], None, 2.0).tolist() == pytest.approx([0.123456, -2.0, 2.0])


def test_the_tensor_itself_is_converted() -> None:
    for bits in (4, None):
        values = torch.tensor([0.3, 5.0])
        assert quantise_(values, bits, 1.0) is values
        assert float(values[1]) == 1.0


@given(inputs, bit_counts, full_scales)
@FEW
def test_nothing_inside_the_range_moves_more_than_half_a_step(
    values: list[float], bits: int, full_scale: float
) -> None:
    step = full_scale / positive_levels(bits)
    clamped = torch.tensor(values).clamp(-full_scale, full_scale)
    error = (quantised(values, bits, full_scale) - clamped).abs()
    assert bool((error <= step / 2 + 4 * EPS * full_scale).all())


@given(inputs, bit_counts, full_scales)
@FEW
def test_converting_twice_changes_nothing(values: list[float], bits: int, full_scale: float) -> None:
    once = quantised(values, bits, full_scale)
    assert torch.equal(quantise_(once.clone(), bits, full_scale), once)


@given(inputs, st.one_of(st.none(), bit_counts), full_scales)
@FEW
def test_the_converter_is_odd_and_monotone(values: list[float], bits: int | None, full_scale: float) -> None:
    found = quantised(sorted(values), bits, full_scale)
    assert bool((found.diff() >= 0).all())
    assert torch.equal(quantised([-value for value in sorted(values)], bits, full_scale), -found)
    assert float(found.abs().max()) <= full_scale * (1 + EPS)
