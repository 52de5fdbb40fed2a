"""The Trainer: the order of the samples, and the settings it is given."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aimc_deploy.config.adapt import Adapt
from aimc_deploy.workflows.trainer import EpochOrder, training_arguments

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=200)


def order(lengths: list[int], seed: int, epoch: int, batch_size: int = 8) -> list[int]:
    sampler = EpochOrder(batch_size, lengths, seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@given(LENGTHS, st.integers(0, 2**31 - 1), st.integers(0, 1000), st.integers(1, 64))
def test_every_epoch_has_each_sample_once(lengths: list[int], seed: int, epoch: int, batch_size: int) -> None:
    assert sorted(order(lengths, seed, epoch, batch_size)) == list(range(len(lengths)))


@given(LENGTHS, st.integers(0, 2**31 - 1), st.integers(0, 1000))
def test_the_order_depends_on_seed_and_epoch_alone(lengths: list[int], seed: int, epoch: int) -> None:
    torch.manual_seed(1)
    first = order(lengths, seed, epoch)
    torch.rand(3)
    state = torch.get_rng_state()
    sampler = EpochOrder(8, lengths, seed)
    for earlier in range(2):
        sampler.set_epoch(earlier)
        list(sampler)
    sampler.set_epoch(epoch)
    assert list(sampler) == first
    assert torch.equal(torch.get_rng_state(), state), "it draws nothing from the global generator"


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    lengths = [1 + place % 7 for place in range(100)]
    orders = {tuple(order(lengths, seed, epoch)) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9


def test_samples_of_a_batch_are_of_like_length() -> None:
    """Of lengths 1 to 40 drawn evenly, eight at random would spread over about 31."""
    lengths = torch.randint(1, 41, (800,), generator=torch.Generator().manual_seed(0)).tolist()
    places = order(lengths, 0, 0)
    batches = [[lengths[place] for place in places[start : start + 8]] for start in range(0, 800, 8)]
    spread = [max(batch) - min(batch) for batch in batches]
    # One batch holds the longest sample of all, which is put first, and one may straddle a boundary.
    assert sorted(spread)[len(spread) // 2] <= 5


@pytest.mark.parametrize(("method", "rate"), [("lora", 2.0e-4), ("full", 5.0e-5)])
def test_the_learning_rate_is_that_of_the_method_unless_it_is_given(
    tmp_path: Path, method: str, rate: float
) -> None:
    cpu = torch.device("cpu")
    adapt = Adapt.model_validate({"method": method})
    arguments = training_arguments(adapt, tmp_path, epochs=1, seed=3, device=cpu)
    assert (arguments.learning_rate, arguments.seed, arguments.data_seed) == (rate, 3, 3)
    given = adapt.model_copy(update={"learning_rate": 0.5})
    assert training_arguments(given, tmp_path, epochs=1, seed=3, device=cpu).learning_rate == 0.5
