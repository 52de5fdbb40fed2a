"""An optimizer for models with layers that learn in memory; it drops into a loop, or into a Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from aimc_deploy.errors import ArtifactError, ConfigError, TrainingError
from aimc_deploy.training.layer import analog_layers


class AnalogOptimizer(torch.optim.Optimizer):
    """Layers in memory learn by pulses, all other parameters by the optimizer it is given.

    Its groups of parameters are one for the layers in memory, whose ``lr`` is the rate of their pulses, and
    then those of the digital optimizer, so that a scheduler reaches both; transfers between arrays follow the
    schedule. Its ``state_dict`` holds both, bit by bit. Gradient clipping does not reach layers in memory.

    Args:
        model: with layers that learn in memory.
        lr: of the layers in memory.
        digital: of all other parameters; None if they are not to be trained.

    Raises:
        ConfigError: the model has no layer in memory, ``lr`` is not above 0, or ``digital`` holds the weight
            of a layer in memory, which only pulses may change.
    """

    def __init__(self, model: nn.Module, lr: float, digital: torch.optim.Optimizer | None = None) -> None:
        self.layers = analog_layers(model)
        self.digital = digital
        if not self.layers:
            raise ConfigError("the model has no layer that learns in memory: put some there first")
        if not lr > 0:
            raise ConfigError(f"the learning rate of layers in memory is {lr:g}: it must be above 0")
        weights = [layer.weight for layer in self.layers.values()]
        held = {id(part) for group in digital.param_groups for part in group["params"]} if digital else set()
        if any(id(weight) in held for weight in weights):
            raise ConfigError(
                "the digital optimizer holds weights of layers in memory, which only pulses change: give it "
                "digital_parameters(model)"
            )
        self._initial_lr = lr
        super().__init__([{"params": weights, "lr": lr}], {})
        self._share_groups()

    def _share_groups(self) -> None:
        """Behind the group of the layers in memory, the digital optimizer's own, not copies of them."""
        self.param_groups[1:] = self.digital.param_groups if self.digital else []

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step of every layer in memory that has seen a backward pass, and of the digital optimizer.

        Raises:
            TrainingError: inputs or gradients of a layer are not finite; the message names it.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        lr = float(self.param_groups[0]["lr"])
        for name, layer in self.layers.items():
            if lr == 0:
                layer.captured.clear()
                continue
            try:
                layer.learn(lr, lr / self._initial_lr)
            except TrainingError as error:
                raise TrainingError(f"layer '{name}': {error}") from None
        if self.digital is not None:
            self.digital.step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget gradients, and what layers in memory have captured."""
        for layer in self.layers.values():
            layer.captured.clear()
        if self.digital is not None:
            self.digital.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on: tensors and plain numbers, layer by layer."""
        group = {key: value for key, value in self.param_groups[0].items() if key != "params"}
        return {
            "in_memory": {name: layer.algorithm.checkpoint() for name, layer in self.layers.items()},
            "group": group | {"initial_rate": self._initial_lr},
            "digital": self.digital.state_dict() if self.digital else None,
        }

    @torch.no_grad()
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ArtifactError: it is of other layers or of another algorithm.
        """
        states = state_dict["in_memory"]
        if states.keys() != self.layers.keys():
            wrong = ", ".join(sorted(states.keys() ^ self.layers.keys()))
            raise ArtifactError(f"the checkpoint is of other layers in memory: {wrong}; start anew")
        if (self.digital is None) != (state_dict["digital"] is None):
            raise ArtifactError("the checkpoint and this differ in having a digital optimizer; start anew")
        for name, layer in self.layers.items():
            layer.algorithm.restore(states[name])
            layer.captured.clear()
            layer.refresh()
        group = dict(state_dict["group"])
        self._initial_lr = group.pop("initial_rate")
        self.param_groups[0].update(group)
        if self.digital is not None:
            self.digital.load_state_dict(state_dict["digital"])
        self._share_groups()


def digital_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that are trained, but for the weights of layers in memory."""
    weights = {id(layer.weight) for layer in analog_layers(model).values()}
    return [part for part in model.parameters() if part.requires_grad and id(part) not in weights]
