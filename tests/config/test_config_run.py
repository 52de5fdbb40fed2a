"""The settings of a run: round trips, schema, digests, and what the package ships."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from aimc_deploy.config import chip, hardware, run
from aimc_deploy.config.chip import Chip, Cluster, Placement
from aimc_deploy.config.hardware import (
    ADC,
    Hardware,
    HermesDevice,
    IdealDevice,
    PCMDevice,
    StateIndependentDevice,
)
from aimc_deploy.config.load import config_digest, load_run, recipe_schema, starter_recipe
from aimc_deploy.config.run import Evaluate, Run
from aimc_deploy.config.times import SECONDS_PER_UNIT

CONFIGS = Path(__file__).parents[2] / "configs"
RECIPES = sorted({*CONFIGS.glob("*.yaml")} - {CONFIGS / "sweep.yaml"})
MODELS = [
    model
    for module in (chip, hardware, run)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, BaseModel) and model.__module__ == module.__name__
]

TEXTS = st.text(max_size=12)
NAMES = st.from_regex(r"\A[a-z0-9][a-z0-9._-]{0,63}\Z")
TIMES = st.builds(
    lambda count, unit: f"{count}{unit}", st.integers(0, 99), st.sampled_from([*SECONDS_PER_UNIT])
)


def values(schema: dict[str, Any], name: str, definitions: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Whatever a part of the schema of Run allows."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return st.one_of([values(part, name, definitions) for part in schema[key]])
    low, high = schema.get("minimum"), schema.get("maximum")
    kind = schema["type"]
    if kind == "object":
        # What tells the members of a union apart must be given.
        tells_apart = [key for key in ("kind",) if key in schema["properties"]]
        required = {key: values(schema["properties"][key], key, definitions) for key in tells_apart}
        required |= {
            key: values(schema["properties"][key], key, definitions) for key in schema.get("required", ())
        }
        others = {key: values(part, key, definitions) for key, part in schema["properties"].items()}
        return st.fixed_dictionaries(
            required, optional={key: part for key, part in others.items() if key not in required}
        )
    if kind == "array":
        part = values(schema["items"], name, definitions)
        return st.lists(part, min_size=schema.get("minItems", 0), max_size=3)
    if kind == "integer":
        return st.integers(low, schema["exclusiveMaximum"] - 1 if "exclusiveMaximum" in schema else high)
    if kind == "number":
        return st.floats(
            schema.get("exclusiveMinimum", low),
            schema.get("exclusiveMaximum", high),
            exclude_min="exclusiveMinimum" in schema,
            exclude_max="exclusiveMaximum" in schema,
            allow_nan=False,
            allow_infinity=False,
        )
    if kind == "string":
        if name in ("age", "at", "drift", "times", "youngest", "schedule"):
            return TIMES
        return NAMES if "pattern" in schema else TEXTS
    return {"boolean": st.booleans(), "null": st.none()}[kind]


def judgeable(data: dict[str, Any]) -> dict[str, Any]:
    """The same, with a gate on two chips and at a time that is evaluated: what a schema cannot say."""
    adapt = data.get("adapt", {})
    for key in (
        "chip",
        "age",
        "youngest",
        "schedule",
        "noise_level",
        "noise_ramp",
        "gap_weight",
        "analog_head",
        "layers",
    ):
        adapt.pop(key, None)  # which only some methods meet
    if adapt.get("method") == "layers":  # which needs both
        adapt["method"] = "head"
    if adapt.get("method", "lora") != "lora":
        adapt.pop("start_from", None)
    adapt.get("lora", {}).pop("dora", None)
    data.get("hardware", {}).pop("faults", None)  # whose shares add up to 1 at most
    evaluate = data.get("evaluate", {})
    if "gate" in evaluate:
        evaluate["chips"] = max(2, evaluate.get("chips", 2))
        evaluate.pop("chip", None)
        if evaluate["gate"].get("at") is not None:
            evaluate["times"] = [*evaluate.get("times", []), evaluate["gate"]["at"]]
    return data


SCHEMA = Run.model_json_schema()
SCHEMA["$defs"]["Adapt"]["properties"].pop(
    "in_memory"
)  # the trees below it are large, and tested by themselves
RUNS = values(SCHEMA, "", SCHEMA["$defs"]).map(judgeable).map(Run.model_validate)


@given(RUNS)
def test_any_run_survives_yaml(given_run: Run) -> None:
    text = yaml.safe_dump(given_run.model_dump(mode="json"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recipe.yaml"
        path.write_text(text, encoding="utf-8")
        again = load_run(path)
    assert again == given_run
    assert config_digest(again) == config_digest(given_run)
    assert again.hardware.digest() == given_run.hardware.digest()
    assert Run.model_validate_json(given_run.model_dump_json()) == given_run


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_is_what_it_says(path: Path) -> None:
    recipe = yaml.safe_load(path.read_text())
    loaded = load_run(path)
    assert loaded.task == recipe["task"]
    described = recipe["hardware"]
    assert loaded.hardware.name == (described if isinstance(described, str) else described["preset"])
    # What is published was measured with a tile for each block.
    assert loaded.hardware.placement.strategy == ("layer" if path.stem == "reviews" else "naive")
    assert loaded.evaluate.chips == recipe["evaluate"]["chips"]
    assert loaded.evaluate.times == tuple(recipe["evaluate"]["times"])
    assert path.read_text().startswith("# yaml-language-server: $schema=recipe.schema.json\n")


def test_the_recipes_are_these() -> None:
    assert [path.stem for path in RECIPES] == ["glue", "reviews", "squad", "sst2"]


def test_the_starter_recipe_runs_on_what_comes_with_the_package(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(starter_recipe())
    assert load_run(path) == load_run(CONFIGS / "reviews.yaml")
    loaded = load_run(path)
    assert (loaded.source.path, loaded.data_dir, loaded.task) == (None, None, "reviews")


def test_the_shipped_schema_is_the_one_the_models_give() -> None:
    assert json.loads((CONFIGS / "recipe.schema.json").read_text()) == recipe_schema()


def test_the_schema_knows_what_a_recipe_may_write_for_hardware() -> None:
    schema = recipe_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == set(Run.model_fields)
    assert [part.get("type", "mapping") for part in schema["properties"]["hardware"]["anyOf"]] == [
        "string",
        "mapping",
    ]
    assert set(schema["$defs"]["Hardware"]["properties"]) == {"preset", *Hardware.model_fields}
    assert "preset" not in json.dumps(Run.model_json_schema())  # a recipe's word, no field


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_model_is_documented_frozen_and_takes_no_unknown_key(model: type[BaseModel]) -> None:
    assert model.__doc__
    assert model.model_config.get("frozen") is True
    assert model.model_config.get("extra") == "forbid"
    given = {"value": 1.0, "layers": "*", "r": 8, "tile": 0, "kind": "measured"}
    given |= {"source": "x", "faults": []}
    required = {name: given[name] for name, field in model.model_fields.items() if field.is_required()}
    made = model.model_validate(required)
    with pytest.raises(ValidationError, match="unknown_key"):
        model.model_validate({**required, "unknown_key": 1})
    for name in model.model_fields:
        with pytest.raises(ValidationError, match="frozen"):
            setattr(made, name, None)


@pytest.mark.parametrize("value", [1, 17, 8.5, "eight", [], {}])
def test_bits_are_whole_numbers_from_2_to_16_or_none(value: Any) -> None:
    with pytest.raises(ValidationError):
        ADC(bits=value)
    assert [ADC(bits=bits).bits for bits in (2, 16, None)] == [2, 16, None]


def test_a_setting_that_a_later_version_adds_keeps_the_digests() -> None:
    class LaterDevice(PCMDevice):
        """With one more."""

        another_scale: float = 1.0

    class Later(Hardware):
        """With two more, one of them below."""

        added: str = "nothing"

    changed = {"programming_noise_scale": 3.0}
    old = Hardware(device=PCMDevice.model_validate(changed))
    same = {name: getattr(old, name) for name in Hardware.model_fields}
    new = Later.model_construct(**{**same, "device": LaterDevice.model_validate(changed), "added": "nothing"})
    assert new.digest() == old.digest()
    assert new.mapping_digest() == old.mapping_digest()
    assert new.model_copy(update={"added": "noise"}).digest() != old.digest()


def test_kinds_with_all_defaults_have_digests_of_their_own() -> None:
    devices = (PCMDevice(), HermesDevice(), IdealDevice(), StateIndependentDevice())
    assert len({Hardware(device=device).digest() for device in devices}) == 4
    assert Hardware(device=HermesDevice()).essentials() == {"device": {"kind": "hermes"}}
    assert Hardware(adc=ADC(bits=None)).essentials() == {"adc": {"bits": None}}


@given(RUNS, RUNS)
def test_digests_are_equal_where_the_physics_is(one: Run, other: Run) -> None:
    nothing = {"name": "", "description": "", "placement": Placement(), "chip": Chip(), "cluster": Cluster()}
    same = one.hardware.model_copy(update=nothing) == other.hardware.model_copy(update=nothing)
    assert (one.hardware.digest() == other.hardware.digest()) == same
    assert one.hardware.model_copy(update=nothing).digest() == one.hardware.digest()


def test_digests_tell_settings_apart_and_names_do_not_count_for_hardware() -> None:
    base = Hardware()
    assert base.model_copy(update={"name": "other", "description": "prose"}).digest() == base.digest()
    for name in (
        "tile",
        "mapping",
        "device",
        "dac",
        "adc",
        "output_noise",
        "drift_compensation",
        "read_noise_per",
    ):
        changed = {
            "tile": {"rows": 256},
            "mapping": {"scale": "tile"},
            "device": {"kind": "pcm", "g_max": 20},
            "dac": {"bits": 6},
            "adc": {"bits": 6},
            "output_noise": 0.1,
            "drift_compensation": "none",
            "read_noise_per": "mvm",
        }[name]
        other = Hardware.model_validate({name: changed})
        assert other.digest() != base.digest()
        assert (other.mapping_digest() != base.mapping_digest()) == (name in ("tile", "mapping", "device"))
        assert config_digest(Run(hardware=other)) != config_digest(Run())
    assert config_digest(Run(seed=1)) != config_digest(Run())


def test_noise_and_drift_of_a_device_do_not_ask_for_a_new_mapping() -> None:
    noisy = Hardware(device=PCMDevice(programming_noise_scale=4, drift_scale=0, read_noise_scale=2, t_0_s=1))
    assert noisy.mapping_digest() == Hardware().mapping_digest()
    assert Hardware(device=IdealDevice()).mapping_digest() == Hardware().mapping_digest()  # 25 uS too
    assert Hardware(device=HermesDevice()).mapping_digest() != Hardware().mapping_digest()


@pytest.mark.parametrize(("devices", "g_max", "t_0_s"), [(1, 10.35, 200.0), (2, 20.7, 300.0)])
def test_hermes_by_its_number_of_devices(devices: Any, g_max: float, t_0_s: float) -> None:
    device = HermesDevice(num_devices=devices)
    assert (device.g_max, device.t_0_s) == (g_max, t_0_s)
    assert get_args(HermesDevice.model_fields["num_devices"].annotation) == (1, 2)


@pytest.mark.parametrize("module", ["config.load", "config.run", "config.hardware", "config.times", "errors"])
def test_configuration_is_read_without_torch(module: str) -> None:
    heavy = "{'torch', 'transformers', 'peft'}"
    code = f"import sys, aimc_deploy.{module}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chips": 1, "gate": {"min_accuracy": 0.5}}, "at least 2 chips"),
        (
            {"times": ["0s", "1y"], "gate": {"max_drop": 0.1, "at": "1d"}},
            "looks at 1d, not among the times 0s, 1y",
        ),
    ],
)
def test_a_gate_that_cannot_be_judged_is_refused_before_anything_is_measured(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        Evaluate.model_validate(settings)
    Evaluate.model_validate({**settings, "gate": {"at": settings["gate"].get("at")}})


def test_a_gate_may_name_its_time_in_another_unit() -> None:
    Evaluate.model_validate({"times": ["0s", "1d"], "gate": {"max_drop": 0.1, "at": "24h"}})
