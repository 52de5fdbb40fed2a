"""What is answered without a model: config, tasks, env."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from command_line import call

from aimc_deploy import __version__
from aimc_deploy.config.load import (
    config_digest,
    load_preset,
    load_run,
    presets,
    recipe_schema,
    starter_recipe,
    sweep_schema,
)
from aimc_deploy.tasks.registry import TASKS


def test_env_names_what_results_depend_on() -> None:
    found = call("env", "--format", "json").json()
    assert found["aimc-deploy"] == __version__
    assert {"python", "platform", "processors", "cuda", "torch", "transformers", "peft"} <= set(found)
    assert all(isinstance(value, str) and value for value in found.values())
    lines = call("env").out.splitlines()
    assert [line.split(maxsplit=1)[0] for line in lines] == [key.split()[0] for key in found]
    assert all(line.endswith(value) for line, value in zip(lines, found.values(), strict=True))


def test_tasks_lists_every_task_and_where_its_data_is(data: Path) -> None:
    rows = {row["task"]: row for row in call("tasks", "--format", "json").json()}
    assert list(rows) == list(TASKS)
    assert rows["reviews"]["data"] == "bundled"
    assert rows["sst2"]["data"].startswith("missing: taken from the hub (nyu-mll/glue sst2) when used")
    assert rows["stsb"]["labels"] is None
    assert rows["sst2"]["labels"] == ["negative", "positive"]
    local = {row["task"]: row for row in call("tasks", "--data-dir", data, "--format", "json").json()}
    assert local["sst2"]["data"] == str(data / "SST-2")
    assert local["cola"]["data"].startswith("missing: the data of task 'cola' is missing: found neither in")


def test_tasks_for_people_names_every_task_and_the_next_step() -> None:
    ended = call("tasks")
    assert [name for name in TASKS if f"│ {name} " not in ended.out] == []
    assert ended.err == "next: aimc-deploy adapt --task reviews\n"


def test_config_presets_lists_the_shipped_hardware() -> None:
    assert call("config", "presets", "--format", "json").json() == presets()
    ended = call("config", "presets")
    width = max(map(len, presets()))
    assert ended.out.splitlines() == [f"{name:<{width}}  {text}" for name, text in presets().items()]
    assert "--hardware NAME" in ended.err


def test_config_schema_is_the_schema() -> None:
    assert call("config", "schema").json() == recipe_schema()
    assert call("config", "schema", "--sweep").json() == sweep_schema()


def test_config_show_prints_every_default_and_the_digest() -> None:
    run = load_run()
    expected = {"sha256": config_digest(run), "config": run.model_dump(mode="json")}
    assert call("config", "show", "--format", "json").json() == expected
    ended = call("config", "show")
    assert ended.out.startswith(f"# sha256 {expected['sha256']}\n")
    assert yaml.safe_load(ended.out) == expected["config"]
    assert ended.err == ""


def test_config_show_is_a_recipe_for_the_same_configuration(tmp_path: Path) -> None:
    settings = (
        "--hardware",
        "hermes-1dev",
        "--set",
        "adapt.learning_rate=2e-5",
        "--set",
        'bundle=":100: [b]x"',
    )
    shown = call("config", "show", *settings)
    (tmp_path / "again.yaml").write_text(shown.out)
    again = call("config", "show", "-c", tmp_path / "again.yaml")
    assert again.out == shown.out
    run = load_run(tmp_path / "again.yaml")
    assert (run.bundle, run.adapt.learning_rate) == (":100: [b]x", 2e-5)
    assert run.hardware == load_preset("hermes-1dev")


def test_options_count_over_settings_and_settings_over_the_recipe(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    recipe.write_text("seed: 1\nhardware: pcm-x2\nadapt: {epochs: 2}\ntask: cola\nbundle: nowhere\n")

    def adapt(*arguments: str) -> dict[str, object]:
        return call("adapt", "-c", recipe, "--dry-run", "--format", "json", *arguments).json()

    assert (adapt()["seed"], adapt()["task"]) == (1, "cola")
    assert (adapt("--set", "seed=2")["seed"], adapt("--set", "task=rte")["task"]) == (2, "rte")
    assert adapt("--set", "seed=2", "--seed", "3")["seed"] == 3
    shown = call("config", "show", "-c", recipe, "--set", "hardware=ideal", "--hardware", "pcm-x3")
    assert yaml.safe_load(shown.out)["hardware"] == load_preset("pcm-x3").model_dump(mode="json")


@pytest.mark.parametrize(
    ("arguments", "key", "value"),
    [
        (["--task", "rte"], "task", "rte"),
        (["-b", "a b/😀: #x"], "bundle", "a b/😀: #x"),
        (["--bundle", "12"], "bundle", "12"),
        (["--data-dir", "null"], "data_dir", "null"),
        (["--name", "a.b"], "adapt.name", "a.b"),
        (["--method", "full"], "adapt.method", "full"),
        (["--no-hardware"], "adapt.hardware_aware", False),
        (["--train-samples", "7"], "adapt.train_samples", 7),
        (["--epochs", "0.00001"], "adapt.epochs", 1e-5),
        (["--seed", "9"], "seed", 9),
        (["--device", "cpu"], "device", "cpu"),
        (["--hardware", "ideal"], "hardware.name", "ideal"),
        (["--set", "adapt.lora={r: 3}"], "adapt.lora.r", 3),
    ],
)
def test_an_option_sets_its_key_as_it_was_written(arguments: list[str], key: str, value: object) -> None:
    default = found = None
    for options in ([], arguments):
        default, found = found, call("adapt", "--dry-run", "--format", "json", *options).json()
        for part in key.split("."):
            found = found[part]
    assert found == value
    assert default != value


def test_hardware_of_the_bundle_is_what_settings_change(bundle_once: Path) -> None:
    own = load_preset("pcm-x4").model_dump(mode="json")

    def hardware(*arguments: str) -> dict[str, object]:
        return call("adapt", "-b", bundle_once, "--dry-run", "--format", "json", *arguments).json()[
            "hardware"
        ]

    assert hardware() == own
    assert hardware("--set", "hardware.output_noise=0.5") == {**own, "output_noise": 0.5}
    assert hardware("--hardware", "pcm") == load_preset("pcm").model_dump(mode="json")


def test_config_init_writes_a_recipe_that_runs_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ended = call("config", "init")
    assert (ended.code, ended.out) == (0, "recipe.yaml\n")
    assert ended.err == "next: aimc-deploy run recipe.yaml\n"
    assert Path("recipe.yaml").read_text() == starter_recipe()
    assert json.loads(Path("recipe.schema.json").read_text()) == recipe_schema()
    assert "$schema=recipe.schema.json" in starter_recipe().splitlines()[0]
    assert call("run", "recipe.yaml", "--dry-run", "--format", "json").json()["task"] == "reviews"
    valid = call("config", "validate", "recipe.yaml", "--format", "json").json()
    assert valid == {"valid": True, "sha256": config_digest(load_run(Path("recipe.yaml")))}


def test_config_init_replaces_nothing_unasked(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("seed: 3\n")
    ended = call("config", "init", recipe)
    assert (ended.code, ended.out) == (2, "")
    assert ended.message == (
        f"error: {recipe} is there already: choose another name or replace it with --overwrite"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["mine.yaml"]
    assert recipe.read_text() == "seed: 3\n"
    assert call("config", "init", recipe, "--overwrite").code == 0
    assert recipe.read_text() == starter_recipe()


def test_config_init_names_the_next_command_so_that_a_shell_takes_it(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    recipe = tmp_path / "a b" / "r.yaml"
    assert call("config", "init", recipe).err == f"next: aimc-deploy run '{recipe}'\n"
    assert call("config", "validate", recipe).err == f"next: aimc-deploy run '{recipe}'\n"


def test_config_validate_shows_every_mistake_with_its_line(tmp_path: Path) -> None:
    recipe = tmp_path / "wrong.yaml"
    recipe.write_text("seed: 1\nadapt:\n  lora: {r: 0}\n  epoch: 3\nbaselines: [none]\n")
    ended = call("config", "validate", recipe)
    assert (ended.code, ended.out) == (2, "")
    assert f"{recipe}:3: adapt.lora.r: " in ended.message
    assert f"{recipe}:4: adapt.epoch: unknown key; did you mean 'epochs'? allowed: " in ended.message
    assert f"{recipe}:5: baselines.0: " in ended.message
    assert len(ended.message.splitlines()) == 3
