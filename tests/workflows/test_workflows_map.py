"""Map: what a bundle holds, that it holds the model, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_deployment import FAMILIES, WORDS, files_of
from torch import Tensor, nn
from transformers import AutoModel

import aimc_deploy
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.chip import Placement
from aimc_deploy.config.hardware import FixedClip, Mapping, NoClip, TileSize
from aimc_deploy.config.load import config_digest, load_preset
from aimc_deploy.config.run import Run, Source
from aimc_deploy.errors import AimcError, ArtifactError, ConfigError, HardwareError, ModelError
from aimc_deploy.models.checkpoint import load_checkpoint
from aimc_deploy.workflows import map

Configure = Callable[..., Run]

FILES = {
    "README.md",
    "config.json",
    "hardware.json",
    "model.safetensors",
    "run.json",
    "tile_map.json",
    "tiles.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
}


def tokens() -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(3)
    ids = torch.randint(5, len(WORDS), (4, 9), generator=draw)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def blocks(path: Path) -> dict[str, Tensor]:
    """The matrices that the files of a bundle describe, (outputs, inputs), computed without the package."""
    bundle = Bundle.open(path)
    tiles, plan = load_file(path / "tiles.safetensors"), bundle.read_json("tile_map.json")
    g_max = bundle.read_json("hardware.json")["device"]["g_max"]
    found = {}
    for entry in plan["analog"]:
        weight = torch.full((entry["cols"], entry["rows"]), torch.nan)
        for block in entry["blocks"]:
            parts = [tiles[f"{block['tensors']}.{part}"] for part in ("g_plus", "g_minus", "w_scale")]
            matrix = (parts[0] - parts[1]) / g_max * parts[2].unsqueeze(1)
            weight[slice(*block["cols"]), slice(*block["rows"])] = matrix
        found[entry["layer"]] = weight
    return found


def test_a_bundle_holds_its_files_and_says_what_it_was_made_from(mapped: Path, configure: Configure) -> None:
    bundle, config = Bundle.open(mapped), configure(mapped)
    assert set(bundle.manifest.files) == FILES
    assert bundle.verify() == []
    assert bundle.read_json("hardware.json") == config.hardware.model_dump(mode="json")
    recorded = Run.model_validate(bundle.read_json("run.json"))
    assert recorded.bundle == Run().bundle, "where it lies is no part of it: equal bundles in any folder"
    assert recorded.model_copy(update={"bundle": str(mapped)}) == config
    assert bundle.manifest.config_sha256 == config_digest(recorded)
    assert bundle.manifest.hardware_digest == config.hardware.digest()
    assert bundle.manifest.mapping_digest == config.hardware.mapping_digest()
    assert bundle.manifest.source["source"] == config.source.path
    assert bundle.manifest.source["model_type"] == "mobilebert"


@pytest.mark.parametrize("size", [(512, 512), (16, 24)])
def test_the_conductances_in_the_files_are_the_source_weights(
    tmp_path: Path, configure: Configure, tiny: Path, size: tuple[int, int]
) -> None:
    """One conductance is rounded to 2**-24 of g_max, so a weight to about 1e-7 of its column's largest."""
    hardware = load_preset("pcm").model_copy(
        update={"mapping": Mapping(clip=NoClip()), "tile": TileSize(rows=size[0], cols=size[1])}
    )
    result = map.run(configure(tmp_path / "b", hardware=hardware), tmp_path / "b")
    source = load_file(tiny / "model.safetensors")
    found = blocks(tmp_path / "b")
    assert len(found) == len(result.plan["analog"]) > 5
    for name, weight in found.items():
        expected = source[f"{name.removeprefix('mobilebert.')}.weight"]
        largest = expected.abs().amax(dim=1, keepdim=True)
        assert float(((weight - expected) / largest).abs().max()) < 5e-7, name
    wide = max(len(entry["blocks"]) for entry in result.plan["analog"])
    assert (wide > 1) == (size == (16, 24))
    parts = sum(len(entry["blocks"]) for entry in result.plan["analog"])
    assert (result.plan["tiles"] < parts) == (size == (512, 512)), "the default is to share tiles"


def test_clipping_is_the_only_thing_that_mapping_changes(
    tmp_path: Path, configure: Configure, tiny: Path
) -> None:
    hardware = load_preset("pcm").model_copy(update={"mapping": Mapping(clip=FixedClip(value=0.03))})
    map.run(configure(tmp_path / "b", hardware=hardware), tmp_path / "b")
    source = load_file(tiny / "model.safetensors")
    for name, weight in blocks(tmp_path / "b").items():
        expected = source[f"{name.removeprefix('mobilebert.')}.weight"]
        assert float(expected.abs().max()) > 0.1, "nothing would be clipped"
        torch.testing.assert_close(weight, expected.clamp(-0.03, 0.03), rtol=0, atol=1e-8)


