"""Named random streams: fixed, distinct, normal, and none of torch's own generator."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aimc_deploy.physics.kernels import threefry
from aimc_deploy.physics.random import Stream, derive_seed, stream

# The separator of the names cannot be part of one, and no layer is called so.
words = st.text(st.characters(exclude_characters="\x1f", exclude_categories=["Cs"]), max_size=8)
paths = st.lists(st.one_of(words, st.integers(-(10**6), 10**6), st.floats(allow_nan=False)), max_size=5)

NORMAL = statistics.NormalDist()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return Stream("cpu", seed).normal_like(torch.empty(shape))


def test_seeds_stay_the_same_from_release_to_release() -> None:
    assert derive_seed(0, "chip", 3, "encoder.0.query", "drift") == 2407322418587796718
    assert stream("cpu", 0, "chip", 3).seed == derive_seed(0, "chip", 3)


@given(paths, paths)
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


@pytest.mark.parametrize(
    ("key", "counters", "words"),
    [
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_random_words_are_those_of_threefry(
    key: tuple[int, int], counters: tuple[int, int], words: tuple[int, int]
) -> None:
    """The test vectors that Salmon et al. published with Random123."""
    found = threefry(np.uint64(key[0] | key[1] << 32), *counters)
    assert int(found) == words[0] | words[1] << 32


def test_values_stay_the_same_from_release_to_release() -> None:
    expected = [2.9751570, -0.26701668, 1.3752490, -1.1727309, -0.86416346, -1.0545133]
    # Two words through logarithm, root and sine: the last digits are the processor's.
    values = stream("cpu", "release").normal_like(torch.empty(2, 3))
    assert values.flatten().tolist() == pytest.approx(expected, rel=1e-5)


def test_a_stream_does_not_depend_on_what_was_drawn_before() -> None:
    first = stream("cpu", 0, "chip", 1).normal_like(torch.empty(8))
    stream("cpu", 0, "chip", 2).normal_like(torch.empty(100))
    torch.manual_seed(99)
    again = stream("cpu", 0, "chip", 1).normal_like(torch.empty(8))
    assert torch.equal(first, again)


@pytest.mark.parametrize("shape", [(), (1,), (7,), (3, 5), (2, 3, 4), (0, 4), (4, 0), (1000, 129)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    values = draw(*shape)
    assert values.shape == shape
    assert bool(values.isfinite().all())
    assert values.unique().numel() >= 0.98 * values.numel(), "every value has a draw of its own"


@pytest.mark.parametrize("shape", [(500, 300), (3, 100_001), (40_000, 5)])
def test_values_do_not_depend_on_the_number_of_threads(shape: tuple[int, int]) -> None:
    threads, drawn = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            drawn.append(draw(*shape))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_adding_leaves_the_gain_and_takes_the_size(dtype: torch.dtype) -> None:
    values = torch.ones(3, 4, dtype=dtype)
    drawn = stream("cpu", "add").normal_like(values)
    assert drawn.dtype == dtype
    added = stream("cpu", "add").add_to_(values, 0.5, 2.0)
    assert added is values, "in place"
    assert torch.allclose(added, 2 + 0.5 * drawn, rtol=2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(300, 401), (120_000,)])
def test_every_value_gets_a_spread_of_its_own(shape: tuple[int, ...]) -> None:
    variance = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    drawn = stream("cpu", "own").add_of_(torch.full(shape, 5.0), variance, 2.0) - 5
    standard = drawn / (2 * variance.sqrt())
    # 1.2e5 values: standard errors of 0.003, and of 0.2 % of the standard deviation
    assert standard.mean().item() == pytest.approx(0, abs=0.012)
    assert standard.std().item() == pytest.approx(1, rel=0.01)
    assert torch.equal(stream("cpu", "own").add_of_(torch.full(shape, 5.0), variance * 0, 2.0) - 5, 0 * drawn)


def test_a_stream_follows_the_generator_it_is_given() -> None:
    first, second = (Stream("cpu", None, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first.normal_like(torch.zeros(5)), second.normal_like(torch.zeros(5)))
    assert not torch.equal(first.normal_like(torch.zeros(5)), first.normal_like(torch.zeros(5)))


def test_a_view_is_filled_where_it_lies() -> None:
    whole = torch.zeros(4, 6)
    stream("cpu", "view").add_to_(whole[:, 1:4], 1.0)
    assert bool((whole[:, [0, 4, 5]] == 0).all())
    assert torch.equal(whole[:, 1:4], stream("cpu", "view").normal_like(torch.empty(4, 3)))


def correlation(first: Tensor, second: Tensor) -> float:
    """In standard errors, of equally many values each."""
    pairs = torch.stack([first.flatten(), second.flatten()]).double()
    return float(torch.corrcoef(pairs)[0, 1]) * math.sqrt(pairs.shape[1])


def test_values_draws_and_streams_are_independent() -> None:
    """Next to each other, across the middle of a row, from draw to draw, and from seed to seed."""
    noise = Stream("cpu", 5)
    one, two = (noise.normal_like(torch.empty(1000, 1000)) for _ in range(2))
    other = draw(1000, 1000, seed=6)
    pairs = {
        "columns": (one[:, 1:], one[:, :-1]),
        "rows": (one[1:], one[:-1]),
        "the two of a pair": (one[:, :500], one[:, 500:]),
        "draws": (one, two),
        "seeds": (one, other),
    }
    found = {}
    for name, (first, second) in pairs.items():
        found[name] = correlation(first, second)
        found[f"squares, {name}"] = correlation(first.square(), second.square())
    assert not {name: value for name, value in found.items() if abs(value) > 4}


def moments_and_tails(count: int, chunk: int) -> dict[str, float]:
    """How far, in standard errors, ``count`` values are from a normal distribution."""
    sums, beyond = np.zeros(4), dict.fromkeys((1, 2, 3, 4, 5), 0)
    noise = stream("cpu", "moments", count)
    for _ in range(count // chunk):
        values = noise.normal_like(torch.empty(chunk // 1000, 1000)).double()
        sums += [float(values.pow(power).mean()) for power in (1, 2, 3, 4)]
        for sigmas in beyond:
            beyond[sigmas] += int((values.abs() > sigmas).sum())
    means = sums / (count // chunk)
    # Moments 0, 1, 0, 3 with variances 1, 2, 15, 96 for one value.
    found = {
        f"moment {power + 1}": (means[power] - expected) / math.sqrt(variance / count)
        for power, (expected, variance) in enumerate([(0, 1), (1, 2), (0, 15), (3, 96)])
    }
    for sigmas, seen in beyond.items():
        share = 2 * NORMAL.cdf(-sigmas)
        found[f"beyond {sigmas}"] = (seen - count * share) / math.sqrt(count * share * (1 - share))
    return found


def test_a_hundred_million_values_are_normal() -> None:
    found = moments_and_tails(100_000_000, 5_000_000)
    assert not {name: value for name, value in found.items() if abs(value) > 4}


def test_only_a_stream_without_a_seed_follows_torchs_own_generator() -> None:
    before = torch.get_rng_state()
    stream("cpu", "own").normal_like(torch.empty(10))
    assert torch.equal(torch.get_rng_state(), before)
    with torch.random.fork_rng(devices=[]):
        drawn = []
        for seed in (7, 7, 8):
            torch.manual_seed(seed)
            drawn.append(Stream("cpu", None).normal_like(torch.empty(10)))
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])
        assert not torch.equal(Stream("cpu", None).normal_like(torch.empty(10)), drawn[2])
