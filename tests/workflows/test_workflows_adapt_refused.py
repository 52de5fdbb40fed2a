"""What adapt refuses or gives up: adapters that are there, losses that are no numbers, other hardware."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_deployment import files_of, write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, DataError, TrainingError
from aimc_deploy.workflows import adapt
from aimc_deploy.workflows.trainer import GuardedTrainer

Configure = Callable[..., Run]
BASE = ("model.safetensors", "tiles.safetensors", "tile_map.json", "hardware.json", "config.json")


def test_an_adapter_that_is_there_is_refused_kept_or_replaced(mapped: Path, configure: Configure) -> None:
    config = configure(mapped, adapt={"epochs": 0.3})
    first = adapt.run(config)
    before = files_of(mapped)
    with pytest.raises(ArtifactError, match=r"adapter 'sst2' already: .*--name .*--overwrite"):
        adapt.run(config)
    kept = adapt.run(config, existing="keep")
    assert kept.kept
    assert (kept.record, kept.base_after) == (first.record, first.base_after)
    assert files_of(mapped) == before
    other = configure(mapped, adapt={"epochs": 0.3}, seed=1)
    with pytest.raises(ArtifactError, match="already from other settings, data or base"):
        adapt.run(other, existing="keep")
    assert files_of(mapped) == before
    replaced = adapt.run(other, existing="replace")
    assert not replaced.kept
    assert Bundle.open(mapped).read_json("adapters/sst2/adapter.json")["training"]["seed"] == 1


def test_other_data_is_another_run(tmp_path: Path, mapped: Path, configure: Configure) -> None:
    adapt.run(configure(mapped, adapt={"epochs": 0.3}))
    longer = write_task(tmp_path / "longer", train=98)
    config = configure(mapped, adapt={"epochs": 0.3}).model_copy(update={"data_dir": str(longer)})
    with pytest.raises(ArtifactError, match="other settings, data or base"):
        adapt.run(config, existing="keep")


def test_a_loss_that_is_not_a_number_names_its_step_and_leaves_the_bundle(
    mapped: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = files_of(mapped)
    compute = GuardedTrainer.__mro__[1].compute_loss

    def poisoned(self: Any, *args: Any, **kwargs: Any) -> Any:
        loss, outputs = compute(self, *args, **kwargs)
        return loss * np.nan if self.state.global_step == 3 else loss, outputs

    monkeypatch.setattr(GuardedTrainer.__mro__[1], "compute_loss", poisoned)
    with pytest.raises(TrainingError, match=r"the loss is nan at step 3: lower adapt\.learning_rate"):
        adapt.run(configure(mapped))
    assert files_of(mapped) == before


def test_a_learning_rate_that_diverges_is_an_error_and_no_adapter(mapped: Path, configure: Configure) -> None:
    config = configure(mapped, adapt={"learning_rate": 1.0e30, "hardware_aware": False, "epochs": 2.0})
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) at step \d+"):
        adapt.run(config)
    assert Bundle.open(mapped).adapters() == ()


def test_hardware_that_would_map_otherwise_is_refused(mapped: Path, configure: Configure) -> None:
    with pytest.raises(ArtifactError, match="map again"):
        adapt.run(configure(mapped, hardware="hermes-2dev"))
    assert Bundle.open(mapped).adapters() == ()


def test_a_missing_bundle_and_missing_data_are_told(
    tmp_path: Path, mapped: Path, configure: Configure
) -> None:
    with pytest.raises(ArtifactError, match="aimc-deploy map"):
        adapt.run(configure(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    config = configure(mapped).model_copy(update={"data_dir": str(tmp_path / "empty")})
    with pytest.raises(DataError, match=r"train\.tsv and dev\.tsv"):
        adapt.run(config)
    with pytest.raises(DataError, match="there is no task 'sst3'"):
        adapt.run(configure(mapped).model_copy(update={"task": "sst3"}))
