"""Run: every step of a recipe once, and after an interruption only what is missing."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_deployment import files_of, write_checkpoint, write_task

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.adapt import Adapt
from aimc_deploy.config.hardware import Mapping
from aimc_deploy.config.load import load_preset
from aimc_deploy.config.run import Run, Source
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import run
from aimc_deploy.workflows.inspect import read_results

Configure = Callable[..., Run]

SHORT = {"epochs": 1.0, "checkpoint_steps": 2, "learning_rate": 5.0e-3}


def recipe(configure: Configure, bundle: Path, **changes: Any) -> Run:
    settings = {"adapt": SHORT, "baselines": ("digital", "full"), **changes}
    return configure(bundle, evaluate={"chips": 2, "times": ("0s", "1d")}, **settings)


def steps(config: Run, **settings: Any) -> list[tuple[str, bool]]:
    return [(step.name, step.skipped) for step in run.run(config, **settings)]


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory: pytest.TempPathFactory, configure: Configure) -> Path:
    """The folder of a finished run, with the bundle and that of the baseline; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    names = steps(recipe(configure, folder / "bundle"))
    assert names == [
        ("map", False),
        ("adapt sst2-digital", False),
        ("adapt sst2", False),
        ("adapt sst2-full", False),
        ("evaluate sst2", False),
        (f"evaluate sst2 in {folder / 'bundle-sst2-full'}", False),
        ("report", False),
    ]
    return folder


def test_all_steps_leave_adapters_results_and_a_report(finished_once: Path) -> None:
    bundle, full = Bundle.open(finished_once / "bundle"), Bundle.open(finished_once / "bundle-sst2-full")
    assert bundle.adapters() == ("sst2", "sst2-digital")
    assert full.adapters() == ("sst2-full",)
    assert {row.adapter for row in read_results(bundle)["sst2"].rows} == {"sst2", "sst2-digital"}
    assert {row.adapter for row in read_results(full)["sst2"].rows} == {"sst2-full"}
    assert bundle.file("report/index.html").stat().st_size > 1000
    assert bundle.verify() == full.verify() == []
    records = [bundle.read_json(f"adapters/{name}/adapter.json") for name in bundle.adapters()]
    assert [record["hardware_aware"] for record in records] == [True, False]
    # Beside each other: no checkpoints are left.
    assert sorted(path.name for path in finished_once.iterdir()) == ["bundle", "bundle-sst2-full"]


def test_the_baseline_that_retrains_all_weights_has_a_learning_rate_of_its_own(finished_once: Path) -> None:
    bundle = Bundle.open(finished_once / "bundle-sst2-full")
    assert bundle.read_json("adapters/sst2-full/adapter.json")["training"]["learning_rate"] is None


def test_a_second_run_skips_everything_but_the_report(
    tmp_path: Path, finished_once: Path, configure: Configure
) -> None:
    for name in ("bundle", "bundle-sst2-full"):
        shutil.copytree(finished_once / name, tmp_path / name)
    before = files_of(tmp_path)
    done = steps(recipe(configure, tmp_path / "bundle"))
    assert [skipped for _, skipped in done] == [True] * 6 + [False]
    after = files_of(tmp_path)
    # The page tells where the bundle is, and the manifest the page's SHA-256; this one was moved.
    ignored = ("bundle/report/index.html", "bundle/manifest.json")
    assert {name: data for name, data in after.items() if name not in ignored} == {
        name: data for name, data in before.items() if name not in ignored
    }


def test_a_finished_step_is_done_again_only_where_the_recipe_changed(
    tmp_path: Path, finished_once: Path, configure: Configure
) -> None:
    shutil.copytree(finished_once / "bundle", tmp_path / "bundle")
    config = recipe(configure, tmp_path / "bundle", baselines=("digital",))
    more = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"chips": 3})})
    assert [skipped for _, skipped in steps(more)] == [True, True, True, False, False]
    assert len(read_results(Bundle.open(tmp_path / "bundle"))["sst2"].rows) == 2 * 3 * 2
    other = recipe(configure, tmp_path / "bundle", adapt={**SHORT, "learning_rate": 1.0e-3})
    with pytest.raises(ArtifactError, match="adapter 'sst2-digital' already from other settings"):
        steps(other)
    named = recipe(configure, tmp_path / "bundle", baselines=(), adapt={**SHORT, "name": "mine"})
    assert next(name for name, skipped in steps(named) if not skipped) == "adapt mine"