def test_the_mapped_model_computes_what_the_source_model_computes(
    tmp_path: Path, configure: Configure, tiny: Path
) -> None:
    hardware = load_preset("pcm").model_copy(update={"mapping": Mapping(clip=NoClip())})
    map.run(configure(tmp_path / "b", hardware=hardware), tmp_path / "b")
    encoder = AutoModel.from_pretrained(tiny).eval()
    classifier = load_checkpoint(Source(path=str(tiny))).model
    mapped = aimc_deploy.load(tmp_path / "b")
    with torch.inference_mode():
        hidden = mapped.model.base_model(**tokens()).last_hidden_state
        torch.testing.assert_close(hidden, encoder(**tokens()).last_hidden_state, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            mapped(**tokens()).logits, classifier(**tokens()).logits, rtol=1e-4, atol=1e-5
        )


def test_every_layer_is_analog_or_digital_with_a_reason(mapped: Path, tiny: Path) -> None:
    plan = Bundle.open(mapped).read_json("tile_map.json")
    model = load_checkpoint(Source(path=str(tiny))).model
    names = [name for name, part in model.named_modules() if list(part.parameters(recurse=False))]
    analog = [entry["layer"] for entry in plan["analog"]]
    reasons = {entry["layer"]: entry["reason"] for entry in plan["digital"]}
    assert sorted([*analog, *reasons]) == sorted(names)
    assert all(isinstance(model.get_submodule(name), nn.Linear) for name in analog)
    assert all(len(reason) > 5 for reason in reasons.values())
    assert reasons["classifier"] == "task head, trained per task"
    assert reasons["mobilebert.embeddings.word_embeddings"] == "look-up table"
    assert reasons["mobilebert.encoder.layer.0.output.LayerNorm"] == "element-wise"


def test_a_layer_named_in_the_recipe_stays_digital(tmp_path: Path, configure: Configure) -> None:
    pattern = "*.attention.self.*"
    hardware = load_preset("pcm").model_copy(update={"mapping": Mapping(digital=(pattern,))})
    plan = map.run(configure(tmp_path / "b", hardware=hardware), tmp_path / "b").plan
    kept = [entry for entry in plan["digital"] if ".attention.self." in entry["layer"]]
    assert [entry["reason"] for entry in kept] == [f"kept digital: matches '{pattern}'"] * 3
    assert not [entry for entry in plan["analog"] if ".attention.self." in entry["layer"]]
    tensors = load_file(tmp_path / "b" / "model.safetensors")
    assert f"{kept[0]['layer']}.weight" in tensors


def test_two_runs_give_the_same_bytes(tmp_path: Path, configure: Configure) -> None:
    config = configure(Path("bundle"))
    for name in ("one", "two"):
        map.run(config, tmp_path / name)
    one, two = (files_of(tmp_path / name) for name in ("one", "two"))
    # The manifest tells when it was written.
    assert {name: data for name, data in one.items() if name in FILES} == {
        name: data for name, data in two.items() if name in FILES
    }
    first, second = (Bundle.open(tmp_path / name).manifest for name in ("one", "two"))
    assert first.model_copy(update={"created": second.created}) == second


def test_a_dry_run_plans_the_same_and_writes_nothing(
    tmp_path: Path, configure: Configure, mapped: Path
) -> None:
    before = files_of(tmp_path)
    result = map.run(configure(tmp_path / "new"), tmp_path / "new", dry_run=True)
    assert result.bundle is None
    assert result.plan == Bundle.open(mapped).read_json("tile_map.json")
    assert files_of(tmp_path) == before
    assert not (tmp_path / "new").exists()


