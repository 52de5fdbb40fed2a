"""Static input ranges: the adapter's own where they fit the hardware, calibrated where they do not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_deployment import write_task
from torch import nn

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import Row
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.nn.convert import analog_layers
from aimc_deploy.tasks.data import load_data
from aimc_deploy.tasks.features import encode
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import adapt, base, evaluate, input_ranges, jobs
from aimc_deploy.workflows.deployed import DeployedModel
from aimc_deploy.workflows.logits import predict

Configure = Callable[..., Run]
Ranges = dict[str, list[float] | None]


def static(**changes: Any) -> Hardware:
    """Two batches, and noise at which the tiny adapter's accuracy shows any difference."""
    hardware = load_preset("pcm-static").model_copy(update={"output_noise": 2.0})
    ranges = hardware.dac.input_range.model_copy(update={"batches": 2, **changes})
    return hardware.model_copy(update={"dac": hardware.dac.model_copy(update={"input_range": ranges})})


DYNAMIC = static().model_copy(update={"dac": load_preset("pcm").dac})


def of(model: nn.Module) -> Ranges:
    return {name: layer.input_ranges for name, layer in analog_layers(model).items()}


@pytest.fixture(scope="module")
def both_once(tmp_path_factory: pytest.TempPathFactory, configure: Configure, adapted_once: Path) -> Path:
    """A bundle with an adapter for dynamic ranges, ``sst2``, and one for static ranges, ``fixed``."""
    path = tmp_path_factory.mktemp("both") / "bundle"
    shutil.copytree(adapted_once, path)
    adapt.run(
        configure(path, hardware=static(), adapt={"name": "fixed", "epochs": 8.0, "learning_rate": 2.0e-2})
    )
    return path


@pytest.fixture
def both(tmp_path: Path, both_once: Path) -> Path:
    return Path(shutil.copytree(both_once, tmp_path / "bundle"))


def rows(
    configure: Configure, bundle: Path, hardware: Hardware, workers: int = 1, **evaluation: Any
) -> tuple[Row, ...]:
    settings = {"chips": 3, "times": ("0s", "1d"), "adapters": Bundle.open(bundle).adapters(), **evaluation}
    return evaluate.run(configure(bundle, hardware=hardware, evaluate=settings, workers=workers)).results.rows


def calibration(bundle: Path, data: Path, hardware: Hardware, seed: int = 0) -> Callable[[nn.Module], None]:
    train = load_data(get_task("sst2"), data).train
    tokenizer = base.read_tokenizer(Bundle.open(bundle))

    def calibrate(model: nn.Module) -> None:
        input_ranges.calibrate_ranges(model, hardware, get_task("sst2"), train, tokenizer, 16, seed)

    return calibrate


def test_an_adapter_for_this_hardware_brings_its_ranges(both: Path) -> None:
    stored = Bundle.open(both).read_json("adapters/fixed/adapter.json")["input_ranges"]

    def never(model: nn.Module) -> None:
        raise AssertionError("there is nothing to calibrate")

    assert of(DeployedModel(Bundle.open(both), static()).set_adapter("fixed", never)) == stored
    # What else the hardware says does not matter to the ranges.
    louder = static().model_copy(update={"output_noise": 0.5, "drift_compensation": "none"})
    assert of(DeployedModel(Bundle.open(both), louder).set_adapter("fixed", never)) == stored


@pytest.mark.parametrize("name", ["sst2", "fixed"])
def test_on_hardware_with_dynamic_ranges_each_token_has_its_own(both: Path, name: str) -> None:
    model = DeployedModel(Bundle.open(both), DYNAMIC).set_adapter(name)
    assert set(of(model).values()) == {None}


