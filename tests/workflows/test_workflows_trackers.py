"""Trackers: they get what the Trainer logs and the configuration, and change nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_deployment import Said, files_of
from transformers import TrainerCallback

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ConfigError
from aimc_deploy.workflows import adapt, map, run, trackers, trainer
from aimc_deploy.workflows.adapt_request import run_digest

Configure = Callable[..., Run]

TRAINING = {
    "epochs": 4.0,
    "checkpoint_steps": 100,
}  # 24 steps, of which the tenth and the twentieth are logged


class Logged(TrainerCallback):
    """Keeps the losses that the Trainer logs."""

    def __init__(self) -> None:
        self.losses: list[tuple[int, float]] = []

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if "loss" in kwargs["logs"]:
            self.losses.append((state.global_step, kwargs["logs"]["loss"]))


def test_tensorboard_has_the_losses_and_the_adapter_is_the_same(
    tmp_path: Path, mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(mapped, tmp_path / "plain")
    logged, said = Logged(), Said()
    noise = trainer.training_noise
    monkeypatch.setattr(trainer, "training_noise", lambda *settings: [*noise(*settings), logged])
    config = configure(mapped, adapt={**TRAINING, "report_to": ("tensorboard",)})
    adapt.run(config, progress=said)
    adapt.run(configure(tmp_path / "plain", adapt=TRAINING))
    assert files_of(mapped / "adapters") == files_of(tmp_path / "plain" / "adapters")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "bundle.runs", "plain"]

    (folder,) = (tmp_path / "bundle.runs").iterdir()
    assert folder.name.startswith("sst2-")
    assert said.lines == [f"losses: tensorboard --logdir {folder}"]
    events = EventAccumulator(str(folder)).Reload()
    found = {event.step: event.value for event in events.Scalars("train/loss")}
    assert list(found) == [10, 20]
    assert found == pytest.approx(dict(logged.losses[:2]))
    (text,) = events.Tensors("args/text_summary")
    kept = json.loads(text.tensor_proto.string_val[0])
    assert kept == json.loads(json.dumps(trackers.parameters(config)))
    assert (kept["adapt.lora.r"], kept["hardware.device.kind"], kept["task"]) == (2, "pcm", "sst2")


def test_tensorboard_may_be_told_to_write_elsewhere(
    tmp_path: Path, mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "mine"))
    adapt.run(configure(mapped, adapt={"epochs": 0.2, "report_to": ("tensorboard",)}))
    assert [path.name[:6] for path in (tmp_path / "mine").iterdir()] == ["events"]
    assert not (tmp_path / "bundle.runs").exists()


def test_what_is_not_installed_is_refused_before_anything_is_done(
    tmp_path: Path, mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trackers, "get_available_reporting_integrations", lambda: ["tensorboard"])
    config = configure(mapped, adapt={"report_to": ("tensorboard", "wandb", "mlflow")})
    said = r"adapt.report_to: wandb, mlflow cannot be used here: install with `pip install wandb mlflow`"
    monkeypatch.setattr(adapt, "load_data", None)
    monkeypatch.setattr(map, "load_checkpoint", None)
    with pytest.raises(ConfigError, match=said):
        adapt.run(config)
    with pytest.raises(ConfigError, match=said):
        list(run.run(config.model_copy(update={"bundle": str(tmp_path / "new")})))


def test_a_run_is_the_same_with_and_without_a_tracker(mapped: Path, configure: Configure) -> None:
    plain, tracked = (
        configure(mapped, adapt={"report_to": names}) for names in ((), ("tensorboard", "mlflow"))
    )
    bundle = Bundle.open(mapped)
    assert run_digest(plain, bundle, "data") == run_digest(tracked, bundle, "data")


def test_nothing_is_tracked_unless_asked_for(tmp_path: Path) -> None:
    import torch

    from aimc_deploy.config.adapt import Adapt

    given = trainer.training_arguments(Adapt(), tmp_path, epochs=1, seed=0, device=torch.device("cpu"))
    assert given.report_to == []
