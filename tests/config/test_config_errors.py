"""Mistakes in a recipe or on the command line: where, what was given, what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from aimc_deploy.config.load import load_hardware_json, load_run
from aimc_deploy.config.mistakes import SHOWN
from aimc_deploy.errors import ConfigError

TOP = (
    "adapt, baselines, bundle, data_dir, device, evaluate, executor, hardware, max_length, seed, source, task"
)


def complaint(recipe: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_run(recipe, overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def recipe_of(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("seed: 1\nsede: 2\n", 2, f"sede: unknown key; did you mean 'seed'? allowed: {TOP}"),
        ("seed: 1\nzzzz: 2\n", 2, f"zzzz: unknown key; allowed: {TOP}"),
        ("1: 2\n", 1, f"1: unknown key; allowed: {TOP}"),
        (
            "adapt:\n  lora:\n    rank: 8\n",
            3,
            "adapt.lora.rank: unknown key; did you mean 'ranks'? allowed: alpha, dora, dropout, layers, r, "
            "ranks, rslora",
        ),
        (
            "evaluate:\n  gate: {max_dorp: 0.1}\n",
            2,
            "evaluate.gate.max_dorp: unknown key; did you mean 'max_drop'? "
            "allowed: at, max_drop, min_accuracy",
        ),
        (
            "hardware:\n  adcs: {bits: 8}\n",
            2,
            "hardware.adcs: unknown key; did you mean 'adc'? allowed: adc, chip, cluster, dac, "
            "description, device, drift_compensation, faults, mapping, name, output_noise, pairs, "
            "placement, preset, read_noise_per, tile",
        ),
        (
            "hardware:\n  device:\n    kind: hermes\n    g_max: 3\n",
            4,
            "hardware.device.g_max: unknown key; allowed: drift_scale, kind, num_devices, "
            "programming_noise_scale, read_noise_scale, t_read_s",
        ),
        (
            "hardware: {preset: pcm-static,\n  dac: {input_range: {quantil: 0.9}}}\n",
            2,
            "hardware.dac.input_range.quantil: unknown key; did you mean 'quantile'? allowed: batches, kind, "
            "method, momentum, num_std, quantile",
        ),
        (
            "hardware:\n  device:\n    kind: pmc\n",
            2,
            "hardware.device: Input tag 'pmc' found using 'kind' does not match any of the expected tags: "
            "'ideal', 'pcm', 'hermes', 'state_independent', 'reram'",
        ),
        (
            "hardware:\n  mapping:\n    clip: {kind: fixed}\n",
            3,
            "hardware.mapping.clip.value: Field required",
        ),
        (
            "evaluate:\n  chips: 0\n",
            2,
            "evaluate.chips: Input should be greater than or equal to 1 (given: 0)",
        ),
        ("seed: -1\n", 1, "seed: Input should be greater than or equal to 0 (given: -1)"),
        ("adapt: {lora: {dropout: 1}}\n", 1, "adapt.lora.dropout: Input should be less than 1 (given: 1)"),
        (
            "adapt:\n\n  method: lore\n",
            3,
            "adapt.method: Input should be 'lora', 'head', 'layers' or 'full' (given: 'lore')",
        ),
        (
            "baselines:\n- digital\n- fool\n",
            3,
            "baselines.1: Input should be 'digital' or 'full' (given: 'fool')",
        ),
        (
            "adapt: {weight_noise: .nan}\n",
            1,
            "adapt.weight_noise: Input should be a finite number (given: nan)",
        ),
        (
            "adapt: {weight_noise: .inf}\n",
            1,
            "adapt.weight_noise: Input should be a finite number (given: inf)",
        ),
        ("source: {path: 3}\n", 1, "source.path: Input should be a valid string (given: 3)"),
        (
            "evaluate:\n  times: []\n",
            2,
            "evaluate.times: Tuple should have at least 1 item after validation, not 0",
        ),
        (
            "evaluate: 3\n",
            1,
            "evaluate: Input should be a valid dictionary or instance of Evaluate (given: 3)",
        ),
        ("evaluate: null\n", 1, "evaluate: Input should be a valid dictionary or instance of Evaluate"),
        ("evaluate: [1]\n", 1, "evaluate: Input should be a valid dictionary or instance of Evaluate"),
    ],
)
def test_a_mistake_is_shown_with_file_line_key_and_what_is_allowed(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    recipe = recipe_of(tmp_path, text)
    assert complaint(recipe) == f"{recipe}:{line}: {message}"


@pytest.mark.parametrize(
    ("text", "line", "beginning"),
    [
        ("seed: one\n", 1, "seed: Input should be a valid integer"),
        ("seed: 1.5\n", 1, "seed: Input should be a valid integer"),
        ("adapt: {name: 'A B'}\n", 1, "adapt.name: String should match pattern"),
        (
            "evaluate:\n  times:\n  - 0s\n  - soon\n",
            4,
            "evaluate.times.1: 'soon' is no time: write a number and",
        ),
        (
            "evaluate: {gate: {at: soon}}\n",
            1,
            "evaluate.gate.at: 'soon' is no time: write a number and one of",
        ),
        ("hardware: pmc\n", 1, "hardware: there is no hardware preset 'pmc': choose one of 3dcim-default, "),
        ("\nhardware:\n  preset: pmc\n", 3, "hardware.preset: there is no hardware preset 'pmc': choose one"),
    ],
)
def test_a_mistake_is_shown_with_the_beginning_of_its_reason(
    tmp_path: Path, text: str, line: int, beginning: str
) -> None:
    recipe = recipe_of(tmp_path, text)
    assert complaint(recipe).startswith(f"{recipe}:{line}: {beginning}")


def test_all_mistakes_are_shown_at_once(tmp_path: Path) -> None:
    recipe = recipe_of(
        tmp_path,
        "seed: x\nevaluate:\n  chips: 0\n  chops: 1\nadapt:\n  lora:\n    r: 0\nhardware: {adc: {bits: 1}}\n",
    )
    found = complaint(recipe, "task=3", "adapt.lora.alpha=0").splitlines()
    assert sorted(line.split(": ")[0] for line in found) == sorted(
        [*(f"{recipe}:{line}" for line in (1, 3, 4, 7, 8)), "command line", "command line"]
    )
    keys = [
        "adapt.lora.alpha",
        "adapt.lora.r",
        "evaluate.chips",
        "evaluate.chops",
        "hardware.adc.bits",
        "seed",
        "task",
    ]
    assert sorted(line.split(": ")[1] for line in found) == keys


@pytest.mark.parametrize("text", ["- 1\n", "seed\n", "3\n", "[]\n", "true\n"])
def test_a_recipe_that_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    recipe = recipe_of(tmp_path, text)
    expected = f"{recipe}: a recipe is a mapping of keys to values; see `aimc-deploy config init`"
    assert complaint(recipe) == expected


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n", "{}\n", "\ufeffseed: 0\n"])
def test_an_empty_recipe_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_run(recipe_of(tmp_path, text)) == load_run()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere.yaml"
    assert complaint(nowhere) == f"{nowhere}: cannot be read (No such file or directory); check the path"
    assert complaint(tmp_path) == f"{tmp_path}: cannot be read (Is a directory); check the path"
    assert "cannot be read (embedded null" in complaint(tmp_path / "a\0b.yaml")
    assert "cannot be read (File name too long)" in complaint(tmp_path / ("a" * 300))


def test_a_preset_that_cannot_be_read_is_told_with_the_line_that_names_it(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "seed: 0\nhardware: mine.yaml\n")
    named = f"{recipe}:2: hardware: {tmp_path / 'mine.yaml'}"
    assert complaint(recipe) == f"{named}: cannot be read (No such file or directory); check the path"
    (tmp_path / "mine.yaml").write_text("- 1\n")
    assert "hardware: mine.yaml: a hardware preset is a mapping" in complaint(recipe)
    (tmp_path / "mine.yaml").write_text("a: [\n")
    assert complaint(recipe).startswith(f"{named}:2: is no valid YAML")


def test_a_file_that_nobody_may_read_is_named(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.symlink_to(recipe.name)  # root, too, cannot read a link to itself
    assert complaint(recipe) == (
        f"{recipe}: cannot be read (Too many levels of symbolic links); check the path"
    )


@pytest.mark.parametrize("text", ["seed", "seed 1", "=1", "", "a..b=1", ".a=1", "a.=1", "=", " =1"])
def test_an_override_without_key_or_value_is_refused(text: str) -> None:
    assert complaint(None, text) == (
        f"--set {text}: write KEY=VALUE with a dotted key, such as hardware.adc.bits=6"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed=", "seed: Input should be a valid integer"),
        ("sede=1", f"sede: unknown key; did you mean 'seed'? allowed: {TOP}"),
        (
            "hardware.adc.bit=6",
            "hardware.adc.bit: unknown key; did you mean 'bits'? allowed: bits, gain_spread, output_range",
        ),
        ("evaluate.chips.x=1", "evaluate.chips: Input should be a valid integer"),
        ("evaluate={chips: 0}", "evaluate.chips: Input should be greater than or equal to 1 (given: 0)"),
    ],
)
def test_a_mistake_in_an_override_is_shown_as_of_the_command_line(text: str, message: str) -> None:
    assert complaint(None, text) == f"command line: {message}"


@pytest.mark.parametrize("preset", ["pmc", "3", "null", "[pcm]"])
@pytest.mark.parametrize("text", ["hardware={}", "hardware.preset={}", "hardware={{preset: {}}}"])
def test_a_wrong_preset_in_an_override_is_shown_as_of_the_command_line(text: str, preset: str) -> None:
    key = "hardware.preset" if "preset" in text else "hardware"
    assert complaint(None, text.format(preset)).startswith(f"command line: {key}: ")


def test_a_mistake_is_not_blamed_on_a_line_that_the_command_line_replaces(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, "adapt:\n  lora:\n    r: 8\n")
    assert complaint(recipe, "adapt.lora.r=0").startswith("command line: adapt.lora.r: ")
    assert complaint(recipe, "adapt={lora: {r: 0}}").startswith("command line: adapt.lora.r: ")


@pytest.mark.parametrize(
    "text", ["seed=[1", "seed=&a 1", "seed=!!int 3", "seed={a: 1, a: 2}", 'seed="\\x0z"']
)
def test_an_override_that_is_no_yaml_is_refused(text: str) -> None:
    assert complaint(None, text).startswith(f"--set {text}:1: ")


def test_an_override_takes_the_value_as_yaml() -> None:
    run = load_run(
        None, ["evaluate.times=[0s, 365d]", "source.path=a=b", " task = sst2 ", "hardware.adc.bits=null"]
    )
    assert run.evaluate.times == ("0s", "1y")
    assert (run.source.path, run.task, run.hardware.adc.bits) == ("a=b", "sst2", None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"{", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "cannot be read"),
        (b"[]", "the document: Input should be a valid dictionary"),
        (b'{"tile": {"row": 3}}', "tile.row: unknown key; did you mean 'rows'? allowed: cols, rows"),
        (b'{"output_noise": NaN}', "output_noise: Input should be a finite number (given: nan)"),
    ],
)
def test_a_damaged_hardware_file_of_a_bundle_is_named(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "hardware.json"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_hardware_json(path)
    assert str(caught.value).startswith(f"{path}: {reason}")


def test_a_missing_hardware_file_of_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"hardware\.json: cannot be read .* map the model again"):
        load_hardware_json(tmp_path / "hardware.json")


def test_only_the_first_of_very_many_mistakes_are_told(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("".join(f"key{at}: 1\n" for at in range(2000)))
    with pytest.raises(ConfigError) as caught:
        load_run(recipe)
    lines = str(caught.value).splitlines()
    assert len(lines) == SHOWN + 1
    assert lines[0].startswith(f"{recipe}:1: key0: unknown key; ")
    assert lines[-1] == f"{2000 - SHOWN} mistakes more"
