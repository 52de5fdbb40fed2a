"""Adapters that pulses train: learned on a chip, stored as any other adapter, and resumed bit by bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save
from tiny_deployment import files_of
from torch import Tensor, nn

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.in_memory import Converters
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, ConfigError, ModelError, TrainingError
from aimc_deploy.workflows import adapt, evaluate
from aimc_deploy.workflows.deployed import DeployedModel, load
from aimc_deploy.workflows.processes import Processes
from aimc_deploy.workflows.run import variants

Configure = Callable[..., Run]

ADAM = {"kind": "mixed_precision", "adam": True, "momentum": 0.9}
LEARNS: dict[str, Any] = {"epochs": 20.0, "learning_rate": 2.0e-2, "checkpoint_steps": 100, "chip": 0}
SHORT: dict[str, Any] = {"epochs": 2.0, "checkpoint_steps": 3, "chip": 0}  # 12 steps


class Stop:
    """Presses Ctrl-C after so many steps of training; keeps what is said."""

    def __init__(self, after: int | None = None) -> None:
        self.after, self.steps, self.what = after, 0, ""
        self.said: list[str] = []

    def start(self, what: str, total: int | None) -> None:
        self.what = what

    def advance(self, steps: int = 1, note: str = "") -> None:
        self.steps += steps * self.what.startswith("training")
        if self.what.startswith("training") and self.steps == self.after:
            raise KeyboardInterrupt

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.mark.parametrize("method", ["lora", "head"])
def test_it_learns_the_task_on_a_chip_and_is_evaluated_like_any_other(
    mapped: Path, configure: Configure, method: str
) -> None:
    length = LEARNS if method == "lora" else SHORT
    settings = {**length, "method": method, "in_memory": {"learning_rate": 0.02}}
    result = adapt.run(configure(mapped, adapt=settings))
    assert result.base_before == result.base_after
    assert result.name == ("sst2-mixed-precision" if method == "lora" else "sst2-head-mixed-precision")
    adapted = result.record.scores["adapted"]
    assert adapted is not None
    if method == "lora":  # the features of a random encoder are not enough for a head alone
        assert adapted > 0.7, "chance is one half, one standard error of 120 samples 0.046"
    measured = evaluate.run(configure(mapped, evaluate={"chip": 0, "times": ("0s",)})).results
    assert [row.adapter for row in measured.rows] == [result.name]
    assert measured.rows[0].metrics["accuracy"] == adapted
    with pytest.raises(ArtifactError, match=rf"'{result.name}' for chip 0\): use .*--chip 0"):
        evaluate.run(configure(mapped))


def test_the_files_are_those_of_a_digital_adapter(mapped: Path, configure: Configure) -> None:
    """So that whoever reads one reads the other; what the devices went through is in the record."""
    adapt.run(configure(mapped, adapt={**SHORT, "name": "digital"}))
    result = adapt.run(configure(mapped, adapt={**SHORT, "name": "pulses", "in_memory": {}}))
    bundle = Bundle.open(mapped)
    shapes = [
        {
            name: tuple(value.shape)
            for name, value in bundle.read_tensors(f"adapters/{name_}/adapter_model.safetensors").items()
        }
        for name_ in ("digital", "pulses")
    ]
    assert shapes[0] == shapes[1]
    assert files_of(mapped / "adapters/digital").keys() == files_of(mapped / "adapters/pulses").keys()
    devices = result.record.training["devices"]
    assert "| lora, mixed_precision in memory |" in (mapped / "README.md").read_text()
    assert any("lora_A" in name for name in devices)
    assert any("modules_to_save" in name for name in devices), "the head too"
    for found in devices.values():
        assert found["steps"] == 12
        assert found["arrays"]["w"]["saturated"] < 0.05


LAYER = "mobilebert.encoder.layer.0.attention.self.query"


def test_chosen_layers_leave_the_tiles_for_their_adapter_and_come_back(
    adapted: Path, configure: Configure
) -> None:
    settings = {**SHORT, "method": "layers", "layers": ("*.self.query",)}
    settings["in_memory"] = {"algorithm": ADAM, "learning_rate": 0.01}
    before = Bundle.open(adapted).manifest.base_sha256
    result = adapt.run(configure(adapted, adapt=settings))
    assert result.base_before == result.base_after == before
    assert set(result.record.training["devices"]) == {LAYER, "classifier"}
    trained = Bundle.open(adapted).read_tensors(f"adapters/{result.name}/layers.safetensors")
    assert set(trained) == {f"{LAYER}.weight", f"{LAYER}.bias"}

    def logits(model: DeployedModel) -> Tensor:
        with torch.no_grad():
            return model(input_ids=torch.tensor([[2, 5, 6, 7, 3]])).logits

    plain = load(adapted).set_adapter("sst2").program(1).drift("1y")
    expected = logits(plain)
    weight = plain.model.get_submodule(f"base_model.model.{LAYER}.base_layer").weight
    assert not torch.equal(weight, trained[f"{LAYER}.weight"])
    switched = load(adapted).set_adapter(result.name).program(1).drift("1y")
    assert type(switched.model.get_submodule(LAYER)) is nn.Linear
    assert torch.equal(switched.model.get_submodule(LAYER).weight, trained[f"{LAYER}.weight"])
    own = logits(switched)
    assert torch.equal(logits(switched.set_adapter("sst2")), expected), "the tiles are those of the same chip"
    assert torch.equal(logits(switched.set_adapter(result.name).drift("1y")), own)
    measured = evaluate.run(
        configure(adapted, evaluate={"chips": 1, "times": ("0s",), "adapters": (result.name,)})
    ).results
    assert measured.rows[0].metrics["accuracy"] == result.record.scores["adapted"]


@pytest.mark.parametrize("layers", [("*.nothing",), ("*.self.query", "bert.*")])
def test_a_pattern_that_fits_no_layer_is_refused(
    mapped: Path, configure: Configure, layers: tuple[str, ...]
) -> None:
    settings = {**SHORT, "method": "layers", "layers": layers, "in_memory": {}}
    with pytest.raises(ConfigError, match=r"adapt\.layers: '.*' fits no analog layer"):
        adapt.run(configure(mapped, adapt=settings))


def test_layers_of_another_shape_are_refused_by_name(mapped: Path, configure: Configure) -> None:
    settings = {**SHORT, "method": "layers", "layers": ("*.self.query",), "in_memory": {}, "name": "own"}
    adapt.run(configure(mapped, adapt=settings))
    bundle = Bundle.open(mapped)
    tensors = bundle.read_tensors("adapters/own/layers.safetensors")
    tensors[f"{LAYER}.weight"] = tensors[f"{LAYER}.weight"][1:].contiguous()
    bundle.put_files({"adapters/own/layers.safetensors": save(tensors)})
    with pytest.raises(ArtifactError, match=r"query.weight' has .* shape"):
        load(mapped).set_adapter("own")


def test_what_it_computes_is_what_the_arrays_held(mapped: Path, configure: Configure) -> None:
    """Weights are whole pulses away from where they were programmed, in units of the layer's scale."""
    settings = {
        **SHORT,
        "method": "head",
        "in_memory": {"device": {"response": {"kind": "ideal"}, "states": 100}, "learn_scale": False},
    }
    settings["in_memory"]["learning_rate"] = 0.01
    start = load(mapped).model.classifier.weight.detach().clone()
    adapt.run(configure(mapped, adapt=settings, seed=0))
    end = Bundle.open(mapped).read_tensors("adapters/sst2-head-mixed-precision/head.safetensors")
    scale = float(start.square().mean().sqrt()) / (0.25 * 0.6)
    pulses = (end["classifier.weight"] - start) / scale / (1.2 / 100)
    assert (pulses - pulses.round()).abs().max() < 1e-3
    assert pulses.abs().max() >= 1