def test_a_recipe_for_several_tasks_does_one_after_the_other(tmp_path: Path, configure: Configure) -> None:
    for folder in ("SST-2", "CoLA"):
        write_task(tmp_path / "glue" / folder)
    adapting = {**SHORT, "epochs": 0.2, "start_from": "{task}-digital"}
    config = recipe(configure, tmp_path / "bundle", adapt=adapting, baselines=("digital",))
    config = config.model_copy(update={"task": "cola,sst2", "data_dir": str(tmp_path / "glue")})
    names = ["map"]
    for task in ("cola", "sst2"):
        names += [f"adapt {task}-digital", f"adapt {task}", f"evaluate {task}"]
    assert steps(config) == [(name, False) for name in [*names, "report"]]
    assert [skipped for _, skipped in steps(config)] == [True] * len(names) + [False]
    assert set(read_results(Bundle.open(tmp_path / "bundle"))) == {"cola", "sst2"}


@pytest.mark.parametrize("what", ["model", "tiles", "clipping", "outliers"])
def test_the_bundle_of_another_model_or_mapping_is_refused(
    tmp_path: Path, mapped: Path, configure: Configure, what: str
) -> None:
    config = recipe(configure, mapped)
    if what == "model":
        other = write_checkpoint(tmp_path / "other", seed=8)
        config = config.model_copy(update={"source": Source(path=str(other))})
    elif what == "outliers":
        config = config.model_copy(
            update={"source": config.source.model_copy(update={"outlier_channels": 1})}
        )
    elif what == "tiles":
        config = config.model_copy(update={"hardware": load_preset("hermes-2dev")})
    else:
        mapping = Mapping.model_validate({"clip": {"kind": "none"}})
        config = config.model_copy(
            update={"hardware": config.hardware.model_copy(update={"mapping": mapping})}
        )
    before = files_of(mapped)
    with pytest.raises(ArtifactError, match="mapped from another model or for other tiles"):
        steps(config)
    assert files_of(mapped) == before


def test_other_noise_on_the_same_tiles_is_the_same_bundle(mapped: Path, configure: Configure) -> None:
    config = recipe(configure, mapped, hardware="pcm", baselines=())
    own = f"sst2-{config.hardware.digest()[:8]}"
    assert steps(config)[:2] == [("map", True), (f"adapt {own}", False)], "an adapter of its own"


@pytest.mark.parametrize("stage", ["training sst2", "training sst2-digital", "evaluating sst2"])
def test_an_interrupted_run_continues_to_the_same_files(
    tmp_path: Path, finished_once: Path, configure: Configure, stage: str
) -> None:
    class Stopping:
        steps = 0

        def start(self, what: str, total: int | None) -> None:
            self.what = what

        def advance(self, steps: int = 1, note: str = "") -> None:
            self.steps += steps if self.what == stage else 0
            if self.steps == 4:
                raise KeyboardInterrupt

        def say(self, message: str) -> None: ...

    # The same path in the end: what the files say of the recipe includes where the bundle is.
    config = recipe(configure, tmp_path / "bundle", baselines=("digital",))
    with pytest.raises(KeyboardInterrupt):
        steps(config, progress=Stopping())
    continued = steps(config)
    finished = {"training sst2-digital": 1, "training sst2": 2, "evaluating sst2": 3}[stage]
    assert [skipped for _, skipped in continued] == [True] * finished + [False] * (5 - finished)
    for part in ("adapters", "results"):
        assert files_of(tmp_path / "bundle" / part) == files_of(finished_once / "bundle" / part)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle"]


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": ("0s", "1d")},
        {"youngest": "1d", "noise_level": 2.0},
        {"noise_ramp": 0.3, "gap_weight": 0.1},
        {"chip": 3, "age": "1y"},
    ],
)
def test_a_baseline_is_one_whatever_the_recipe_asks_of_its_adapter(
    tmp_path: Path, configure: Configure, settings: dict[str, Any]
) -> None:
    config = configure(tmp_path / "b", adapt=settings).model_copy(update={"baselines": ("digital", "full")})
    found = run.variants(config)
    assert [variant.adapt.method for variant in found] == ["lora", "lora", "full"]
    for variant in found:
        Adapt.model_validate(variant.adapt.model_dump())  # nothing that it would pass over
