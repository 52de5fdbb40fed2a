"""Clipping, scaling and the differential pair, against values worked out by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimc_deploy.config.hardware import FixedClip, LayerGaussianClip, NoClip
from aimc_deploy.physics.conductance import clip_weights, to_conductance, to_weight, weight_scale

EPS = torch.finfo(torch.float32).eps
FEW = settings(max_examples=60)
matrices = st.integers(1, 5).flatmap(
    lambda rows: st.lists(
        st.lists(st.floats(-4, 4, width=32, allow_subnormal=False), min_size=rows, max_size=rows),
        min_size=1,
        max_size=5,
    )
)


def test_without_clipping_the_weights_are_copied() -> None:
    weight = torch.tensor([[5.0, -0.1], [0.0, 2.0]])
    clipped = clip_weights(weight, NoClip())
    assert torch.equal(clipped, weight)
    clipped.zero_()
    assert weight[0, 0] == 5.0, "the copy is no view of the model's own weights"


def test_a_fixed_bound_clips_both_signs() -> None:
    clipped = clip_weights(torch.tensor([[0.3, -0.7], [0.5, 2.0]]), FixedClip(value=0.5))
    assert torch.equal(clipped, torch.tensor([[0.3, -0.5], [0.5, 0.5]]))


def test_the_gaussian_bound_is_the_population_deviation_of_the_layer() -> None:
    # Mean 1, squared deviations 1, 1, 1, 1, 16, 16: population variance 6, sample variance 7.2.
    weight = torch.tensor([[0.0, 2.0, 5.0], [2.0, 0.0, -3.0]])
    clipped = clip_weights(weight, LayerGaussianClip(sigma=1.0))
    bound = 6.0**0.5
    assert clipped.flatten().tolist() == pytest.approx([0.0, 2.0, bound, 2.0, 0.0, -bound])


def test_the_gaussian_bound_is_one_for_all_columns() -> None:
    weight = torch.randn(2, 20_000, generator=torch.Generator().manual_seed(1)) * torch.tensor([[0.1], [1.0]])
    clipped = clip_weights(weight, LayerGaussianClip(sigma=2.0))
    bound = 2.0 * float(weight.double().std(correction=0))
    assert torch.equal(clipped[0], weight[0]), "nothing of the quiet column reaches the layer's bound"
    assert float(clipped[1].abs().max()) == pytest.approx(bound, rel=1e-6)
    # P(|N| > 2 std_layer / 1) with std_layer = sqrt((0.01 + 1) / 2); binomial standard error.
    expected = float(torch.special.erfc(torch.tensor(2.0 * (1.01 / 2) ** 0.5 / 2**0.5)))
    standard_error = (expected * (1 - expected) / 20_000) ** 0.5
    share = float((clipped[1].abs() < weight[1].abs()).double().mean())
    assert abs(share - expected) < 4 * standard_error


@given(matrices, st.floats(0.5, 4))
@FEW
def test_clipping_never_changes_what_lies_inside_the_bound(rows: list[list[float]], sigma: float) -> None:
    weight = torch.tensor(rows)
    clipped = clip_weights(weight, LayerGaussianClip(sigma=sigma))
    bound = sigma * float(weight.double().std(correction=0))
    inside = weight.abs() <= bound
    assert torch.equal(clipped[inside], weight[inside])
    assert bool((clipped[~inside].abs() <= bound * (1 + EPS)).all())
    assert bool((clipped * weight >= 0).all()), "no sign changes"


def test_the_scale_is_the_largest_weight_of_the_column_or_of_the_tile() -> None:
    weight = torch.tensor([[0.1, -0.4], [0.2, 0.3], [0.0, 0.0]])
    assert weight_scale(weight, "column").tolist() == pytest.approx([0.4, 0.3, 1.0])
    assert weight_scale(weight, "tile").tolist() == pytest.approx([0.4, 0.4, 0.4])
    assert weight_scale(torch.zeros(2, 3), "tile").tolist() == [1.0, 1.0]
    smallest = torch.finfo(torch.float32).tiny
    denormal = torch.tensor([[smallest / 2, 0.0], [smallest, -smallest]])
    assert weight_scale(denormal, "column").tolist() == [1.0, smallest]


@given(matrices)
@FEW
def test_every_column_that_is_not_zero_uses_its_whole_range(rows: list[list[float]]) -> None:
    weight = torch.tensor(rows)
    normalised = weight / weight_scale(weight, "column").unsqueeze(1)
    largest = normalised.abs().amax(dim=1)
    assert torch.equal(largest, (weight.abs().amax(dim=1) > 0).float())


def test_a_pair_holds_the_sign_in_two_devices() -> None:
    g_plus, g_minus = to_conductance(torch.tensor([[-1.0, -0.5, 0.0, 0.1, 1.0]]), 25.0)
    assert g_plus.tolist() == [[0.0, 0.0, 0.0, pytest.approx(2.5), 25.0]]
    assert g_minus.tolist() == [[25.0, 12.5, 0.0, 0.0, 0.0]]


@given(
    st.lists(st.floats(-1, 1, width=32, allow_subnormal=False), min_size=1, max_size=8),
    st.sampled_from([10.35, 20.7, 25.0, 88.2]),
)
@FEW
def test_a_pair_gives_the_weight_back(values: list[float], g_max: float) -> None:
    weight = torch.tensor([values])
    g_plus, g_minus = to_conductance(weight, g_max)
    assert bool((torch.minimum(g_plus, g_minus) == 0).all()), "g_min is 0: one device of the pair is off"
    assert bool((torch.maximum(g_plus, g_minus) <= g_max * (1 + EPS)).all())
    # A product and a quotient, each rounded once.
    back = to_weight(g_plus, g_minus, g_max)
    assert bool(((back - weight).abs() <= 2 * EPS * weight.abs()).all())


def test_the_difference_of_the_pair_counts() -> None:
    weight = to_weight(torch.tensor([[12.5, 5.0]]), torch.tensor([[2.5, 10.0]]), 25.0)
    assert weight.flatten().tolist() == pytest.approx([0.4, -0.2])
