"""Several tasks on one base."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_deployment import write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.results import summarise
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError, ConfigError, DataError
from aimc_deploy.tasks.registry import TASKS
from aimc_deploy.workflows import several
from aimc_deploy.workflows.adapters import read_record

Configure = Callable[..., Run]


@pytest.fixture(scope="module")
def glue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of SST-2 and CoLA, which ask the same of the same sentences here."""
    folder = tmp_path_factory.mktemp("glue")
    write_task(folder / "SST-2")
    write_task(folder / "CoLA")
    return folder


def on(configure: Configure, bundle: Path, glue: Path, task: str, **changes: object) -> Run:
    return configure(bundle, **changes).model_copy(update={"task": task, "data_dir": str(glue)})


def test_all_is_every_task_whose_data_is_there(configure: Configure, tmp_path: Path, glue: Path) -> None:
    chosen = several.with_data(on(configure, tmp_path, glue, "all"))
    assert chosen.tasks == ("sst2", "cola")
    assert chosen.left_out["rte"].startswith("missing: ")
    assert set(chosen.tasks) | set(chosen.left_out) == set(TASKS)
    hub = on(configure, tmp_path, glue, "all").model_copy(update={"data_dir": None})
    assert several.with_data(hub).tasks == tuple(TASKS)
    with pytest.raises(DataError, match="has the data of no task"):
        several.with_data(on(configure, tmp_path, tmp_path, "all"))


def test_a_list_is_what_it_says(configure: Configure, tmp_path: Path, glue: Path) -> None:
    assert several.with_data(on(configure, tmp_path, glue, "cola, sst2,cola")).tasks == ("cola", "sst2")
    with pytest.raises(DataError, match="there is no task 'coal'"):
        several.with_data(on(configure, tmp_path, glue, "sst2,coal"))


def test_one_base_carries_every_task(mapped: Path, configure: Configure, glue: Path, tmp_path: Path) -> None:
    config = on(configure, mapped, glue, "all")
    chosen = several.with_data(config)
    results = list(several.adapt_each(config, chosen.tasks))
    assert [result.name for result in results] == ["sst2", "cola"]
    assert len({result.base_after for result in results} | {results[0].base_before}) == 1
    again = list(several.adapt_each(config, chosen.tasks))
    assert [result.kept for result in again] == [True, True]

    assert several.with_adapters(config).tasks == ("sst2", "cola")
    measured = [result.results for result in several.evaluate_each(config, ("sst2", "cola"))]
    found = several.overview(measured)
    assert found.times == ("0s", "1y")
    assert [(line.task, line.metric, line.adapter) for line in found.lines] == [
        ("sst2", "accuracy", "sst2"),
        ("cola", "matthews", "cola"),
    ]
    means = {
        (part.adapter, part.time): part.mean for part in summarise(measured[1]) if part.metric == "matthews"
    }
    assert found.lines[1].means == (means["cola", "0s"], means["cola", "1y"])
    assert found.average is not None
    assert found.average.digital == pytest.approx((found.lines[0].digital + found.lines[1].digital) / 2)
    assert found.average.means[1] == pytest.approx((found.lines[0].means[1] + found.lines[1].means[1]) / 2)
    assert several.overview(measured[:1]).average is None
    bundle = Bundle.open(mapped)
    assert {"results/sst2.json", "results/cola.json"} <= set(bundle.manifest.files)
    assert read_record(bundle, "cola").base_sha256 == bundle.manifest.base_sha256


def test_an_adapter_is_the_same_alone_and_among_others(
    tmp_path: Path, mapped_once: Path, configure: Configure, glue: Path
) -> None:
    found = []
    for name, tasks in (("alone", ("cola",)), ("others", ("sst2", "cola"))):
        shutil.copytree(mapped_once, tmp_path / name)
        list(several.adapt_each(on(configure, tmp_path / name, glue, ",".join(tasks)), tasks))
        found.append((tmp_path / name / "adapters" / "cola" / "adapter_model.safetensors").read_bytes())
    assert found[0] == found[1]


def test_a_name_with_the_task_in_it_serves_every_task(mapped: Path, configure: Configure, glue: Path) -> None:
    few = {"epochs": 0.2}
    plain = on(
        configure, mapped, glue, "sst2,cola", adapt={**few, "name": "{task}-a", "hardware_aware": False}
    )
    names = [result.name for result in several.adapt_each(plain, ("sst2", "cola"))]
    assert names == ["sst2-a", "cola-a"]
    further = on(configure, mapped, glue, "sst2,cola", adapt={**few, "start_from": "{task}-a"})
    results = list(several.adapt_each(further, ("sst2", "cola")))
    assert [result.record.training["start_from"] for result in results] == ["sst2-a", "cola-a"]


def test_what_is_for_one_task_is_refused_for_several(mapped: Path, configure: Configure, glue: Path) -> None:
    named = on(configure, mapped, glue, "sst2,cola", adapt={"name": "mine"})
    with pytest.raises(ConfigError, match=r"adapt.name \(--name\): 'mine' cannot be the same for each of"):
        list(several.adapt_each(named, ("sst2", "cola")))
    on_from = on(configure, mapped, glue, "sst2,cola", adapt={"start_from": "sst2-digital"})
    with pytest.raises(ConfigError, match=r"write \{task\} for the task's name, or leave it out"):
        list(several.adapt_each(on_from, ("sst2", "cola")))
    chosen = on(configure, mapped, glue, "all", evaluate={"adapters": ("sst2",)})
    with pytest.raises(ConfigError, match=r"evaluate.adapters \(--adapter\) is for one task"):
        several.evaluate_each(chosen, ("sst2",))
    with pytest.raises(ArtifactError, match="has no adapters: train some with `aimc-deploy adapt"):
        several.with_adapters(on(configure, mapped, glue, "all"))
