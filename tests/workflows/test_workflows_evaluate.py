"""Evaluate: which rows there are, and that each depends on its seed, chip and time alone."""

from __future__ import annotations

import csv
import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_deployment import files_of, write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import Results, Row, summarise
from aimc_deploy.config.hardware import ADC, DAC
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, DataError
from aimc_deploy.tasks.data import load_data
from aimc_deploy.tasks.features import encode
from aimc_deploy.tasks.registry import get_task
from aimc_deploy.workflows import adapt, base, evaluate
from aimc_deploy.workflows.attach import lora_switched_off
from aimc_deploy.workflows.deployed import DeployedModel, load
from aimc_deploy.workflows.logits import predict

Configure = Callable[..., Run]

# Noise at which the tiny adapter's accuracy is another on every chip and at every time.
NOISY = load_preset("pcm-x4").model_copy(update={"output_noise": 0.5})
SIX = {"chips": 6, "times": ("0s", "1d", "10y")}


def measure(configure: Configure, bundle: Path, **evaluation: Any) -> Results:
    """On hardware that no adapter was trained for, so that they are named: all of them if none is."""
    changes = evaluation.pop("run", {"hardware": NOISY})
    evaluation.setdefault("adapters", Bundle.open(bundle).adapters())
    return evaluate.run(configure(bundle, evaluate=evaluation, **changes)).results


def accuracies(results: Results) -> dict[tuple[str, int, str], float]:
    return {(row.adapter, row.chip, row.time): row.metrics["accuracy"] for row in results.rows}


@pytest.fixture
def features(adapted: Path, data: Path) -> Any:
    tokenizer = base.read_tokenizer(Bundle.open(adapted))
    return encode(load_data(get_task("sst2"), data).dev, tokenizer, 16), tokenizer


def logits(model: DeployedModel, features: Any) -> np.ndarray:
    return predict(model, *features, 64)


def test_there_is_a_row_for_each_adapter_chip_and_time(adapted: Path, configure: Configure) -> None:
    adapt.run(configure(adapted, adapt={"epochs": 0.3, "hardware_aware": False}))
    results = measure(configure, adapted, chips=3, times=("0s", "1d", "10y"), unadapted=True)
    names = ["sst2", "sst2 (LoRA off)", "sst2-digital", "sst2-digital (LoRA off)"]
    expected = {(name, chip, time) for name in names for chip in range(3) for time in ("0s", "1d", "10y")}
    assert len(results.rows) == 4 * 3 * 3
    assert set(accuracies(results)) == expected
    assert [part.adapter for part in results.baselines] == names
    assert {(row.time, row.t_s) for row in results.rows} == {("0s", 0), ("1d", 86400), ("10y", 315360000)}
    assert (results.samples, results.task, results.metric) == (120, "sst2", "accuracy")
    assert results.settings["trained_for_other_hardware"] == ["sst2"]


def test_one_adapter_can_be_chosen(adapted: Path, configure: Configure) -> None:
    adapt.run(configure(adapted, adapt={"epochs": 0.3, "name": "other"}))
    results = measure(configure, adapted, adapters=("other",))
    assert {row.adapter for row in results.rows} == {"other"}


def test_one_worker_and_two_give_the_same_results(adapted: Path, configure: Configure) -> None:
    found = {}
    for workers in (1, 2):
        measure(configure, adapted, **SIX, unadapted=True, run={"hardware": NOISY, "workers": workers})
        found[workers] = {
            ending: (adapted / "results" / f"sst2.{ending}").read_bytes() for ending in ("json", "csv", "svg")
        }
    assert found[1] == found[2]


def test_the_number_of_threads_changes_nothing(adapted: Path, configure: Configure) -> None:
    threads = torch.get_num_threads()
    found = []
    for number in (1, 2):
        torch.set_num_threads(number)
        found.append(measure(configure, adapted, **SIX))
        assert torch.get_num_threads() == number
    torch.set_num_threads(threads)
    assert found[0] == found[1]


def test_chips_differ_and_more_of_them_leave_the_first_as_they_are(
    adapted: Path, configure: Configure
) -> None:
    many = accuracies(measure(configure, adapted, **SIX))
    few = accuracies(measure(configure, adapted, **{**SIX, "chips": 2}))
    assert few == {key: value for key, value in many.items() if key[1] < 2}
    curves = {chip: tuple(many["sst2", chip, time] for time in SIX["times"]) for chip in range(6)}
    assert len(set(curves.values())) >= 5, curves


def test_times_do_not_depend_on_each_other_nor_on_their_order(adapted: Path, configure: Configure) -> None:
    forward = measure(configure, adapted, **SIX)
    backward = measure(configure, adapted, **{**SIX, "times": ("10y", "1d", "0s", "24h")})
    assert backward.rows == forward.rows
    alone = accuracies(measure(configure, adapted, **{**SIX, "times": ("1d",)}))
    assert alone == {key: value for key, value in accuracies(forward).items() if key[2] == "1d"}


