"""The compiled converters against those in torch's operations, which the other tests check by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aimc_deploy.physics.random import stream
from aimc_deploy.tile import elementwise, fused
from aimc_deploy.tile.mvm import mvm
from aimc_deploy.tile.periphery import Periphery

FEW = settings(max_examples=80)
bits = st.one_of(st.none(), st.integers(2, 12))
ranges = st.one_of(st.none(), st.floats(0.25, 8))


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def near_a_tie(codes: Tensor) -> Tensor:
    """Where another rounding of the last digit of a float32 moves a value to the next level."""
    return ((codes - codes.floor()) - 0.5).abs() < 1e-5 * codes.abs().clamp(min=1)


@given(bits, ranges, st.integers(1, 40), st.integers(1, 70), st.integers(0, 2**20))
@FEW
def test_inputs_get_the_same_codes(
    resolution: int | None, input_range: float | None, batch: int, rows: int, seed: int
) -> None:
    x = normal(batch, rows, seed=seed) * 2
    periphery = Periphery(resolution, None, 10.0, 0.0)
    found, expected = (way.convert(x, periphery, input_range) for way in (fused, elementwise))
    assert torch.equal(found.full_scale, expected.full_scale)
    if resolution is None:
        assert torch.allclose(found.values, expected.values, rtol=1e-6)
        return
    levels = 2 ** (resolution - 1) - 1
    assert found.unit == 1 / levels
    clear = ~near_a_tie(x / expected.full_scale.unsqueeze(1) * levels)
    assert torch.equal(found.values[clear], (expected.values * levels).round()[clear])
    assert torch.equal(found.values, found.values.round().clamp(-levels, levels))


@given(bits, st.floats(0.5, 20), st.integers(1, 40), st.integers(1, 70), st.booleans(), st.integers(0, 2**20))
@FEW
def test_currents_become_the_same_outputs(
    resolution: int | None, output_range: float, batch: int, cols: int, bias: bool, seed: int
) -> None:
    y, gain = normal(batch, cols, seed=seed) * 500, 1 / 127
    periphery = Periphery(None, resolution, output_range, 0.0)
    full_scale, out_scale = normal(batch, seed=1).abs(), normal(cols, seed=2)
    onto = normal(1 if bias else batch, cols, seed=3)
    results = []
    for way in (fused, elementwise):
        out = y.clone()
        marked = way.read(out, gain, periphery, None, full_scale, out_scale, onto, mark=True)
        results.append((out, torch.zeros_like(out, dtype=torch.bool) if marked is None else marked))
        again = y.clone()
        assert way.read(again, gain, periphery, None, full_scale, out_scale, onto, mark=False) is None
        assert torch.equal(again, out), "marking changes nothing"
    levels = output_range if resolution is None else 2 ** (resolution - 1) - 1
    codes = y * gain * levels / output_range
    clear = ~near_a_tie(codes) if resolution is not None else torch.ones_like(y, dtype=torch.bool)
    assert torch.allclose(results[0][0][clear], results[1][0][clear], rtol=1e-5, atol=1e-5)
    away = (codes.abs() - levels).abs() > 1e-4 * levels
    assert torch.equal(results[0][1][away], results[1][1][away])


@pytest.mark.parametrize("bits", [8, None])
@pytest.mark.parametrize("dynamic", [True, False])
def test_what_is_not_a_number_comes_out_as_one_row_of_it(dynamic: bool, bits: int | None) -> None:
    """A guard behind the layer must see it; the batch mates must not."""
    for poison in (math.nan, math.inf, -math.inf):
        x, weight = normal(4, 33, seed=0), normal(7, 33, seed=1)
        x[2, 5] = poison
        asked = {"periphery": Periphery(bits, bits, 10.0, 0.0), "input_range": None if dynamic else 3.0}
        clean = mvm(normal(4, 33, seed=0), weight, **asked)
        y = mvm(x, weight, **asked)
        assert torch.equal(y[[0, 1, 3]], clean[[0, 1, 3]])
        assert bool(y[2].isnan().all())
        whole = mvm(x.double(), weight.double(), **asked)
        assert torch.equal(whole.isnan(), y.isnan()), "one value at a time as in one pass"
    weight[3, 0] = math.nan
    y = mvm(normal(4, 33, seed=0), weight, Periphery(8, 8, 10.0, 0.04), noise=stream("cpu"))
    assert bool(y[:, 3].isnan().all())
    assert bool(y[:, :3].isfinite().all())


def test_inputs_are_read_where_they_lie() -> None:
    whole = normal(5, 6, 40, seed=0)
    weight, periphery = normal(7, 12, seed=1), Periphery(8, 8, 10.0, 0.0)
    for part in (whole[..., 3:15], whole.transpose(0, 1)[..., 3:15], whole.transpose(1, 2)[..., :12, :].mT):
        rows = weight[:, : part.shape[-1]]
        assert torch.equal(mvm(part, rows, periphery), mvm(part.contiguous(), rows, periphery))
    one = whole[:1, 0, 3:15]
    assert torch.equal(mvm(one, weight, periphery), mvm(one.contiguous(), weight, periphery))
    assert mvm(whole[:0, :, :12], weight, periphery).shape == (0, 6, 7)


@pytest.mark.parametrize("read_variance", [None, 0.01])
def test_outputs_do_not_depend_on_the_number_of_threads(read_variance: float | None) -> None:
    x, weight = normal(700, 64, seed=0), normal(96, 64, seed=1) / 4
    variance = None if read_variance is None else torch.full_like(weight, read_variance)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(
                mvm(x, weight, Periphery(8, 8, 3.0, 0.04), read_variance=variance, noise=stream("cpu", 1))
            )
    finally:
        torch.set_num_threads(threads)
    # The sums of the product may be split otherwise; that moves a value by a level at most.
    for other in found[1:]:
        assert float((other != found[0]).float().mean()) < 1e-3
        assert torch.allclose(other, found[0], atol=float(x.abs().max()) * 3.0 / 127 * 1.01)


def test_both_ways_have_the_same_gradients() -> None:
    weight, bias, out = normal(9, 20, seed=1) / 2, normal(9, seed=2), normal(30, 9, seed=3)
    scale = normal(9, seed=4)
    found = []
    for dtype in (torch.float32, torch.float64):
        given = [value.to(dtype).requires_grad_() for value in (normal(30, 20, seed=0), weight, bias)]
        y = mvm(
            given[0],
            given[1],
            Periphery(None, None, 2.0, 0.0),
            input_range=1.5,
            out_scale=scale.to(dtype),
            onto=given[2],
        )
        found.append(torch.autograd.grad((y * out.to(dtype)).sum(), given))
    for single, double in zip(*found, strict=True):
        assert torch.allclose(single.double(), double, rtol=1e-4, atol=1e-4)


def test_what_a_product_is_added_to_gets_its_gradient() -> None:
    x, weight, out = normal(5, 8, seed=0), normal(3, 8, seed=1), normal(5, 3, seed=2)
    for onto in (normal(3, seed=3), normal(5, 3, seed=3)):
        onto.requires_grad_()
        y = mvm(x, weight, Periphery(8, 8, 0.1, 0.04), onto=onto, noise=stream("cpu"))
        (gradient,) = torch.autograd.grad((y * out).sum(), onto)
        assert torch.allclose(gradient, out if onto.dim() == 2 else out.sum(dim=0)), "saturated or not"


def test_elementwise_operations_can_be_compiled_whole() -> None:
    """What a GPU gets as one pass: a break in the graph would be an error here."""
    x, onto, scale = normal(6, 8, seed=0), normal(6, 8, seed=1), normal(8, seed=2)
    compiled = torch.compile(elementwise._convert, backend="eager", fullgraph=True, dynamic=True)
    for input_range in (None, 2.0):
        for found, expected in zip(
            compiled(x, 8, input_range), elementwise._convert(x, 8, input_range), strict=True
        ):
            assert torch.equal(found, expected)
    outputs = [x.clone(), x.clone()]
    for finish, y in zip(
        (torch.compile(elementwise._finish_, backend="eager", fullgraph=True), elementwise._finish_),
        outputs,
        strict=True,
    ):
        finish(y, 8, 2.0, x[:, 0].abs(), scale, onto)
    assert torch.equal(*outputs)


def test_a_device_without_kernels_takes_the_same_calls() -> None:
    """The meta device stands for a GPU: shapes and types, without values."""
    x, weight = torch.empty(2, 3, 8, device="meta"), torch.empty(5, 8, device="meta")
    for needs in (False, True):
        y = mvm(x.requires_grad_(needs), weight, Periphery(8, 8, 10.0, 0.04), noise=stream("meta"))
        assert (y.device.type, y.shape, y.dtype) == ("meta", (2, 3, 5), torch.float32)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
