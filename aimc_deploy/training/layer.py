"""A linear layer that learns in memory, and its place in a model."""

from __future__ import annotations

import fnmatch
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.errors import ModelError
from aimc_deploy.tile.mvm import multiply
from aimc_deploy.tile.periphery import Periphery
from aimc_deploy.training.algorithm import Algorithm
from aimc_deploy.training.algorithms import build

RMS_OF_ZEROS = 0.02
"""What a matrix of zeros, such as LoRA's B at the start, is scaled for; layers of BERT begin with it."""


def borders_of(settings: InMemory) -> Periphery | None:
    """Converters and noise around an array in its own units; None where they are ideal."""
    given = settings.converters
    if given is None:
        return None
    largest = settings.device.tau
    return Periphery(
        given.dac_bits, given.adc_bits, given.output_range * largest, given.output_noise * largest
    )


class AnalogTrainLinear(nn.Linear):
    """``y = out_scale * (W x) + bias``, with ``W`` on arrays that pulses train; a subclass of ``nn.Linear``.

    ``weight`` is the weight that computes, in array units; it is used in both directions, and nothing but
    :meth:`learn` changes it. It never gets a gradient: the backward pass keeps inputs and output gradients,
    as the array gets them, in ``captured``. Bias and scale are digital parameters like any other.

    ``state_dict`` holds the weight, enough to compute with; what is needed to go on learning is in the
    optimizer's.

    Attributes:
        algorithm: the arrays, and how they learn.
        borders: converters around the arrays; None: ideal ones.
        captured: inputs and gradients of the backward passes since the last step.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        algorithm: Algorithm,
        out_scale: float = 1.0,
        learn_scale: bool = True,
        borders: Periphery | None = None,
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.algorithm = algorithm
        self.out_scale = nn.Parameter(torch.tensor(out_scale), requires_grad=learn_scale)
        self.borders = borders
        self.captured: list[tuple[Tensor, Tensor]] = []
        self.refresh()

    @classmethod
    def of(cls, linear: nn.Linear, settings: InMemory, *names: str | int) -> AnalogTrainLinear:
        """The same layer in memory, its weights brought to ``settings.rms`` of the upper bound.

        Args:
            linear: what it starts with; weights beyond the bounds are clipped.
            names: of the layer and of what it is part of, a seed first; they seed devices and pulses.
        """
        weight = linear.weight.detach()
        shape = (linear.out_features, linear.in_features)
        algorithm = build(
            settings.algorithm, settings.device, shape, *names, residual_device=settings.residual_device
        ).to(weight.device)
        rms = float(weight.square().mean().sqrt()) or RMS_OF_ZEROS
        scale = rms / (settings.rms * settings.device.tau)
        algorithm.program(weight / scale)
        layer = cls(
            linear.in_features,
            linear.out_features,
            linear.bias is not None,
            algorithm=algorithm,
            out_scale=scale,
            learn_scale=settings.learn_scale,
            borders=borders_of(settings),
        )
        if linear.bias is not None:
            layer.bias.data = linear.bias.detach().clone()
        return layer.to(weight.device)

    def forward(self, input: Float[Tensor, "... inputs"]) -> Float[Tensor, "... outputs"]:
        """The product, its digital scale and the bias."""
        x = input.to(self.weight.dtype)
        y = _Product.apply(x, self.weight, self.captured, self.borders) * self.out_scale
        return y if self.bias is None else y + self.bias

    def learn(self, lr: float, schedule: float = 1.0) -> None:
        """One step of the algorithm with all that was captured; nothing if nothing was."""
        if not self.captured:
            return
        inputs, gradients = zip(*self.captured, strict=True)
        self.captured.clear()
        several = len(inputs) > 1
        x = torch.cat(inputs) if several else inputs[0]
        d = torch.cat(gradients) if several else gradients[0]
        self.algorithm.update(x, d, lr, schedule)
        self.refresh()

    def merge(self) -> None:
        """Bring the whole weight into the first array."""
        self.algorithm.merge()
        self.refresh()

    def refresh(self) -> None:
        """Take the weight from the arrays."""
        with torch.no_grad():
            self.weight.copy_(self.algorithm.weight())

    def effective_weight(self) -> Float[Tensor, "outputs inputs"]:
        """The weight of an ordinary linear layer that computes the same."""
        return (self.weight * self.out_scale).detach()

    def digital(self) -> nn.Linear:
        """An ordinary linear layer that computes the same."""
        bias = self.bias is not None
        linear = nn.Linear(self.in_features, self.out_features, bias, device=self.weight.device)
        linear.weight.data = self.effective_weight()
        if bias:
            linear.bias.data = self.bias.detach().clone()
        return linear


class _Product(torch.autograd.Function):
    """``x W^T``; the backward pass keeps what an update needs in the place of the weight's gradient.

    Gradients pass straight through converters, and stop where an ADC was out of its range.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, captured: list[tuple[Tensor, Tensor]], borders: Periphery | None
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.captured, ctx.borders = captured, borders
        y, ctx.saturated = _multiply(x, weight, borders)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, None, None, None]:
        (d,) = gradients
        x, weight = ctx.saved_tensors
        if ctx.saturated is not None:
            d = d.masked_fill(ctx.saturated, 0)
        ctx.captured.append((x.detach().reshape(-1, x.shape[-1]), d.detach().reshape(-1, d.shape[-1])))
        back = _multiply(d, weight.T, ctx.borders)[0] if ctx.needs_input_grad[0] else None
        return back, None, None, None


def _multiply(x: Tensor, weight: Tensor, borders: Periphery | None) -> tuple[Tensor, Tensor | None]:
    """Outputs, and where the ADC was out of its range; None for nowhere."""
    if borders is None:
        return x @ weight.T, None
    shape = *x.shape[:-1], len(weight)
    y, saturated = multiply(x.reshape(-1, x.shape[-1]), weight, borders)
    return y.view(shape), None if saturated is None else saturated.view(shape)


def analog_layers(model: nn.Module) -> dict[str, AnalogTrainLinear]:
    """The layers of a model that learn in memory, by their names."""
    return {name: part for name, part in model.named_modules() if isinstance(part, AnalogTrainLinear)}


def train_in_memory(
    model: nn.Module, settings: InMemory, pattern: str = "*", *, seed: int = 0
) -> dict[str, AnalogTrainLinear]:
    """Put the linear layers of a model that are to be trained onto arrays that learn, in place.

    Args:
        model: whose layers of exactly the type ``nn.Linear`` are taken, but for frozen ones.
        pattern: shell pattern of their names.
        seed: of devices and pulses.

    Returns:
        The new layers by name.

    Raises:
        ModelError: no layer has such a name.
    """
    linear = {
        name: part
        for name, part in model.named_modules()
        if type(part) is nn.Linear and part.weight.requires_grad
    }
    chosen = {name: part for name, part in linear.items() if fnmatch.fnmatchcase(name, pattern)}
    if not chosen:
        raise ModelError(
            f"no linear layer that is trained has a name that fits '{pattern}': the names are "
            f"{', '.join(sorted(linear)) or 'none'}"
        )
    found = {name: AnalogTrainLinear.of(part, settings, seed, name) for name, part in chosen.items()}
    for name, layer in found.items():
        _put(model, name, layer)
    return found


def take_from_memory(model: nn.Module) -> None:
    """Put ordinary layers that compute the same in the place of all that learn in memory."""
    for name, layer in analog_layers(model).items():
        _put(model, name, layer.digital())


def _put(model: nn.Module, name: str, layer: nn.Module) -> None:
    parent, _, key = name.rpartition(".")
    setattr(model.get_submodule(parent), key, layer)