def test_another_seed_is_other_chips(adapted: Path, configure: Configure) -> None:
    rows = [measure(configure, adapted, **SIX, run={"hardware": NOISY, "seed": seed}).rows for seed in (0, 1)]
    assert [row.metrics for row in rows[0]] != [row.metrics for row in rows[1]]


def test_batches_change_a_result_by_its_noise_alone(adapted: Path, configure: Configure) -> None:
    """Without output noise nothing depends on which samples share a batch, up to rounding of the sums.

    Converters are ideal here: a sum that rounds otherwise could tip one of their levels.
    """
    quiet = load_preset("pcm-x4").model_copy(
        update={"output_noise": 0.0, "dac": DAC(bits=None), "adc": ADC(bits=None)}
    )
    found = [
        accuracies(measure(configure, adapted, batch_size=size, run={"hardware": quiet})) for size in (7, 64)
    ]
    assert max(abs(found[0][key] - found[1][key]) for key in found[0]) <= 1 / 120


def test_a_chip_is_paired_over_time(adapted: Path, features: Any) -> None:
    """Devices keep what programming gave them: a chip at two times is more alike than two chips are."""
    device = NOISY.device.model_copy(update={"read_noise_scale": 0.0})
    hardware = NOISY.model_copy(update={"output_noise": 0.0, "device": device})
    model = DeployedModel(Bundle.open(adapted), hardware).set_adapter("sst2").eval()
    found = {
        (chip, time): logits(model.program(chip).drift(time), features)
        for chip in range(4)
        for time in ("1h", "1d")
    }

    def distance(one: tuple[int, str], two: tuple[int, str]) -> float:
        return float(np.linalg.norm(found[one] - found[two]))

    paired = [distance((chip, "1h"), (chip, "1d")) for chip in range(4)]
    others = [distance((one, "1h"), (two, "1d")) for one in range(4) for two in range(4) if one != two]
    assert 0 < max(paired) < min(others)


def test_unadapted_rows_are_those_of_the_model_with_lora_off(
    adapted: Path, configure: Configure, features: Any
) -> None:
    """Lora off is what PEFT itself calls disabled, but for the head, which stays the trained one."""
    results = measure(configure, adapted, **SIX, unadapted=True)
    model = DeployedModel(Bundle.open(adapted), NOISY).set_adapter("sst2").eval()
    for module in model.modules():
        for part in getattr(module, "lora_B", {}).values():
            part.weight.data.zero_()
    found = accuracies(results)
    for chip in range(2):
        model.program(chip)
        for time in SIX["times"]:
            model.drift(time)
            right = logits(model, features).argmax(axis=1) == features[0].labels
            assert found["sst2 (LoRA off)", chip, time] == right.mean()
    digital = {part.adapter: part.metrics["accuracy"] for part in results.baselines}
    right = logits(model.digital(), features).argmax(axis=1) == features[0].labels
    assert digital["sst2 (LoRA off)"] == right.mean() != digital["sst2"]


def test_lora_switched_off_adds_nothing_and_is_back_afterwards(adapted: Path, features: Any) -> None:
    model, zeroed = (load(adapted).set_adapter("sst2").program(0) for _ in range(2))
    for module in zeroed.modules():
        for part in getattr(module, "lora_B", {}).values():
            part.weight.data.zero_()
    on = logits(model.drift("0s"), features)
    with lora_switched_off(model.model):
        off = logits(model.drift("0s"), features)
    assert np.array_equal(off, logits(zeroed.drift("0s"), features))
    assert not np.allclose(on, off, atol=1e-3)
    assert np.array_equal(logits(model.drift("0s"), features), on)


def test_rows_are_what_the_model_gives_from_python(
    adapted: Path, configure: Configure, features: Any
) -> None:
    results = measure(configure, adapted, run={"seed": 4})
    model = load(adapted, seed=4).set_adapter("sst2")
    for row in results.rows:
        model.program(row.chip).drift(row.time)
        right = logits(model, features).argmax(axis=1) == features[0].labels
        assert row.metrics["accuracy"] == right.mean()


def test_compensation_can_be_overridden(adapted: Path, configure: Configure) -> None:
    """The results are those of hardware that says so itself."""
    plain = NOISY.model_copy(update={"output_noise": 0.1})
    found = {}
    for kind in ("none", "per_column"):
        overridden = measure(configure, adapted, **SIX, compensation=kind, run={"hardware": plain})
        own = plain.model_copy(update={"drift_compensation": kind})
        assert overridden.rows == measure(configure, adapted, **SIX, run={"hardware": own}).rows
        assert overridden.settings["hardware"]["drift_compensation"] == kind
        assert overridden.hardware_digest == own.digest()
        found[kind] = overridden.rows
    assert len({tuple(row.metrics["accuracy"] for row in rows) for rows in found.values()}) > 1


