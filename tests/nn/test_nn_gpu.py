"""On a GPU: converters in one compiled pass, noise, and arrays that learn. Skipped where there is none."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from aimc_deploy.config.hardware import DAC, Hardware
from aimc_deploy.config.in_memory import InMemory
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.training.layer import AnalogTrainLinear

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    # What torch's compiler imports is deprecated by torch itself.
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning"),
]
YEAR = 31_536_000.0


def test_converters_give_what_they_give_on_a_processor(
    mapped: Callable[[Hardware], AnalogLinear], hardware: Callable[..., Hardware], x: Tensor
) -> None:
    """Without noise, which a GPU draws by other generators; a value between two steps may go either way."""
    layer = mapped(hardware(dac=DAC(bits=8)))
    layer.program(0, 0)
    layer.drift(0.0)
    there = copy.deepcopy(layer).to("cuda")
    there.program(0, 0)
    there.drift(0.0)
    with torch.no_grad():
        here, found = layer(x), there(x.to("cuda"))
    assert found.device.type == "cuda"
    step = here.abs().max() / 127
    assert (found.cpu() - here).abs().max() < step
    torch.testing.assert_close(found.cpu(), here, rtol=0, atol=0.1 * step.item())


def test_noise_is_the_same_for_the_same_chip_and_of_the_size_that_is_asked(
    mapped: Callable[[Hardware], AnalogLinear], noisy: Hardware, x: Tensor
) -> None:
    layer = mapped(noisy)
    plain = layer(x)
    errors = []
    for device in ("cpu", "cuda"):
        layer.to(device)
        outputs = []
        for chip in (0, 0, 1):
            layer.program(0, chip)
            layer.drift(YEAR)
            with torch.no_grad():
                outputs.append(layer(x.to(device)).cpu())
        assert torch.equal(outputs[0], outputs[1])
        assert not torch.equal(outputs[0], outputs[2])
        errors.append((outputs[0] - plain).std() / plain.std())
    assert 0.5 < errors[0] / errors[1] < 2


@pytest.mark.parametrize("kind", ["analog_sgd", "residual", "mixed_precision"])
def test_arrays_learn_as_on_a_processor(kind: str) -> None:
    """Expected pulses have no chance in them; whole pulses may differ where a sum is rounded."""
    torch.manual_seed(0)
    linear = nn.Linear(30, 20)
    settings = InMemory.model_validate({"algorithm": {"kind": kind}, "device": {"tau": 1.0}})
    x = torch.randn(8, 30)
    weights = []
    for device in ("cpu", "cuda"):
        layer = AnalogTrainLinear.of(linear, settings, 0, "layer").to(device)
        for _ in range(5):
            layer(x.to(device)).square().sum().backward()
            layer.learn(1e-3)
        weights.append(layer.effective_weight().cpu())
    pulse = 2 / 1200 * (linear.weight.square().mean().sqrt() / 0.25).item()
    assert (weights[0] - linear.weight).abs().max() > 2 * pulse
    assert (weights[0] - weights[1]).abs().max() < 1.5 * pulse
