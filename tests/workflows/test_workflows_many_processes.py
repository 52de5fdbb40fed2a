"""Several processes train one adapter: what is as with one alone, and what is not."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from many_processes import run_together
from safetensors.torch import load_file
from tiny_deployment import files_of, recipe, write_checkpoint, write_task
from transformers import TrainerCallback

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, ConfigError, TrainingError
from aimc_deploy.workflows import adapt, map, several, trainer
from aimc_deploy.workflows.adapters import read_record

pytestmark = pytest.mark.slow

STEPS, RATE = 14, 5.0e-3
# Seven steps an epoch, the last of them of a single sample, so that one process has none.
TRAINING = {"epochs": 2.0, "learning_rate": RATE, "checkpoint_steps": 3, "lora": {"r": 2, "dropout": 0.0}}


class Watch(TrainerCallback):
    """Notes the loss and the chip of each step, and stops where it is told to."""

    def __init__(self, stop: int | None) -> None:
        self.stop = stop
        self.losses: list[float] = []
        self.chips: list[float] = []
        self.noise: list[int] = []

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        layers = trainer.analog_layers(kwargs["model"]).values()
        segments = [segment for layer in layers for segment in layer._segments or ()]
        self.chips.append(float(sum(segment.weight.double().sum() for segment in segments)))
        self.noise += [layer._noise.seed for layer in layers if layer._noise is not None]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.stop:
            raise KeyboardInterrupt


def train(config: Run, stop: int | None = None, nan: bool = False, **settings: Any) -> dict[str, Any]:
    """Run in each process: adapt, and tell of what training met."""
    watch = Watch(stop)

    class Watched(trainer.GuardedTrainer):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.add_callback(watch)

        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            if nan and self.state.global_step == 4 and self.here.rank == 1:
                next(iter(p for p in self.model.parameters() if p.requires_grad)).data.fill_(torch.nan)
            loss = super().compute_loss(model, inputs, **kwargs)
            watch.losses.append(float(loss))
            return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer, "GuardedTrainer", Watched)
        result = adapt.run(config, **settings)
    return {
        **{"name": result.name, "base": (result.base_before, result.base_after), "kept": result.kept},
        **{"losses": watch.losses, "chips": watch.chips, "noise": watch.noise},
    }


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Settings of a mapped bundle that is nowhere dropped out; ideal converters and no output noise."""
    folder = tmp_path_factory.mktemp("still")
    checkpoint = write_checkpoint(folder / "tiny")
    config = json.loads((checkpoint / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (checkpoint / "config.json").write_text(json.dumps(config))
    noisy = load_preset("pcm-x4")
    ideal = {"dac": noisy.dac.model_copy(update={"bits": None}), "output_noise": 0.0}
    hardware = noisy.model_copy(update={**ideal, "adc": noisy.adc.model_copy(update={"bits": None})})
    data = write_task(folder / "SST-2", train=97)
    map.run(recipe(folder / "once", checkpoint, data, hardware=hardware), folder / "once")

    def make(bundle: Path, **changes: Any) -> Run:
        shutil.copytree(folder / "once", bundle)
        return recipe(bundle, checkpoint, data, hardware=hardware, adapt={**TRAINING, **changes})

    return make


def tensors(bundle: Path, name: str = "sst2") -> dict[str, torch.Tensor]:
    return load_file(bundle / "adapters" / name / "adapter_model.safetensors")


def largest_difference(one: Path, other: Path, name: str = "sst2") -> float:
    a, b = tensors(one, name), tensors(other, name)
    assert a.keys() == b.keys()
    return max(float((a[key] - b[key]).abs().max()) for key in a)


@pytest.mark.parametrize("changes", [{}, {"gap_weight": 1.0}], ids=["plain", "gap"])
def test_two_processes_give_the_adapter_of_one_to_rounding(
    tmp_path: Path, still: Callable[..., Run], changes: dict[str, Any]
) -> None:
    """The same samples on the same chips in the same steps.

    Sums over a batch are rounded otherwise, in two parts. Adam moves a parameter by about its rate in each
    step, of which rounding changes a share: a thousand units of float32 where terms of a gradient cancel.
    """
    alone, both = still(tmp_path / "alone", **changes), still(tmp_path / "both", **changes)
    one = train(alone)
    first, second = run_together(train, both)
    assert first["chips"] == second["chips"] == one["chips"]
    assert len(set(one["chips"])) == STEPS, "each step has a chip of its own"
    means = [sum(pair) / 2 for pair in zip(first["losses"], second["losses"], strict=True)]
    assert means == pytest.approx(one["losses"], rel=1.0e-4)
    assert first["losses"][6] == 0.0, "the last batch of an epoch is one sample, the other process's"
    unit = torch.finfo(torch.float32).eps
    assert largest_difference(tmp_path / "alone", tmp_path / "both") < 1000 * unit * STEPS * RATE
    fresh = tensors(tmp_path / "both")
    assert max(float(value.abs().max()) for key, value in fresh.items() if "lora_B" in key) > RATE
    record = read_record(Bundle.open(tmp_path / "both"), "sst2")
    assert (record.training["processes"], record.training["steps"]) == (2, STEPS)
    assert "processes" not in read_record(Bundle.open(tmp_path / "alone"), "sst2").training
    assert {part["name"] for part in (first, second)} == {"sst2"}
    assert first["base"] == second["base"] == one["base"]
    assert not (tmp_path / "both.work").exists()
    assert Bundle.open(tmp_path / "both").verify() == []


def test_noise_and_dropout_are_each_process_s_own_on_one_chip(
    mapped: Path, configure: Callable[..., Run], tmp_path: Path
) -> None:
    config = configure(mapped, adapt={"epochs": 8.0, "learning_rate": 2.0e-2, "checkpoint_steps": 100})
    shutil.copytree(mapped, tmp_path / "alone")
    one = train(config.model_copy(update={"bundle": str(tmp_path / "alone")}))
    first, second = run_together(train, config)
    assert first["chips"] == second["chips"] == one["chips"]
    assert first["noise"] == one["noise"]
    assert not set(first["noise"]) & set(second["noise"])
    # What they draw differs, so the losses do; over 48 steps their means are alike.
    means = [sum(pair) / 2 for pair in zip(first["losses"], second["losses"], strict=True)]
    assert means != pytest.approx(one["losses"], rel=1.0e-3)
    spread = torch.tensor(means).sub(torch.tensor(one["losses"]))
    assert abs(float(spread.mean())) < 4 * float(spread.std()) / len(means) ** 0.5
    for path in (mapped, tmp_path / "alone"):
        assert read_record(Bundle.open(path), "sst2").scores["adapted"] > 0.6


def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(
    tmp_path: Path, mapped: Path, configure: Callable[..., Run]
) -> None:
    training = {"epochs": 2.0, "checkpoint_steps": 3}
    config = configure(mapped, adapt=training)
    shutil.copytree(mapped, tmp_path / "other")
    before = files_of(mapped)
    run_together(train, config.model_copy(update={"bundle": str(tmp_path / "other")}))
    ended = run_together(train, config, 8)
    assert [type(part) for part in ended] == [KeyboardInterrupt, KeyboardInterrupt]
    assert files_of(mapped) == before
    with pytest.raises(ArtifactError, match=r"checkpoint-6 was written by 2 processes and cannot be .* by 1"):
        adapt.run(config, resume=True)
    resumed = run_together(resume, config)
    assert [len(part["losses"]) for part in resumed] == [6, 6], "they continued from the sixth of 12 steps"
    assert files_of(mapped / "adapters") == files_of(tmp_path / "other" / "adapters")


def resume(config: Run) -> dict[str, Any]:
    return train(config, resume=True)


def test_a_loss_that_is_no_number_in_one_process_ends_all(
    mapped: Path, configure: Callable[..., Run]
) -> None:
    ended = run_together(train, configure(mapped, adapt=TRAINING), None, True)
    assert [type(part) for part in ended] == [TrainingError, TrainingError]
    assert {str(part).partition(":")[0] for part in ended} == {"the loss is nan at step 4"}


def train_by_rank(config: Run) -> dict[str, Any]:
    return train(config.model_copy(update={"seed": int(os.environ["RANK"])}))


def test_processes_that_were_asked_for_different_things_refuse(
    mapped: Path, configure: Callable[..., Run]
) -> None:
    ended = run_together(train_by_rank, configure(mapped, adapt=TRAINING))
    assert [type(part) for part in ended] == [ConfigError, ConfigError]
    assert "the 2 processes have not read the same settings, data and bundle" in str(ended[1])
    assert not mapped.with_name("bundle.work").exists()


def everything(config: Run, out: Path) -> list[Any]:
    """What else ``adapt`` can do: retrain all, a schedule, several tasks."""
    full = config.model_copy(update={"adapt": config.adapt.model_copy(update={"method": "full"})})
    ages = config.adapt.model_copy(update={"schedule": ("0s", "1y"), "name": "ages"})
    found = [adapt.run(full, out=out), adapt.run(config.model_copy(update={"adapt": ages}))]
    listed = list(several.adapt_each(config, ("sst2", "sst2")))
    assert [part.kept for part in listed] == [False, True]
    found += listed
    return [(part.name, part.record, part.base_before, part.base_after, part.bundle.path) for part in found]


def test_retraining_schedules_and_lists_work_too(tmp_path: Path, still: Callable[..., Run]) -> None:
    config = still(tmp_path / "both", epochs=1.0)
    alone = still(tmp_path / "alone", epochs=1.0)
    first, second = run_together(everything, config, tmp_path / "full")
    assert first == second
    assert [part[0] for part in first] == ["sst2-full", "ages", "sst2", "sst2"]
    assert everything(alone, tmp_path / "full-alone")[1][1].stages == first[1][1].stages
    for name in ("sst2", "ages-0s", "ages-1y"):
        assert largest_difference(tmp_path / "alone", tmp_path / "both", name) < 1.0e-5
    assert Bundle.open(tmp_path / "full").verify() == Bundle.open(tmp_path / "both").verify() == []