@pytest.mark.parametrize("kind", ["residual", "mixed_precision"])
def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(
    mapped: Path, tmp_path: Path, configure: Configure, kind: str
) -> None:
    """Arrays, sums, counters and generators are in the checkpoint: pulses and noise are drawn."""
    device = {"cycle_to_cycle": 0.3, "spread": {"step": 0.2}}
    algorithm = {"kind": kind} | (
        {"update": {"kind": "counts"}, "gamma": 0.4} if kind == "residual" else ADAM
    )
    in_memory = {"device": device, "algorithm": algorithm, "learning_rate": 0.05}
    if kind == "residual":
        in_memory["converters"] = "hardware"
    settings = {**SHORT, "in_memory": in_memory, "name": "whole"}
    adapt.run(configure(mapped, adapt=settings))
    stopped = {**settings, "name": "stopped"}
    with pytest.raises(KeyboardInterrupt):
        adapt.run(configure(mapped, adapt=stopped), progress=Stop(after=8))
    adapt.run(configure(mapped, adapt=stopped), resume=True, progress=(progress := Stop()))
    assert progress.steps == 12
    whole, parts = (files_of(mapped / "adapters" / name) for name in ("whole", "stopped"))
    weights = "adapter_model.safetensors"
    assert whole[weights] == parts[weights]


