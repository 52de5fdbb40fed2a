"""``aimc-deploy train-in-memory`` of adapters, heads and layers of a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from command_line import call
from tiny_deployment import write_task

from aimc_deploy.cli.train_in_memory import Algorithm
from aimc_deploy.config import algorithm


@pytest.fixture
def mapped(tmp_path: Path, checkpoint_once: Path) -> list[str]:
    """The options that name a mapped bundle and its data."""
    assert call("map", str(checkpoint_once), str(tmp_path / "b")).code == 0
    write_task(tmp_path / "glue" / "SST-2")
    return ["-b", str(tmp_path / "b"), "--data-dir", str(tmp_path / "glue"), "--set", "max_length=16"]


def test_the_algorithms_that_are_offered_are_those_that_there_are() -> None:
    kinds = get_args(get_args(algorithm.Algorithm)[0])
    assert {one.value for one in Algorithm} == {kind.model_fields["kind"].default for kind in kinds}


def test_an_adapter_is_trained_shown_and_evaluated_on_its_chip(mapped: list[str]) -> None:
    train = ["train-in-memory", *mapped, "-t", "sst2", "--epochs", "0.5"]
    ended = call(*train)
    assert ended.code == 0, ended.err
    assert "adapter 'sst2-mixed-precision': " in ended.out
    assert "base unchanged" in ended.out
    line = next(line for line in ended.out.splitlines() if line.startswith("arrays w of "))
    assert "pulses a device" in line
    assert "at a bound" in line
    assert ended.err.rstrip().endswith("--chip 0")
    told = call(*train, "--algorithm", "residual", "--what", "head", "--format", "json").json()
    assert told["adapter"] == "sst2-head-residual"
    assert set(told["devices"]) == {"classifier"}
    assert set(told["devices"]["classifier"]["arrays"]) == {"w", "p"}
    found = call(
        "evaluate", *mapped, "-t", "sst2", "--chip", "0", "--times", "0s,1y", "--format", "json"
    ).json()
    assert {row["adapter"] for row in found["rows"]} == {"sst2-mixed-precision", "sst2-head-residual"}
    again = call(*train)
    assert again.code == 2
    assert "has an adapter 'sst2-mixed-precision' already" in again.err


def test_layers_on_a_published_device_of_an_old_chip(mapped: list[str]) -> None:
    options = ["--what", "layers=*.self.query,*.self.key", "--pulsed-device", "ecram", "--chip", "2"]
    told = call(
        "train-in-memory",
        *mapped,
        "-t",
        "sst2",
        "--epochs",
        "0.3",
        *options,
        "--at",
        "1y",
        "--format",
        "json",
    ).json()
    assert told["adapter"] == "sst2-layers-mixed-precision-chip2-1y"
    assert {name.rpartition(".")[2] for name in told["devices"]} == {"query", "key", "classifier"}


def test_what_is_asked_for_is_what_is_configured(mapped: list[str], tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("adapt:\n  chip: 5\n  in_memory:\n    algorithm: {kind: tt_v2, forget: 0.1}\n")
    options = ["--states", "200", "--learning-rate", "3", "-c", str(recipe), "--dry-run", "--format", "json"]
    told = call("train-in-memory", *mapped, *options).json()["adapt"]
    assert (told["chip"], told["age"], told["method"]) == (5, "0s", "lora")
    assert told["in_memory"]["device"]["states"] == 200
    assert told["in_memory"]["learning_rate"] == 3
    assert told["in_memory"]["algorithm"]["forget"] == 0.1
    assert told["in_memory"]["algorithm"]["columns"] is None, "what suits adapters"
    assert call("train-in-memory", *mapped, "--dry-run", "--format", "json").json()["adapt"]["chip"] == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--what", "heads"], "'heads' cannot be trained"),
        (["--what", "layers="], "cannot be trained"),
        (["--algorithm", "sgd"], "is not one of"),
        (["--pulsed-device", "rram"], "there is no device for training 'rram'"),
        (["--states", "1"], "greater than or equal to 2"),
        (["--learning-rate", "0"], "adapt.in_memory.learning_rate"),
        (["--set", "adapt.in_memory.device.tau=0"], "adapt.in_memory.device.tau"),
        (
            ["--set", "adapt.in_memory.algorithm={kind: e_rider, flip_probability: 0}"],
            "ends in the wrong place",
        ),
        (["--set", "adapt.in_memory.algorithm={kind: residual, gamma: 1.5}"], "less than or equal to 1"),
        (["--set", "adapt.method=full"], "in_memory: is of adapters"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(
    tmp_path: Path, options: list[str], message: str
) -> None:
    ended = call("train-in-memory", "-b", str(tmp_path / "none"), *options)
    assert ended.code == 2
    assert message in " ".join(ended.err.replace("\u2502", " ").split())


def test_devices_for_pulses_are_listed() -> None:
    listed = call("config", "presets", "--pulsed", "--format", "json").json()
    assert "reram-hfo2" in listed
    assert "--pulsed-device NAME" in call("config", "presets", "--pulsed").err
    assert listed.keys().isdisjoint(call("config", "presets", "--format", "json").json())
