"""Looking for what is the first to be not finite in a model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import StaticRange
from aimc_deploy.errors import TrainingError
from aimc_deploy.nn.calibrate import observe
from aimc_deploy.nn.not_finite import broken_parameter, first_not_finite, plain


class Outer(nn.Module):
    """Two layers; the product of their outputs overflows in neither of them."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(2, 2, bias=False)
        self.two = nn.Sequential(nn.Identity(), nn.Linear(2, 2, bias=False))

    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        first = self.one(x)
        return {"logits": (first, self.two(first))}


def test_the_innermost_layer_is_named() -> None:
    model = Outer()
    with torch.no_grad():
        model.one.weight.fill_(1.0)
        model.two[1].weight.fill_(3.0e38)
    assert first_not_finite(model, {"x": torch.ones(1, 2)}) == "layer 'two.1' is the first"
    assert first_not_finite(model, {"x": torch.full((1, 2), torch.inf)}) == "layer 'one' is the first"
    assert first_not_finite(model, {"x": torch.zeros(1, 2)}) == "computed once more, every layer is finite"
    assert not any(module._forward_hooks for module in model.modules())


def test_a_parameter_that_is_not_finite_is_named_with_its_place() -> None:
    model = Outer()
    assert broken_parameter(model) is None
    with torch.no_grad():
        model.two[1].weight[1, 0] = torch.nan
    told = "parameter 'two.1.weight' is not finite at [1, 0]"
    assert broken_parameter(model) == told
    assert first_not_finite(model, {"x": torch.ones(1, 2)}) == told


def test_a_loss_that_alone_overflows_is_told() -> None:
    class Loss(nn.Module):
        def forward(self, x: Tensor) -> tuple[Tensor]:
            return (x * torch.inf,)

    told = first_not_finite(Loss(), {"x": torch.ones(1)})
    assert told == "every layer is finite, and the loss is not"


def test_names_are_told_without_what_peft_puts_before_them() -> None:
    assert plain("base_model.model.bert.encoder") == "bert.encoder"
    assert plain("base_model.model") == plain("base_model") == ""
    assert plain("model.base_model.model.bert.encoder") == "bert.encoder"
    assert plain("model.encoder") == "model.encoder"


@pytest.mark.parametrize("method", ["max", "quantile", "moving_std"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_no_input_range_comes_from_what_is_not_finite(method: str, bad: float) -> None:
    values = torch.tensor([[1.0, bad], [2.0, 3.0]])
    with pytest.raises(TrainingError, match="not finite"):
        observe(values, 1.0, StaticRange(method=method))