def test_arrays_can_have_the_converters_of_the_tiles(mapped: Path, configure: Configure) -> None:
    def trained(converters: object) -> bytes:
        in_memory = {"converters": converters, "learning_rate": 0.05}
        settings = {**SHORT, "epochs": 1.0, "method": "head", "in_memory": in_memory, "name": "borders"}
        adapt.run(configure(mapped, adapt=settings), existing="replace")
        record = Bundle.open(mapped).read_json("adapters/borders/adapter.json")
        assert record["training"]["in_memory"]["converters"] == converters
        return (mapped / "adapters/borders/head.safetensors").read_bytes()

    hardware = configure(mapped).hardware
    described = Converters.of(hardware).model_dump(mode="json")
    assert hardware.adc.bits == 8
    assert trained("hardware") == trained(described)
    assert trained("hardware") != trained(None)
    assert trained("hardware") != trained(described | {"dac_bits": 3})


def test_settings_that_are_known_to_fail_are_told_before_training(mapped: Path, configure: Configure) -> None:
    settings = {**SHORT, "in_memory": {"algorithm": {"kind": "analog_sgd"}}}
    adapt.run(configure(mapped, adapt=settings), progress=(progress := Stop()))
    assert any("analog_sgd" in said and "better: algorithm residual" in said for said in progress.said)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "full"}, "in_memory: is of adapters"),
        ({"method": "head", "start_from": "sst2"}, "only LoRA adapters go on"),
        ({"method": "head", "schedule": ("0s", "1d")}, "only LoRA adapters go on"),
        ({"method": "layers"}, "give both or none"),
        ({"layers": ("*",)}, "give both or none"),
        ({"method": "layers", "layers": ("*",), "in_memory": None}, "trains them in memory"),
        ({"analog_head": True}, "leave out analog_head"),
        ({"lora": {"dora": True, "dropout": 0.0}}, "dora: false"),
        ({"in_memory": {"device": {"tau": 0.0}}}, "greater than 0"),
        ({"in_memory": {"device": {"states": 1}}}, "greater than or equal to 2"),
        ({"in_memory": {"device": "reram-hfo"}}, "did you mean reram-hfo2"),
        ({"in_memory": {"algorithm": {"kind": "residual", "gamma": 2}}}, "less than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Adapt.model_validate({"in_memory": {}, **wrong})


def test_several_processes_are_refused(
    mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each would pulse arrays of its own with its part of a batch."""
    monkeypatch.setattr("aimc_deploy.workflows.processes.join", lambda device: Processes(rank=0, count=2))
    with pytest.raises(ConfigError, match="one process"):
        adapt.run(configure(mapped, adapt={**SHORT, "in_memory": {}}))


def test_gradients_that_are_no_numbers_name_their_layer(
    mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    from aimc_deploy.training import layer

    broken = layer.AnalogTrainLinear.learn

    def learn(self: Any, lr: float, schedule: float = 1.0) -> None:
        self.captured[0][1][0, 0] = float("nan")
        broken(self, lr, schedule)

    monkeypatch.setattr(layer.AnalogTrainLinear, "learn", learn)
    with pytest.raises(TrainingError, match=r"layer '.*': inputs or gradients are not finite"):
        adapt.run(configure(mapped, adapt={**SHORT, "in_memory": {}}))


def test_the_baselines_of_a_recipe_are_not_in_memory(mapped: Path, configure: Configure) -> None:
    adapting = Adapt.model_validate({**SHORT, "method": "layers", "layers": ("*",), "in_memory": {}})
    recipe = configure(mapped).model_copy(update={"adapt": adapting, "baselines": ("digital", "full")})
    digital, own, full = (variant.adapt for variant in variants(recipe))
    assert own == adapting
    for baseline, method in ((digital, "lora"), (full, "full")):
        assert (baseline.method, baseline.in_memory, baseline.layers) == (method, None, ())
        Adapt.model_validate(baseline.model_dump())


def test_a_frozen_layer_is_not_put_into_memory() -> None:
    from aimc_deploy.config.in_memory import InMemory
    from aimc_deploy.training.layer import analog_layers, take_from_memory, train_in_memory

    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    model[0].requires_grad_(False)
    assert list(train_in_memory(model, InMemory())) == ["1"]
    take_from_memory(model)
    assert [type(part) for part in model] == [nn.Linear, nn.Linear]
    assert not analog_layers(model)
    model.requires_grad_(False)
    with pytest.raises(ModelError, match="no linear layer that is trained"):
        train_in_memory(model, InMemory())
