"""What goes wrong in other simulators, one test for each."""

from __future__ import annotations

import copy
import itertools
import math
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load, save
from torch import Tensor, nn

from aimc_deploy.config.hardware import ADC, DAC, Hardware, PCMDevice, StaticRange, TileSize
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.nn.calibrate import calibrate
from aimc_deploy.nn.convert import (
    analog_layers,
    base_sha256,
    drift,
    map_layer,
    program,
    replace_layers,
    restore_layer,
)
from aimc_deploy.tile.tile import Tile

HARDWARE = Hardware(tile=TileSize(rows=32, cols=32))
YEAR = 31_536_000.0
TIMES = (0.0, 3600.0, 86_400.0, YEAR)


class Model(nn.Module):
    """Two layers to be mapped and a digital head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(48, 64), nn.Linear(64, 40), nn.Linear(40, 3)
        for index, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(index))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


def mapped(hardware: Hardware = HARDWARE) -> Model:
    model = Model().eval()
    layers = {name: map_layer(getattr(model, name), name, hardware) for name in ("first", "second")}
    replace_layers(model, layers)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def at(model: nn.Module, x: Tensor, t_s: float) -> Tensor:
    drift(model, t_s)
    with torch.no_grad():
        return model(x)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 48, generator=torch.Generator().manual_seed(2))


def test_every_repetition_is_another_chip(layer_on: Callable[..., AnalogLinear]) -> None:
    # All weights positive: what they have in common on all chips is one mean error, which does not count.
    weight = 0.5 + 0.5 * torch.rand(100, 200, generator=torch.Generator().manual_seed(0))
    layer = layer_on(weight, device=PCMDevice())
    errors = []
    for chip in range(6):
        layer.program(0, chip)
        layer.drift(0.0)
        with torch.no_grad():
            errors.append((layer(torch.eye(200)).T / weight - 1).flatten().double())
    correlations = torch.corrcoef(torch.stack(errors)).fill_diagonal_(0)
    assert float(correlations.abs().max()) < 4 / math.sqrt(weight.numel())


def test_a_chip_is_the_same_whatever_ran_before(x: Tensor) -> None:
    model = mapped()
    program(model, seed=0, chip=3)
    expected = at(model, x, YEAR)
    for chip in (0, 7):
        program(model, seed=0, chip=chip)
        assert not torch.equal(at(model, x, YEAR), expected)
    program(model, seed=0, chip=3)
    assert torch.equal(at(model, x, YEAR), expected)


def test_times_can_be_visited_in_any_order(x: Tensor) -> None:
    model = mapped()
    seen = []
    for order in (TIMES, TIMES[::-1], (YEAR, 0.0, 86_400.0, 3600.0, YEAR)):
        program(model, seed=0, chip=0)
        seen.append({t_s: at(model, x, t_s) for t_s in order})
    for t_s in TIMES:
        assert torch.equal(seen[0][t_s], seen[1][t_s])
        assert torch.equal(seen[0][t_s], seen[2][t_s])
    distinct = itertools.combinations(seen[0].values(), 2)
    assert not any(torch.equal(one, other) for one, other in distinct)


def test_a_drifted_model_reloads_and_drifts_on_as_if_it_had_not(x: Tensor) -> None:
    """A state dict holds what the tiles were asked to hold, never what one chip made of it."""
    model = mapped()
    program(model, seed=0, chip=1)
    at(model, x, 86_400.0)
    stored = save({name: value.contiguous() for name, value in model.state_dict().items()})
    expected = at(model, x, YEAR)

    fresh = mapped()
    fresh.load_state_dict(load(stored))
    program(fresh, seed=0, chip=1)
    assert torch.equal(at(fresh, x, YEAR), expected)


def test_tiles_written_after_drifting_are_the_targets(x: Tensor) -> None:
    model = mapped()
    program(model, seed=0, chip=1)
    at(model, x, 86_400.0)
    stored = save(
        {
            f"{name}.{index}.{field}": getattr(tile, field).clone()
            for name, layer in analog_layers(model).items()
            for index, tile in enumerate(layer.grid.tiles)
            for field in ("g_plus", "g_minus", "w_scale")
        }
    )
    expected = at(model, x, YEAR)

    tensors, fresh = load(stored), Model().eval()
    for name, layer in analog_layers(model).items():
        tiles = [
            Tile(*(tensors[f"{name}.{index}.{field}"] for field in ("g_plus", "g_minus", "w_scale")), 25.0)
            for index in range(layer.grid.layout.tiles)
        ]
        replace_layers(fresh, {name: restore_layer(getattr(fresh, name), name, tiles, HARDWARE)})
    assert base_sha256(fresh) == base_sha256(model)
    program(fresh, seed=0, chip=1)
    assert torch.equal(at(fresh, x, YEAR), expected)


@pytest.fixture
def _own_seed() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def with_lora(model: nn.Module) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=4, lora_alpha=8, lora_dropout=0.0, target_modules=["first", "second"], modules_to_save=["head"]
    )
    return get_peft_model(model, config)


@pytest.mark.usefixtures("_own_seed")
@pytest.mark.parametrize("peft_first", [False, True])
def test_peft_wraps_analog_layers_and_stays_digital(x: Tensor, peft_first: bool) -> None:
    """Before or after the conversion: LoRA is digital, the base is analog and frozen."""
    if peft_first:
        model = with_lora(Model())
        inner = model.base_model.model
        for name in ("first", "second"):
            layer = map_layer(getattr(inner, name).base_layer, name, HARDWARE)
            replace_layers(inner, {f"{name}.base_layer": layer})
    else:
        model = with_lora(mapped())
    assert set(analog_layers(model)) == {"first", "second"}
    for name in ("first", "second"):
        wrapped = getattr(model.base_model.model, name)
        assert isinstance(wrapped.base_layer, AnalogLinear)
        for adapter in (*wrapped.lora_A.values(), *wrapped.lora_B.values()):
            assert type(adapter) is nn.Linear
            assert adapter.weight.requires_grad
        assert not any(parameter.requires_grad for parameter in wrapped.base_layer.parameters())
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == ("lora_" in name or "modules_to_save" in name), name

    plain = mapped()
    for each in (model, plain):
        program(each, seed=0, chip=0)
    assert torch.equal(at(model.eval(), x, YEAR), at(plain, x, YEAR)), "a fresh adapter adds nothing"


@pytest.mark.usefixtures("_own_seed")
@pytest.mark.parametrize("on_chip", [False, True])
def test_training_with_weight_decay_never_changes_the_base(x: Tensor, on_chip: bool) -> None:
    """AdamW on every parameter there is, simulated and with a chip in the loop."""
    model = with_lora(mapped())
    for layer in analog_layers(model).values():
        layer.simulate(0.067)
    if on_chip:
        program(model, seed=0, chip=0)
        drift(model, 3600.0)
    before = base_sha256(model)
    weights = {name: layer.weight.clone() for name, layer in analog_layers(model).items()}
    adapters = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.5)
    labels = torch.tensor([0, 1, 2, 1, 0])
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model.train()(x), labels).backward()
        optimizer.step()
    assert base_sha256(model) == before
    for name, layer in analog_layers(model).items():
        assert torch.equal(layer.weight, weights[name])
        assert torch.equal(layer.grid.weight(), weights[name])
    for name, parameter in model.named_parameters():
        assert name not in adapters or not torch.equal(parameter, adapters[name]), "it did train"


@pytest.mark.parametrize("read_noise_per", ["time", "mvm"])
def test_evaluation_uses_no_global_generator(x: Tensor, read_noise_per: str) -> None:
    model = mapped(HARDWARE.model_copy(update={"read_noise_per": read_noise_per}))
    states = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    program(model, seed=0, chip=0)
    first = at(model, x, YEAR)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(12345)
        program(model, seed=0, chip=0)
        assert torch.equal(at(model, x, YEAR), first), "nor does it depend on one"


def test_no_argument_is_ever_changed(x: Tensor) -> None:
    model, original = Model(), x.clone()
    state, settings = copy.deepcopy(model.state_dict()), StaticRange(method="max")
    batch = {"x": x}
    layers = {name: map_layer(getattr(model, name), name, HARDWARE) for name in ("first", "second")}
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name])
    digest = HARDWARE.digest()
    replace_layers(model, layers)
    base = base_sha256(model)
    calibrate(model, [batch], settings)
    program(model, seed=0, chip=0)
    for t_s in TIMES:
        at(model, x, t_s)
    for layer in layers.values():
        layer.simulate(0.067)
    model.train()(x.requires_grad_()).sum().backward()
    assert torch.equal(x, original)
    assert batch["x"] is x
    assert (HARDWARE.digest(), base_sha256(model)) == (digest, base)


class Watched(dict[str, str]):
    """An environment that says no."""

    def __getitem__(self, key: str) -> str:
        raise AssertionError(f"environment variable {key} was read")

    def get(self, key: str, default: Any = None) -> Any:
        raise AssertionError(f"environment variable {key} was read")


def test_no_environment_variable_is_read_in_a_pass(x: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    model = mapped()
    monkeypatch.setattr(os, "environ", Watched())
    with pytest.raises(AssertionError, match="HOME was read"):
        os.getenv("HOME")
    program(model, seed=0, chip=0)
    assert bool(at(model, x, YEAR).isfinite().all())


@pytest.mark.parametrize("bits", [0, -1, 1, 0.5, 127.0 / 128, 254, "8 bits"])
def test_a_resolution_is_a_number_of_bits_and_nothing_else(bits: Any) -> None:
    for converter in (DAC, ADC):
        with pytest.raises(ValidationError, match="bits"):
            converter(bits=bits)
        assert converter(bits=None).bits is None
        assert converter(bits=8).bits == 8


def test_nothing_is_printed_at_import() -> None:
    program_text = (
        "import importlib, pkgutil\n"
        "for room in ('config', 'physics', 'tile', 'nn'):\n"
        "    package = importlib.import_module(f'aimc_deploy.{room}')\n"
        "    for module in pkgutil.iter_modules(package.__path__, f'{package.__name__}.'):\n"
        "        importlib.import_module(module.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", program_text], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("ranges", [None, [2.0, 2.0]])
def test_rows_of_a_layer_are_independent_of_their_batch_mates(x: Tensor, ranges: list[float] | None) -> None:
    layer = mapped(HARDWARE.model_copy(update={"output_noise": 0.0})).first
    assert isinstance(layer, AnalogLinear)
    layer.input_ranges = ranges
    loud = x.clone()
    loud[1:] *= 1000
    for simulated in (False, True):
        layer.program(0, 0)
        layer.drift(YEAR)
        if simulated:
            layer.simulate(0.067)
        with torch.no_grad():
            alone, among = layer(x), layer(loud)
        assert torch.equal(alone[0], among[0])
        assert not torch.equal(alone[1], among[1])