def test_ideal_hardware_is_the_digital_model_at_every_time(adapted: Path, configure: Configure) -> None:
    results = measure(configure, adapted, chips=3, unadapted=True, run={"hardware": "ideal"})
    digital = {part.adapter: part.metrics for part in results.baselines}
    assert digital["sst2"]["accuracy"] > 0.6
    assert {row.time for row in results.rows} == {"0s", "1y"}
    assert all(row.metrics == digital[row.adapter] for row in results.rows)


def test_the_files_agree_with_each_other_and_with_the_samples(adapted: Path, configure: Configure) -> None:
    results = measure(configure, adapted, **SIX, unadapted=True)
    content = json.loads((adapted / "results" / "sst2.json").read_text())
    assert Results.model_validate({key: content[key] for key in content if key != "summary"}) == results
    with (adapted / "results" / "sst2.csv").open() as stream:
        rows = [
            Row(
                adapter=line["adapter"],
                chip=int(line["chip"]),
                time=line["time"],
                t_s=float(line["t_s"]),
                metrics={"accuracy": float(line["accuracy"])},
            )
            for line in csv.DictReader(stream)
        ]
    assert tuple(rows) == results.rows
    for part in content["summary"]:
        own = [
            row["metrics"]["accuracy"]
            for row in content["rows"]
            if (row["adapter"], row["time"]) == (part["adapter"], part["time"])
        ]
        assert part["mean"] == pytest.approx(np.mean(own), rel=1e-12)
        assert part["std"] == pytest.approx(np.std(own, ddof=1), rel=1e-12)
    assert len(content["summary"]) == len(summarise(results)) == 6
    assert Bundle.open(adapted).verify() == []


def test_eval_samples_are_the_ones_the_seed_draws(adapted: Path, configure: Configure) -> None:
    assert measure(configure, adapted, eval_samples=50).samples == 50
    with pytest.raises(DataError, match="121 samples asked for"):
        measure(configure, adapted, eval_samples=121)


def test_an_adapter_of_another_task_is_refused(tmp_path: Path, adapted: Path, configure: Configure) -> None:
    config = configure(adapted, evaluate={"adapters": ("sst2",)}).model_copy(update={"task": "cola"})
    with pytest.raises(ArtifactError, match="adapter 'sst2' is for task 'sst2', not 'cola': use --task sst2"):
        evaluate.run(config)
    with pytest.raises(ArtifactError, match=r"no adapter for 'cola': .*aimc-deploy adapt --task cola"):
        evaluate.run(configure(adapted).model_copy(update={"task": "cola"}))
    with pytest.raises(ArtifactError, match=r"no adapter 'nobody' \(there: sst2\)"):
        evaluate.run(configure(adapted, evaluate={"adapters": ("nobody",)}))


def test_other_data_gives_other_rows(tmp_path: Path, adapted: Path, configure: Configure) -> None:
    data = write_task(tmp_path / "other", dev=30)
    config = configure(adapted).model_copy(update={"data_dir": str(data)})
    assert evaluate.run(config).results.samples == 30


@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupted_measurement_leaves_the_results_and_no_processes(
    adapted: Path, configure: Configure, workers: int
) -> None:
    class Stopping:
        rows = 0

        def start(self, what: str, total: int) -> None:
            assert (what, total) == ("evaluating sst2", 1000 * 2 + 1)

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.rows += 1
            if self.rows == 3:
                raise KeyboardInterrupt

        def say(self, message: str) -> None: ...

    measure(configure, adapted, chips=1)
    before = files_of(adapted)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(configure(adapted, evaluate={"chips": 1000}, workers=workers), progress=Stopping())
    assert files_of(adapted) == before
    assert multiprocessing.active_children() == [], "chips that had not begun are given up"


def test_one_chip_tells_how_exact_its_layers_are_young_and_old(adapted: Path, configure: Configure) -> None:
    results = evaluate.run(configure(adapted, evaluate={"times": ("0s", "1h", "1y"), "chips": 2})).results
    assert [(part.adapter, part.chip, part.time) for part in results.layers] == [
        ("sst2", 0, "0s"),
        ("sst2", 0, "1y"),
    ]
    layers = {entry["layer"] for entry in Bundle.open(adapted).read_json("tile_map.json")["analog"]}
    for part in results.layers:
        assert set(part.sqnr_db) == layers
        assert all(0 < value < 60 for value in part.sqnr_db.values())
    one = evaluate.run(configure(adapted, evaluate={"times": ("1h",), "chip": 1})).results
    assert [(part.chip, part.time) for part in one.layers] == [(1, "1h")]
