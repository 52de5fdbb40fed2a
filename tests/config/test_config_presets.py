"""Presets, and how recipe and command line are laid over them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aimc_deploy.config.hardware import (
    ADC,
    DAC,
    DynamicRange,
    FixedClip,
    Hardware,
    HermesDevice,
    LayerGaussianClip,
    Mapping,
    PCMDevice,
    StaticRange,
    TileSize,
)
from aimc_deploy.config.load import load_preset, load_run, presets
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ConfigError

FILES = sorted((Path(__file__).parents[2] / "configs" / "hardware").glob("*.yaml"))
CHIPS = ["3dcim-default", "ahwa-lora-128", "ahwa-lora-256", "ahwa-lora-512", "analog-fabric"]
CHIPS += ["hermes64-1dev", "hermes64-1p", "hermes64-4p", "ibm34", "neurram"]
PCM = ["pcm", "pcm-static", "pcm-x12", "pcm-x2", "pcm-x3", "pcm-x4"]
NAMES = sorted(["hermes-1dev", "hermes-2dev", "ideal", *PCM, *CHIPS])


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_every_file_is_a_preset_with_a_description() -> None:
    assert sorted(file.stem for file in FILES) == NAMES
    found = presets()
    assert sorted(found) == NAMES
    for name, description in found.items():
        assert 20 < len(description) < 110, name
        assert load_preset(name).name == name
    assert len(set(found.values())) == len(NAMES)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_preset_can_be_given_as_a_file(file: Path) -> None:
    assert load_preset(str(file)) == load_preset(file.stem)
    assert load_run(None, [f"hardware={file}"]).hardware == load_preset(file.stem)


def test_the_default_is_the_preset_pcm() -> None:
    described = load_preset("pcm")
    assert described.model_copy(update={"description": ""}) == Hardware()
    assert described.digest() == Hardware().digest()


def test_presets_describe_different_hardware() -> None:
    found = {name: load_preset(name) for name in NAMES}
    assert len({(part.digest(), part.chip.model_dump_json()) for part in found.values()}) == len(NAMES)
    assert len({found[name].digest() for name in NAMES if name not in CHIPS}) == len(NAMES) - len(CHIPS)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_stress_rung_multiplies_the_noises_and_nothing_else(factor: int) -> None:
    changed = load_preset(f"pcm-x{factor}")
    assert changed.output_noise == pytest.approx(factor * Hardware().output_noise, rel=1e-12)
    assert changed == Hardware(
        name=f"pcm-x{factor}",
        description=changed.description,
        device=PCMDevice(programming_noise_scale=factor, read_noise_scale=factor),
        output_noise=changed.output_noise,
    )
    assert changed.mapping_digest() == Hardware().mapping_digest()


def test_what_the_other_presets_change() -> None:
    assert load_preset("pcm-static").dac == DAC(input_range=StaticRange(quantile=0.9995))
    for devices in (1, 2):
        hermes = load_preset(f"hermes-{devices}dev")
        assert (hermes.device, hermes.tile) == (
            HermesDevice(num_devices=devices),  # type: ignore[arg-type]
            TileSize(rows=256, cols=256),
        )
    ideal = load_preset("ideal")
    assert (ideal.device.kind, ideal.dac.bits, ideal.adc.bits) == ("ideal", None, None)
    assert (ideal.output_noise, ideal.drift_compensation) == (0.0, "none")


@pytest.mark.parametrize("name", NAMES)
def test_the_short_form_equals_the_mapping(tmp_path: Path, name: str) -> None:
    short = load_run(write(tmp_path, f"hardware: {name}\n"))
    assert short == load_run(write(tmp_path, f"hardware: {{preset: {name}}}\n"))
    assert short == load_run(None, [f"hardware={name}"])
    assert short == load_run(None, [f"hardware.preset={name}"])
    assert short == load_run(None, [f"hardware={{preset: {name}}}"])
    assert short == Run(hardware=load_preset(name))


def test_preset_below_recipe_below_command_line(tmp_path: Path) -> None:
    recipe = write(tmp_path, "hardware: {preset: hermes-1dev, tile: {rows: 128}, adc: {bits: 6}}\nseed: 3\n")
    run = load_run(recipe)
    assert run.hardware.tile == TileSize(rows=128, cols=256)  # the recipe's rows, the preset's columns
    assert run.hardware.adc == ADC(bits=6)
    assert run.hardware.device == HermesDevice(num_devices=1)
    assert run.seed == 3
    run = load_run(recipe, ["hardware.adc.bits=5", "seed=4", "hardware.adc.bits=7"])
    assert run.hardware.adc == ADC(bits=7)  # the later one
    assert run.hardware.tile == TileSize(rows=128, cols=256)
    assert run.seed == 4


def test_another_preset_on_the_command_line_keeps_what_the_recipe_changes(tmp_path: Path) -> None:
    recipe = write(tmp_path, "hardware: {preset: hermes-1dev, adc: {bits: 6}}\n")
    expected = load_preset("pcm-x2").model_copy(update={"adc": ADC(bits=6)})
    assert load_run(recipe, ["hardware=pcm-x2"]).hardware == expected
    assert load_run(recipe, ["hardware.preset=pcm-x2"]).hardware == expected
    assert load_run(recipe, ["hardware=ideal", "hardware=pcm-x2"]).hardware == expected


def test_hardware_of_a_bundle_counts_where_no_preset_is_named(tmp_path: Path) -> None:
    bundle = load_preset("hermes-2dev")
    changed = bundle.model_copy(update={"output_noise": 0.01})
    assert load_run(None, (), hardware=bundle).hardware == bundle
    assert load_run(None, ["hardware.output_noise=0.01"], hardware=bundle).hardware == changed
    assert load_run(None, ["hardware=pcm"], hardware=bundle).hardware == load_preset("pcm")
    assert load_run(write(tmp_path, "hardware: pcm\n"), (), hardware=bundle).hardware == load_preset("pcm")


def test_another_kind_replaces_a_mapping_and_the_same_kind_does_not() -> None:
    hermes = load_run(None, ["hardware=pcm-x3", "hardware.device.kind=hermes"]).hardware.device
    assert hermes == HermesDevice()
    kept = load_run(None, ["hardware=pcm-x3", "hardware.device={kind: pcm, g_max: 20}"]).hardware.device
    assert kept == PCMDevice(g_max=20, programming_noise_scale=3, read_noise_scale=3)
    assert load_run(None, ["hardware=pcm-x3", "hardware.device.g_max=20"]).hardware.device == kept
    clip = load_run(None, ["hardware.mapping.clip={kind: fixed, value: 0.5}"]).hardware.mapping
    assert clip == Mapping(clip=FixedClip(value=0.5))
    ranged = load_run(None, ["hardware=pcm-static", "hardware.dac.input_range.kind=dynamic"]).hardware.dac
    assert ranged == DAC(input_range=DynamicRange())


def test_a_list_is_replaced_as_a_whole(tmp_path: Path) -> None:
    recipe = write(tmp_path, "evaluate: {times: [0s, 1d, 1y], chips: 3}\n")
    run = load_run(recipe, ["evaluate.times=[1h]"])
    assert run.evaluate.times == ("1h",)
    assert run.evaluate.chips == 3


@pytest.mark.parametrize("name", NAMES)
def test_part_of_what_a_preset_leaves_to_the_defaults_can_be_changed(name: str) -> None:
    run = load_run(None, [f"hardware={name}", "hardware.mapping.clip.sigma=2.5"])
    clip = load_preset(name).mapping.model_copy(update={"clip": LayerGaussianClip(sigma=2.5)})
    assert run.hardware == load_preset(name).model_copy(update={"mapping": clip})


def test_a_preset_file_is_looked_for_beside_the_recipe_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "away").mkdir()
    (tmp_path / "away" / "mine.yaml").write_text("name: mine\ndevice: {g_max: 20}\n")
    recipe = tmp_path / "away" / "recipe.yaml"
    recipe.write_text("hardware: mine.yaml\n")
    monkeypatch.chdir(tmp_path)
    assert load_run(recipe).hardware == Hardware(name="mine", device=PCMDevice(g_max=20))
    (tmp_path / "mine.yaml").write_text("name: here\n")
    assert load_run(recipe).hardware == Hardware(name="here")  # the working directory comes first


def test_a_mistake_in_a_preset_file_is_shown_there(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("name: mine\nadc:\n  bits: 60\n")
    for load in (lambda: load_preset(str(file)), lambda: load_run(None, [f"hardware={file}"])):
        with pytest.raises(ConfigError) as caught:
            load()
        assert str(caught.value).startswith(f"{file}:3: ")
        assert "adc.bits: Input should be less than or equal to 16 (given: 60)" in str(caught.value)
    file.write_text("name: mine\npreset: pcm\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml:2: preset: a preset cannot build on another"):
        load_preset(str(file))
    file.write_text("- 1\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: a hardware preset is a mapping"):
        load_preset(str(file))
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot be read"):
        load_preset(str(tmp_path / "nowhere.yaml"))


@pytest.mark.parametrize("name", ["pcm-x33", "../pcm", "", "pcm.json", "a" * 5000, "a\0b"])
def test_an_unknown_preset_is_refused_with_the_names_there_are(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_preset(name)
    text = str(caught.value)
    assert text.startswith(f"there is no hardware preset '{name}': choose one of {', '.join(NAMES)}, or give")
    assert text.endswith("did you mean pcm-x3?") == (name == "pcm-x33")


@pytest.mark.parametrize("given", [3, None, True, ["pcm"], 1.5])
def test_a_preset_that_is_no_name_is_refused_with_its_line(tmp_path: Path, given: object) -> None:
    for key, data in (("hardware", given), ("hardware.preset", {"preset": given})):
        recipe = write(tmp_path, f"seed: 1\nhardware: {json.dumps(data)}\n")
        with pytest.raises(ConfigError) as caught:
            load_run(recipe)
        assert str(caught.value) == (
            f"{recipe}:2: {key}: give the name of a preset, or a mapping for hardware (given: {given!r})"
        )