def damaged(tiny: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    shutil.copytree(tiny, folder)
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


QUERY = "encoder.layer.0.attention.self.query.weight"


def not_a_number(tensors: dict[str, Tensor]) -> None:
    tensors[QUERY] = tensors[QUERY].clone()
    tensors[QUERY][0, 0] = torch.nan


def transposed(tensors: dict[str, Tensor]) -> None:
    tensors[QUERY] = torch.zeros(16, FAMILIES["mobilebert"]["hidden_size"] + 1)


def missing(tensors: dict[str, Tensor]) -> None:
    del tensors[QUERY]


@pytest.mark.parametrize("change", [not_a_number, transposed, missing])
def test_a_damaged_checkpoint_is_refused_by_the_name_of_its_tensor(
    tmp_path: Path, configure: Configure, tiny: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    source = Source(path=str(damaged(tiny, tmp_path / "damaged", change)))
    config = configure(tmp_path / "b").model_copy(update={"source": source})
    with pytest.raises(ModelError, match=r"encoder\.layer\.0\.attention\.self\.query"):
        map.run(config, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_cut_off_weight_file_is_refused(tmp_path: Path, configure: Configure, tiny: Path) -> None:
    shutil.copytree(tiny, tmp_path / "cut")
    weights = tmp_path / "cut" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    config = configure(tmp_path / "b").model_copy(update={"source": Source(path=str(tmp_path / "cut"))})
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        map.run(config, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_bundle_is_replaced_only_when_asked_and_another_folder_never(
    tmp_path: Path, mapped: Path, configure: Configure
) -> None:
    before = files_of(mapped)
    with pytest.raises(ArtifactError, match="overwrite"):
        map.run(configure(mapped, seed=5), mapped)
    assert files_of(mapped) == before
    map.run(configure(mapped, seed=5), mapped, overwrite=True)
    assert Bundle.open(mapped).manifest.seed == 5
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError):
        map.run(configure(tmp_path / "letters"), tmp_path / "letters", overwrite=True)
    assert files_of(tmp_path / "letters") == {"mine.txt": b"mine"}


@pytest.mark.parametrize(
    ("pattern", "error", "message"),
    [("mobilebert.*", ModelError, "no layer is left"), ("nowhere", ConfigError, "matches no layer")],
)
def test_a_mapping_that_leaves_nothing_or_names_nothing_is_refused(
    tmp_path: Path, configure: Configure, pattern: str, error: type[AimcError], message: str
) -> None:
    hardware = load_preset("pcm").model_copy(update={"mapping": Mapping(digital=(pattern,))})
    with pytest.raises(error, match=message):
        map.run(configure(tmp_path / "b", hardware=hardware), tmp_path / "b")


def test_synthetic_outliers_leave_the_digital_output_and_are_recorded(
    tmp_path: Path, configure: Configure, tiny: Path
) -> None:
    config = configure(
        tmp_path / "b", hardware=load_preset("pcm").model_copy(update={"mapping": Mapping(clip=NoClip())})
    )
    source = Source(path=str(tiny), outlier_channels=2, outlier_factor=16.0)
    result = map.run(config.model_copy(update={"source": source}), tmp_path / "b")
    assert result.provenance["synthetic_outliers"] == {"channels": 2, "factor": 16.0}
    with torch.inference_mode():
        found = aimc_deploy.load(tmp_path / "b")(**tokens()).logits
        expected = load_checkpoint(Source(path=str(tiny))).model(**tokens()).logits
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def placed(config: Run, placement: dict[str, Any]) -> Run:
    hardware = config.hardware.model_copy(update={"placement": Placement.model_validate(placement)})
    return config.model_copy(update={"hardware": hardware})


@pytest.mark.parametrize("strategy", ["naive", "fused", "dense", "layer", "diagonal"])
def test_a_placement_moves_blocks_and_changes_nothing_else(
    tmp_path: Path, configure: Configure, mapped_once: Path, strategy: str
) -> None:
    config = placed(configure(tmp_path / "b"), {"strategy": strategy})
    result = map.run(config, tmp_path / "b")
    plan, usual = result.plan, Bundle.open(mapped_once).read_json("tile_map.json")
    assert plan["strategy"] == strategy
    assert plan["tiles"] == len({block["tile"] for entry in plan["analog"] for block in entry["blocks"]})
    blocks = sum(len(entry["blocks"]) for entry in plan["analog"])
    assert plan["tiles_bound"] <= plan["tiles"] <= blocks
    assert (plan["tiles"] == blocks) == (strategy == "naive")
    assert plan["utilisation"] == pytest.approx(plan["weights"] / (plan["tiles"] * 512 * 512))
    for entry, before in zip(plan["analog"], usual["analog"], strict=True):
        where = [{key: block[key] for key in ("rows", "cols", "tensors")} for block in entry["blocks"]]
        assert where == [
            {key: block[key] for key in ("rows", "cols", "tensors")} for block in before["blocks"]
        ]
    assert result.bundle is not None
    manifest = Bundle.open(mapped_once).manifest
    assert result.bundle.manifest.base_sha256 == manifest.base_sha256
    assert result.bundle.manifest.hardware_digest == manifest.hardware_digest
    tiles = [folder / "tiles.safetensors" for folder in (tmp_path / "b", mapped_once)]
    assert tiles[0].read_bytes() == tiles[1].read_bytes()


def test_too_few_tiles_write_nothing(tmp_path: Path, configure: Configure) -> None:
    config = placed(configure(tmp_path / "b"), {"strategy": "naive", "tiles": 3, "faults": [{"tile": 1}]})
    with pytest.raises(HardwareError, match=r"tiles are needed and there are 3, \d+ too few"):
        map.run(config, tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_the_chip_is_as_the_tiles_were_placed(
    tmp_path: Path, configure: Configure, mapped_once: Path
) -> None:
    """Blocks that share a tile share its compensation; on tiles of their own nothing changes."""
    inputs = {"input_ids": torch.tensor([[2, 5, 6, 7, 3]])}
    found = {}
    for strategy in ("layer", "dense"):
        map.run(placed(configure(tmp_path / strategy), {"strategy": strategy}), tmp_path / strategy)
        with torch.no_grad():
            found[strategy] = aimc_deploy.load(tmp_path / strategy).program(0).drift("1y")(**inputs).logits
    with torch.no_grad():
        usual = aimc_deploy.load(mapped_once).program(0).drift("1y")(**inputs).logits
    assert torch.equal(found["layer"], usual)
    assert not torch.equal(found["dense"], usual)