def test_dynamic_ranges_measure_as_if_nothing_had_been_calibrated(
    both: Path, configure: Configure, data: Path
) -> None:
    found = rows(configure, both, DYNAMIC, adapters=("fixed",))
    tokenizer = base.read_tokenizer(Bundle.open(both))
    dev = encode(load_data(get_task("sst2"), data).dev, tokenizer, 16)
    model = DeployedModel(Bundle.open(both), DYNAMIC).set_adapter("fixed").eval()
    for layer in analog_layers(model).values():
        layer.input_ranges = None
    for row in found:
        model.program(row.chip).drift(row.time)
        right = predict(model, dev, tokenizer, 64).argmax(axis=1) == dev.labels
        assert row.metrics["accuracy"] == right.mean()
    assert [row.metrics for row in found] != [
        row.metrics for row in rows(configure, both, static(), adapters=("fixed",))
    ], "static ranges would have been another result"


@pytest.mark.parametrize(
    ("name", "hardware"),
    [("sst2", static()), ("fixed", static(method="max")), ("fixed", static(quantile=0.9))],
    ids=["trained for dynamic ranges", "another method", "another quantile"],
)
def test_an_adapter_for_other_hardware_needs_a_calibration(
    both: Path, data: Path, name: str, hardware: Hardware
) -> None:
    model = DeployedModel(Bundle.open(both), hardware)
    with pytest.raises(ArtifactError, match=f"adapter '{name}' has no input ranges .*pass a calibration"):
        model.set_adapter(name)
    model.set_adapter(name, calibration(both, data, hardware))
    found = of(model)
    assert all(values is not None and values[0] > 0 for values in found.values())
    assert found != Bundle.open(both).read_json("adapters/fixed/adapter.json")["input_ranges"]


@pytest.mark.parametrize(
    ("hardware", "workers"),
    [(static(), 1), (static(method="max"), 2)],
    ids=["quantile", "max, two processes"],
)
def test_evaluate_calibrates_what_the_adapter_does_not_bring(
    both: Path, configure: Configure, data: Path, hardware: Hardware, workers: int
) -> None:
    """Its rows are those of the model calibrated by hand, in whatever process."""
    found = rows(configure, both, hardware, adapters=("sst2",), unadapted=True, workers=workers)
    tokenizer = base.read_tokenizer(Bundle.open(both))
    dev = encode(load_data(get_task("sst2"), data).dev, tokenizer, 16)
    model = DeployedModel(Bundle.open(both), hardware)
    model.set_adapter("sst2", calibration(both, data, hardware)).eval()
    own = [row for row in found if row.adapter == "sst2"]
    assert len(own) == 6 == len(found) / 2
    assert len({row.metrics["accuracy"] for row in own}) > 1, "noise shows in the rows"
    for row in own:
        model.program(row.chip).drift(row.time)
        right = predict(model, dev, tokenizer, 64).argmax(axis=1) == dev.labels
        assert row.metrics["accuracy"] == right.mean()


def test_evaluate_uses_the_ranges_that_training_calibrated(
    both: Path, configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: Any) -> None:
        raise AssertionError("there is nothing to calibrate")

    monkeypatch.setattr(jobs, "calibrate_ranges", never)
    jobs.open_adapter.cache_clear()
    assert len(rows(configure, both, static(), adapters=("fixed",))) == 6
    jobs.open_adapter.cache_clear()
    with pytest.raises(AssertionError, match="nothing to calibrate"):
        rows(configure, both, static(), adapters=("sst2",))


def test_the_seed_draws_the_samples_of_a_calibration(both: Path, tmp_path: Path) -> None:
    data = write_task(tmp_path / "long", train=400)
    found = []
    for seed in (0, 0, 1):
        model = DeployedModel(Bundle.open(both), static())
        found.append(of(model.set_adapter("sst2", calibration(both, data, static(), seed))))
    assert found[0] == found[1] != found[2]


def test_an_adapter_chosen_later_does_not_keep_the_ranges_of_the_one_before(both: Path, data: Path) -> None:
    model = DeployedModel(Bundle.open(both), static())
    model.set_adapter("fixed")
    first = of(model)
    model.set_adapter("sst2", calibration(both, data, static()))
    assert of(model) != first
    assert of(model.set_adapter("fixed")) == first
    with pytest.raises(ArtifactError, match="pass a calibration"):
        model.set_adapter("sst2")
    assert (model.adapter, of(model)) == ("fixed", first), "what is refused changes nothing"
