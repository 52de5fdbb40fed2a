"""Static input ranges from a few batches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import DAC, Hardware, StaticRange
from aimc_deploy.errors import TrainingError
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.calibrate import calibrate, observe
from aimc_deploy.nn.convert import map_layer

Build = Callable[..., Hardware]
MAX = StaticRange(method="max")


class Model(nn.Module):
    """Two analog layers, one after the other."""

    def __init__(self, hardware: Hardware) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        first, second = nn.Linear(40, 20), nn.Linear(20, 3, bias=False)
        for layer in (first, second):
            for parameter in layer.parameters():
                nn.init.normal_(parameter, std=0.2, generator=generator)
        self.first = map_layer(first, "first", hardware)
        self.second = map_layer(second, "second", hardware)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(inputs)))


@pytest.fixture
def model(hardware: Build) -> Model:
    return Model(hardware(dac=DAC(input_range=MAX)))


def test_the_largest_value_ever_seen() -> None:
    first = observe(torch.tensor([[0.5, -2.0], [1.0, 0.0]]), None, MAX)
    assert first == 2.0
    assert observe(torch.tensor([1.0, -1.5]), first, MAX) == 2.0
    assert observe(torch.tensor([1.0, -3.5]), first, MAX) == 3.5


def test_a_quantile_of_the_sizes() -> None:
    settings = StaticRange(method="quantile", quantile=0.9, momentum=0.25)
    values = torch.arange(1.0, 11.0) * torch.tensor([1.0, -1.0] * 5)
    first = observe(values.reshape(2, 5), None, settings)
    assert first == 9.0, "the 9th of 10 sizes"
    assert observe(torch.full((10,), 1.0), first, settings) == pytest.approx(9.0 + 0.25 * (1.0 - 9.0))
    everything = StaticRange(method="quantile", quantile=1.0)
    assert observe(values, None, everything) == 10.0
    assert observe(torch.tensor([3.0]), None, settings) == 3.0


def test_a_quantile_of_many_values_is_that_of_their_distribution() -> None:
    count, quantile = 100_000, 0.9995
    values = torch.randn(count, generator=torch.Generator().manual_seed(0))
    found = observe(values, None, StaticRange(quantile=quantile))
    expected = float(torch.special.ndtri(torch.tensor(0.5 + quantile / 2, dtype=torch.float64)))
    # Asymptotic deviation of a sample quantile, sqrt(q (1 - q) / n) over the density of |N| there.
    density = 2 * float(torch.exp(torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor(expected))))
    standard_error = (quantile * (1 - quantile) / count) ** 0.5 / density
    assert abs(found - expected) < 4 * standard_error


def test_a_running_number_of_deviations() -> None:
    settings = StaticRange(method="moving_std", num_std=3.0, momentum=0.5)
    first = observe(torch.tensor([1.0, -1.0, 1.0, -1.0]), None, settings)
    assert first == pytest.approx(3.0 * (4 / 3) ** 0.5)
    assert observe(torch.zeros(4), first, settings) == pytest.approx(first / 2)


def test_every_segment_of_every_layer_gets_the_range_of_its_inputs(model: Model) -> None:
    batches = [
        {"inputs": torch.randn(3, 5, 40, generator=torch.Generator().manual_seed(seed))} for seed in range(4)
    ]
    calibrate(model, batches, MAX)
    inputs = torch.cat([batch["inputs"] for batch in batches])
    with torch.no_grad():
        hidden = torch.relu(model.first(inputs))
    for layer, seen in ((model.first, inputs), (model.second, hidden)):
        assert layer.input_ranges is not None
        assert len(layer.input_ranges) == len(layer.grid.layout.row_slices)
        expected = [float(seen[..., rows].abs().max()) for rows in layer.grid.layout.row_slices]
        assert layer.input_ranges == pytest.approx(expected)
    assert len(model.first.input_ranges or []) == 3


def test_only_zeros_give_the_range_one(model: Model) -> None:
    inputs = torch.ones(2, 40)
    inputs[:, model.first.grid.layout.row_slices[1]] = 0
    calibrate(model, [{"inputs": inputs}], MAX)
    assert model.first.input_ranges == [1.0, 1.0, 1.0]
    calibrate(model, [{"inputs": 3 * inputs}], MAX)
    assert model.first.input_ranges == [3.0, 1.0, 3.0], "calibrating again starts anew"


@pytest.mark.parametrize("method", ["max", "quantile", "moving_std"])
def test_inputs_below_any_range_give_the_range_one_and_the_largest_a_finite_one(
    model: Model, method: str
) -> None:
    settings = StaticRange.model_validate({"method": method})
    calibrate(model, [{"inputs": torch.tensor([1.0e-40, -1.0e-40]).repeat(2, 20)}], settings)
    assert model.first.input_ranges == [1.0, 1.0, 1.0]
    with torch.no_grad():
        model.first.weight.fill_(0)
        model.first.bias.fill_(0)
    calibrate(model, [{"inputs": torch.tensor([3.4e38, -3.4e38]).repeat(2, 20)}], settings)
    assert model.first.input_ranges is not None
    assert max(model.first.input_ranges) <= 3.0e38


def test_what_is_not_finite_names_the_layer(model: Model) -> None:
    with torch.no_grad():
        model.first.bias[0] = torch.inf
    with pytest.raises(TrainingError, match=r"layer 'second' cannot be given an input range: .* not finite"):
        calibrate(model, [{"inputs": torch.ones(2, 40)}], MAX)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_calibration_leaves_no_hook_behind(model: Model) -> None:
    def batches() -> list[dict[str, Tensor]]:
        return [{"inputs": torch.ones(2, 40)}]

    calibrate(model, batches(), MAX)
    with pytest.raises(TypeError, match="other"):
        calibrate(model, [{"other": torch.ones(2, 40)}], MAX)  # type: ignore[list-item]
    for layer in (model.first, model.second):
        assert not layer._forward_pre_hooks
    ranges = list(model.first.input_ranges or [])
    model(inputs=torch.full((2, 40), 50.0))
    assert model.first.input_ranges == ranges


def test_calibration_records_no_gradients_and_draws_nothing(model: Model) -> None:
    inputs = torch.ones(2, 40, requires_grad=True)
    state = torch.get_rng_state()
    seen: list[bool] = []
    model.second.register_forward_hook(lambda _module, _args, output: seen.append(output.requires_grad))
    calibrate(model, [{"inputs": inputs}], MAX)
    assert seen == [False]
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_larger_than_the_calibrated_range_saturates(model: Model) -> None:
    inputs = torch.randn(4, 40, generator=torch.Generator().manual_seed(0)).sign()
    calibrate(model, [{"inputs": inputs}], MAX)
    layer: AnalogLinear = model.first
    layer.program(0, 0)
    layer.drift(0.0)
    with torch.no_grad():
        assert torch.equal(layer(5 * inputs), layer(inputs))
        assert not torch.equal(layer(0.5 * inputs), layer(inputs))
