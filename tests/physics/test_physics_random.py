"""Named random streams: fixed, distinct, and none of torch's own generator."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.physics.random import derive_seed, normal_like, stream

# The separator of the names cannot be part of one, and no layer is called so.
words = st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]), max_size=8)
paths = st.lists(st.one_of(words, st.integers(-(10**6), 10**6), st.floats(allow_nan=False)), max_size=5)


def test_seeds_stay_the_same_from_release_to_release() -> None:
    assert derive_seed(0, "chip", 3, "encoder.0.query", "drift") == 2407322418587796718
    assert stream("cpu", 0, "chip", 3).initial_seed() == derive_seed(0, "chip", 3)


@given(paths, paths)
@settings(deadline=None)
def test_other_names_give_another_seed(first: list[object], second: list[object]) -> None:
    same = [(type(name), repr(name)) for name in first] == [(type(name), repr(name)) for name in second]
    assert (derive_seed(*first) == derive_seed(*second)) is same  # type: ignore[arg-type]
    assert 0 <= derive_seed(*first) < 2**63  # type: ignore[arg-type]


def test_number_text_and_nesting_are_told_apart() -> None:
    seeds = {
        derive_seed(*names)
        for names in [(1,), ("1",), (1.0,), (1, 1), (11,), ("1", "1"), ("a", "b"), ("ab",), ("b", "a"), ()]
    }
    assert len(seeds) == 10


def test_a_stream_does_not_depend_on_what_was_drawn_before() -> None:
    first = normal_like(torch.empty(8), stream("cpu", 0, "chip", 1))
    normal_like(torch.empty(100), stream("cpu", 0, "chip", 2))
    torch.manual_seed(99)
    again = normal_like(torch.empty(8), stream("cpu", 0, "chip", 1))
    assert torch.equal(first, again)


def test_streams_of_other_names_are_independent() -> None:
    count = 100_000
    values = torch.stack(
        [
            normal_like(torch.empty(count, dtype=torch.float64), stream("cpu", 0, "chip", chip))
            for chip in range(4)
        ]
    )
    correlations = torch.corrcoef(values) - torch.eye(4)
    assert float(correlations.abs().max()) < 4 / math.sqrt(count)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_are_standard_normal_of_the_shape_and_type_asked_for(dtype: torch.dtype) -> None:
    values = normal_like(torch.empty(300, 400, dtype=dtype), stream("cpu", "normal"))
    assert (values.shape, values.dtype) == ((300, 400), dtype)
    count = values.numel()
    assert abs(float(values.double().mean())) < 4 / math.sqrt(count)
    assert abs(float(values.double().std()) - 1) < 4 / math.sqrt(2 * count)
    fourth = float(values.double().pow(4).mean())
    assert abs(fourth - 3) < 4 * math.sqrt((105 - 9) / count), "the tails are normal too"


def test_the_global_generator_is_used_only_when_no_other_is_given() -> None:
    before = torch.get_rng_state()
    normal_like(torch.empty(10), stream("cpu", "own"))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        expected = torch.randn(10)
        torch.manual_seed(7)
        assert torch.equal(normal_like(torch.empty(10), None), expected)
