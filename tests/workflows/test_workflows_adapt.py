"""Adapt: what training changes and what it does not, and that a seed decides all of it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_deployment import CHANGING, files_of

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.adapt import Lora
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, DataError
from aimc_deploy.nn.analog_linear import AnalogLinear
from aimc_deploy.tasks.data import load_data, sample
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import adapt, evaluate
from aimc_deploy.workflows.deployed import load

Configure = Callable[..., Run]

BASE = ("model.safetensors", "tiles.safetensors", "tile_map.json", "hardware.json", "config.json")


def adapter_files(bundle: Path, name: str = "sst2") -> dict[str, bytes]:
    return files_of(bundle / "adapters" / name)


def test_the_base_is_the_same_before_and_after(mapped: Path, configure: Configure) -> None:
    before = files_of(mapped)
    opened = Bundle.open(mapped)
    result = adapt.run(configure(mapped))
    after = files_of(mapped)
    assert result.base_before == result.base_after == opened.manifest.base_sha256
    assert result.record.base_sha256 == result.base_after == load(mapped).set_adapter("sst2").base_sha256()
    assert {name: after[name] for name in before.keys() - CHANGING} == {
        name: data for name, data in before.items() if name not in CHANGING
    }
    assert sorted(set(after) - set(before)) == [
        f"adapters/sst2/{name}"
        for name in ("adapter.json", "adapter_config.json", "adapter_model.safetensors")
    ]
    assert Bundle.open(mapped).verify() == []


def test_only_lora_and_the_head_change(adapted: Path, mapped_once: Path) -> None:
    tensors = load_file(adapted / "adapters" / "sst2" / "adapter_model.safetensors")
    plan = Bundle.open(adapted).read_json("tile_map.json")
    layers = sorted(entry["layer"] for entry in plan["analog"])
    lora = [name for name in tensors if "lora_" in name]
    assert sorted({name.partition(".lora_")[0].removeprefix("base_model.model.") for name in lora}) == layers
    assert len(lora) == 2 * len(layers)
    # LoRA starts with B = 0: what is not zero now was trained.
    assert all(float(tensors[name].abs().max()) > 0 for name in lora)
    head = {name for name in tensors if name not in lora}
    assert head == {f"base_model.model.classifier.{part}" for part in ("weight", "bias")}
    own = load_file(mapped_once / "model.safetensors")
    assert not torch.equal(tensors["base_model.model.classifier.weight"], own["classifier.weight"])
    inner = load(adapted).set_adapter("sst2").model.get_base_model().state_dict()
    for name, value in own.items():
        found = inner.get(name, inner.get(name.replace("classifier.", "classifier.original_module.")))
        if found is None:  # a bias of a layer that PEFT wraps
            parent, _, leaf = name.rpartition(".")
            found = inner[f"{parent}.base_layer.{leaf}"]
        assert torch.equal(found, value), name


def test_the_record_counts_what_was_trained(adapted: Path) -> None:
    tensors = load_file(adapted / "adapters" / "sst2" / "adapter_model.safetensors")
    record = Bundle.open(adapted).read_json("adapters/sst2/adapter.json")
    assert record["parameters"] == sum(value.numel() for value in tensors.values())
    assert (record["task"], record["metric"], record["method"]) == ("sst2", "accuracy", "lora")
    assert (record["training"]["samples"], record["training"]["steps"]) == (96, 48)
    assert record["input_ranges"] is None


def test_one_seed_gives_the_same_bytes_and_another_does_not(
    tmp_path: Path, mapped_once: Path, configure: Configure
) -> None:
    found = {}
    for name, seed in (("one", 0), ("two", 0), ("other", 1)):
        torch.manual_seed(len(found) + 50)  # what ran before must not matter
        shutil.copytree(mapped_once, tmp_path / name)
        adapt.run(configure(tmp_path / name, seed=seed))
        found[name] = adapter_files(tmp_path / name)
    assert found["one"] == found["two"]
    assert found["one"]["adapter_model.safetensors"] != found["other"]["adapter_model.safetensors"]


def test_hardware_in_training_changes_the_adapter(mapped: Path, configure: Configure) -> None:
    adapt.run(configure(mapped))
    adapt.run(configure(mapped, adapt={"noise": "weights", "name": "weight-noise"}))
    quiet = {"noise": "weights", "weight_noise": 0.0, "name": "without-weight-noise"}
    adapt.run(configure(mapped, adapt=quiet))
    result = adapt.run(configure(mapped, adapt={"hardware_aware": False}))
    assert result.name == "sst2-digital"
    assert not result.record.hardware_aware
    tensors = {
        name: adapter_files(mapped, name)["adapter_model.safetensors"]
        for name in Bundle.open(mapped).adapters()
    }
    assert sorted(tensors) == ["sst2", "sst2-digital", "weight-noise", "without-weight-noise"]
    assert len(set(tensors.values())) == 4


@pytest.mark.parametrize(
    ("changes", "mode"),
    [
        ({}, ("chip", None)),
        ({"noise": "weights", "weight_noise": 0.05}, ("simulated", 0.05)),
        ({"hardware_aware": False}, ("digital", None)),
    ],
)
def test_training_computes_in_the_mode_asked_for(
    mapped: Path,
    configure: Configure,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    mode: tuple[str, float | None],
) -> None:
    """A digital run gives the same whatever the hardware: its layers are plain products."""
    seen: set[tuple[str, float | None]] = set()
    forward = AnalogLinear.forward

    def watched(self: AnalogLinear, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() and self.training:
            digital = "digital" if self._weight_noise is None else "simulated"
            seen.add(("chip" if self._segments is not None else digital, self._weight_noise))
        return forward(self, input)

    monkeypatch.setattr(AnalogLinear, "forward", watched)
    adapt.run(configure(mapped, adapt={**changes, "epochs": 0.3}))
    assert seen == {mode}


def test_every_step_has_another_chip_and_a_resumed_run_the_same_ones(
    mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(
        "aimc_deploy.workflows.training_noise.sample_chip",
        lambda model, *names, level: asked.append((*names, level)),
    )
    noise = {"youngest": "1h", "drift": "1d", "noise_level": 1.5, "noise_ramp": 0.5}
    adapt.run(configure(mapped, seed=3, adapt={"epochs": 1.0, **noise}))
    steps = len(asked)
    levels = [1.5 * min(1.0, 2 * step / steps) for step in range(steps)]
    assert asked == [
        (3_600.0, 86_400.0, 3, "training", step, pytest.approx(level)) for step, level in enumerate(levels)
    ]
    assert steps == 6


def test_an_adapter_goes_on_from_another(mapped: Path, configure: Configure) -> None:
    first = adapt.run(
        configure(mapped, adapt={"epochs": 2.0, "learning_rate": 1.0e-2, "hardware_aware": False})
    )
    barely = {"epochs": 0.2, "learning_rate": 1.0e-8, "hardware_aware": False}
    adapt.run(configure(mapped, adapt={**barely, "name": "fresh"}))
    result = adapt.run(configure(mapped, adapt={**barely, "name": "on", "start_from": first.name}))
    assert result.record.training["start_from"] == "sst2-digital"
    bundle = Bundle.open(mapped)
    tensors = {
        name: bundle.read_tensors(f"adapters/{name}/adapter_model.safetensors")
        for name in ("sst2-digital", "on", "fresh")
    }
    for key, value in tensors["sst2-digital"].items():
        assert torch.allclose(tensors["on"][key], value, atol=1e-6), key
    assert any(not torch.allclose(tensors["fresh"][key], value) for key, value in tensors["on"].items())
    assert result.record.scores["digital"] == first.record.scores["digital"]


def test_what_an_adapter_goes_on_from_is_part_of_its_run(mapped: Path, configure: Configure) -> None:
    digital = {"hardware_aware": False, "epochs": 0.2}
    adapt.run(configure(mapped, adapt=digital))
    on = configure(mapped, adapt={"epochs": 0.2, "start_from": "sst2-digital"})
    adapt.run(on)
    assert adapt.run(on, existing="keep").kept
    adapt.run(configure(mapped, adapt={**digital, "learning_rate": 1.0e-3}), existing="replace")
    with pytest.raises(ArtifactError, match="adapter 'sst2' already from other settings, data or base"):
        adapt.run(on, existing="keep")


def test_what_cannot_be_gone_on_from_is_refused_before_training(adapted: Path, configure: Configure) -> None:
    with pytest.raises(ArtifactError, match="has no adapter 'nobody' \\(there: sst2\\)"):
        adapt.run(configure(adapted, adapt={"name": "on", "start_from": "nobody"}))
    other = configure(adapted, adapt={"name": "on", "start_from": "sst2"}).model_copy(update={"task": "cola"})
    with pytest.raises(ArtifactError, match="adapter 'sst2' is for task 'sst2' by method 'lora'"):
        adapt.run(other)
    ranked = {"name": "on", "start_from": "sst2", "lora": Lora(r=3)}
    with pytest.raises(ArtifactError, match="adapter 'sst2' has another rank or other layers"):
        adapt.run(configure(adapted, adapt=ranked))
    assert Bundle.open(adapted).adapters() == ("sst2",)


def test_a_digital_adapter_does_not_depend_on_the_hardware(
    tmp_path: Path, mapped_once: Path, configure: Configure
) -> None:
    found = []
    for preset in ("pcm", "pcm-x4"):
        shutil.copytree(mapped_once, tmp_path / preset)
        adapt.run(configure(tmp_path / preset, hardware=preset, adapt={"hardware_aware": False}))
        found.append(adapter_files(tmp_path / preset, "sst2-digital")["adapter_model.safetensors"])
    assert found[0] == found[1]


@pytest.mark.parametrize("method", ["max", "quantile", "moving_std"])
def test_static_ranges_are_calibrated_and_stored(mapped: Path, configure: Configure, method: str) -> None:
    hardware = load_preset("pcm-static")
    ranges = hardware.dac.input_range.model_copy(update={"method": method, "batches": 2})
    hardware = hardware.model_copy(update={"dac": hardware.dac.model_copy(update={"input_range": ranges})})
    record = adapt.run(configure(mapped, hardware=hardware, adapt={"epochs": 0.3, "name": "sst2"})).record
    stored = Bundle.open(mapped).read_json("adapters/sst2/adapter.json")["input_ranges"]
    assert stored == record.input_ranges
    plan = Bundle.open(mapped).read_json("tile_map.json")
    assert sorted(stored) == sorted(entry["layer"] for entry in plan["analog"])
    assert all(len(values) == 1 and values[0] > 0 for values in stored.values())
    assert len({tuple(values) for values in stored.values()}) > 3, "ranges come from what each layer sees"
    model = load(mapped)
    model.hardware = hardware
    model.set_adapter("sst2")
    layers = {part.name: part for part in model.modules() if isinstance(part, AnalogLinear)}
    assert {name: layer.input_ranges for name, layer in layers.items()} == stored


def test_train_samples_are_the_ones_the_seed_draws(mapped: Path, configure: Configure, data: Path) -> None:
    train = load_data(get_task("sst2"), data).train
    digests = {}
    for seed in (0, 1):
        config = configure(mapped, seed=seed, adapt={"train_samples": 20, "name": f"seed-{seed}"})
        record = adapt.run(config).record
        assert (record.training["samples"], record.training["steps"]) == (20, 2)
        digests[seed] = record.training["train_sha256"]
        assert digests[seed] == sample(train, 20, seed).sha256
    assert digests[0] != digests[1]
    with pytest.raises(DataError, match="97 samples asked for"):
        adapt.run(configure(mapped, adapt={"train_samples": 97, "name": "more"}))


def test_the_scores_are_what_evaluate_measures(adapted: Path, configure: Configure) -> None:
    """Chip 0 at 0 s, and the digital model; the same model and samples, measured twice."""
    scores = Bundle.open(adapted).read_json("adapters/sst2/adapter.json")["scores"]
    results = evaluate.run(
        configure(adapted, evaluate={"unadapted": True, "chips": 1, "times": ("0s",)})
    ).results
    rows = {row.adapter: row.metrics["accuracy"] for row in results.rows}
    digital = {part.adapter: part.metrics["accuracy"] for part in results.baselines}
    assert scores == {
        "digital": digital["sst2"],
        "adapted": rows["sst2"],
        "unadapted": rows["sst2 (LoRA off)"],
    }
    assert scores["digital"] > 0.6, "the adapter learned nothing, and equal scores would mean nothing"
    assert len(set(scores.values())) > 1


def test_an_adapter_of_another_number_of_classes_gets_a_head_of_its_own(
    tmp_path: Path, adapted: Path, configure: Configure
) -> None:
    """The head that was mapped has two outputs; MNLI needs three, and the first adapter keeps its two."""
    lines = ["premise\thypothesis\tlabel"]
    lines += [
        f"good film\tbad book\t{('entailment', 'neutral', 'contradiction')[row % 3]}" for row in range(24)
    ]
    for name in ("train.tsv", "dev_matched.tsv"):
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    config = configure(adapted).model_copy(update={"task": "mnli", "data_dir": str(tmp_path)})
    before = adapter_files(adapted)
    assert adapt.run(config).record.num_labels == 3
    assert adapter_files(adapted) == before
    model = load(adapted)
    ids = torch.tensor([[2, 5, 15, 3]])
    shapes = [model.set_adapter(name)(input_ids=ids).logits.shape[1] for name in ("sst2", "mnli", "sst2")]
    assert shapes == [2, 3, 2]
    assert Bundle.open(adapted).manifest.base_sha256 == model.base_sha256()
