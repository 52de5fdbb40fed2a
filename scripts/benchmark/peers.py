"""Other simulators at the same work: same weights, inputs and settings; and how wrong each of them is.

The error is that of one layer's output against the product without any error. At 8 bit and an output noise of
0.04 it is 0.023 by the equations: who draws no noise is faster, and comes nearer to a chip that there is not.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from aimc_deploy.config.hardware import ADC, Hardware, IdealDevice, Mapping, NoClip
from aimc_deploy.nn.convert import analog_layers, drift, map_layer, program, replace_layers
from benchmark.models import SEED, analog_names
from benchmark.timing import alternate

BITS, OUTPUT_NOISE, OUTPUT_RANGE, WEIGHT_NOISE, TILE = 8, 0.04, 10.0, 0.067, 512
RESOLUTION = 2**BITS - 2  # steps across the whole range

Convert = Callable[[nn.Module, list[str]], nn.Module]


@dataclass(frozen=True)
class Peer:
    """A simulator's times over plain torch's, and the relative error of its layer in evaluation."""

    name: str
    threads: int
    evaluation: float
    training: float
    error: float


def compare_peers(plain: nn.Module, inputs: dict[str, Tensor], repeats: int, threads: int) -> list[Peer]:
    """Ours and those that are installed, on so many threads, in torch and in every other library."""
    for name in ("aihwkit", "aihwkit_lightning"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)  # only libraries that are loaded can be limited
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        return _compare(plain, inputs, repeats)


def _compare(plain: nn.Module, inputs: dict[str, Tensor], repeats: int) -> list[Peer]:
    ways: dict[str, Convert] = {"aimc-deploy": _ours}
    if find_spec("aihwkit_lightning"):
        ways["aihwkit-lightning"] = _lightning
    if find_spec("aihwkit"):
        ways |= {"aihwkit, torch tile": _aihwkit_torch, "aihwkit, C++ tile": _aihwkit}
    found = []
    for name, convert in ways.items():
        model = convert(copy.deepcopy(plain), analog_names(plain)).eval()
        with torch.inference_mode():
            base, taken = alternate(lambda: plain(**inputs), lambda on=model: on(**inputs), repeats)
        steps = [_forward_backward(part, inputs) for part in (copy.deepcopy(plain), model)]
        base_step, step = alternate(*steps, repeats)
        found.append(Peer(name, torch.get_num_threads(), taken / base, step / base_step, _error(convert)))
    return found


def show(peers: list[Peer]) -> None:
    """The table, in Markdown."""
    print("\n| simulator | threads | evaluation | forward and backward | error |\n|---|---|---|---|---|")
    for peer in peers:
        print(
            f"| {peer.name} | {peer.threads} | {peer.evaluation:.2f} x | {peer.training:.2f} x | "
            f"{peer.error:.4f} |"
        )


def _forward_backward(model: Any, inputs: dict[str, Tensor]) -> Callable[[], None]:
    """With the gradients of all weights: what the others' hardware-aware training does."""
    model.train().requires_grad_(True)
    for layer in analog_layers(model).values():
        layer.simulate(WEIGHT_NOISE)

    def step() -> None:
        model.zero_grad()
        model(**inputs).loss.backward()

    return step


def _error(convert: Convert) -> float:
    """Relative error of one layer, (128, 512), on normal inputs."""
    generator = torch.Generator().manual_seed(SEED)
    layer = nn.Linear(512, 128, bias=False)
    with torch.no_grad():
        layer.weight.normal_(0, 0.05, generator=generator)
    x = torch.randn(1024, 512, generator=generator)
    holder = nn.Sequential()
    holder.add_module("layer", layer)
    exact = layer(x).detach()
    with torch.no_grad():
        found = convert(holder, ["layer"]).eval()(x)
    return float((found - exact).norm() / exact.norm())


def _ours(model: nn.Module, names: list[str]) -> nn.Module:
    """A perfect device and no clipping, so that the weights are those of the others."""
    hardware = Hardware(
        device=IdealDevice(kind="ideal"),
        mapping=Mapping(clip=NoClip()),
        adc=ADC(bits=BITS, output_range=OUTPUT_RANGE),
    )
    replace_layers(model, {name: map_layer(model.get_submodule(name), name, hardware) for name in names})
    program(model, SEED, 0)
    drift(model, 0.0)
    return model


def _replace(model: nn.Module, names: list[str], layer: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    for name in names:
        parent, _, child = name.rpartition(".")
        linear: Any = model.get_submodule(name)
        setattr(model.get_submodule(parent), child, layer(linear))
    return model


def _lightning(model: nn.Module, names: list[str]) -> nn.Module:
    from aihwkit_lightning.nn.conversion import convert_to_analog
    from aihwkit_lightning.simulator.configs import TorchInferenceRPUConfig
    from aihwkit_lightning.simulator.parameters import WeightNoiseInjectionType

    config = TorchInferenceRPUConfig()
    config.forward.inp_res = config.forward.out_res = RESOLUTION
    config.forward.out_bound, config.forward.out_noise = OUTPUT_RANGE, OUTPUT_NOISE
    config.forward.out_noise_per_channel = True
    config.pre_post.input_range.enable = config.pre_post.input_range.dynamic = True
    config.pre_post.input_range.learn_input_range = False
    config.mapping.max_input_size = TILE
    config.modifier.noise_type = WeightNoiseInjectionType.ADD_NORMAL_PER_CHANNEL
    config.modifier.std_dev = WEIGHT_NOISE
    return _replace(model, names, lambda layer: convert_to_analog(layer, config, ensure_analog_root=False))


def _aihwkit_torch(model: nn.Module, names: list[str]) -> nn.Module:
    from aihwkit.simulator.configs import TorchInferenceRPUConfig

    return _with_aihwkit(model, names, TorchInferenceRPUConfig())


def _aihwkit(model: nn.Module, names: list[str]) -> nn.Module:
    from aihwkit.simulator.configs import InferenceRPUConfig

    return _with_aihwkit(model, names, InferenceRPUConfig())


def _with_aihwkit(model: nn.Module, names: list[str], config: Any) -> nn.Module:
    from aihwkit.nn.conversion import convert_to_analog
    from aihwkit.simulator.parameters.enums import (
        BoundManagementType,
        NoiseManagementType,
        WeightModifierType,
    )

    forward = config.forward
    forward.inp_res = forward.out_res = 1 / RESOLUTION
    forward.out_bound, forward.out_noise, forward.inp_noise, forward.w_noise = (
        OUTPUT_RANGE,
        OUTPUT_NOISE,
        0,
        0,
    )
    forward.noise_management = NoiseManagementType.ABS_MAX
    forward.bound_management = BoundManagementType.NONE
    config.mapping.max_input_size = config.mapping.max_output_size = TILE
    config.mapping.weight_scaling_omega = 1.0
    config.mapping.weight_scaling_columnwise = True
    config.modifier.type = WeightModifierType.ADD_NORMAL
    config.modifier.std_dev = WEIGHT_NOISE
    return _replace(model, names, lambda layer: convert_to_analog(layer, config, ensure_analog_root=False))
