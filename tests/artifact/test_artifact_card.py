"""The card of a bundle: what it tells, that it follows every change, and that it never stands in the way."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from small_bundle import create, fields, write_base

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.card import CARD
from aimc_deploy.artifact.files import dump_json, write_json
from aimc_deploy.artifact.manifest import MANIFEST, write_manifest
from aimc_deploy.artifact.results import Baseline, Results, Row, to_json
from aimc_deploy.config.hardware import ADC, Hardware
from aimc_deploy.errors import ArtifactError

PCM = Hardware(description="as measured")
PLAN = {
    "schema_version": "1.0",
    "strategy": "layer",
    "tile": {"rows": 512, "cols": 512},
    "tiles": 16,
    "weights": 3_000_000,
    "utilisation": 0.7254,
    "analog": [{}, {}],
}
SOURCE = {
    "source": "somebody/mobilebert",
    "revision": None,
    "commit": "0" * 40,
    "format": "safetensors",
    "model_type": "mobilebert",
    "parameters": 7_000_000,
    "license": "apache-2.0",
}


def mapped(path: Path, hardware: Hardware = PCM, **source: Any) -> Bundle:
    def write(folder: Path) -> None:
        write_base(folder)
        write_json(folder / "hardware.json", hardware.model_dump(mode="json"))
        write_json(folder / "tile_map.json", PLAN)

    known = fields(source={**SOURCE, **source}, hardware_digest=hardware.digest())
    return Bundle.create(path, write, **known)


def adapter(name: str = "sst2", **changes: Any) -> dict[str, bytes]:
    record = {
        "task": "sst2",
        "metric": "accuracy",
        "method": "lora",
        "num_labels": 2,
        "hardware_aware": True,
        "hardware_digest": PCM.digest(),
        "base_sha256": "d" * 64,
        "run_sha256": "e" * 64,
        "max_length": 128,
        "parameters": 243_714,
        "scores": {"digital": 0.9, "adapted": 0.8625, "unadapted": 0.5},
        "training": {"hardware": PCM.model_dump(mode="json")},
        **changes,
    }
    return {f"adapters/{name}/adapter.json": dump_json(record, name).encode()}


def results(hardware: Hardware = PCM, chips: int = 2) -> dict[str, bytes]:
    found = Results(
        task="sst2",
        metric="accuracy",
        samples=200,
        seed=0,
        hardware_digest=hardware.digest(),
        settings={"hardware": hardware.model_dump(mode="json")},
        baselines=(Baseline(adapter="sst2", metrics={"accuracy": 0.9}),),
        rows=tuple(
            Row(adapter="sst2", chip=chip, time=time, t_s=t_s, metrics={"accuracy": mean + 0.02 * chip})
            for chip in range(chips)
            for time, t_s, mean in (("1y", 31_536_000.0, 0.7), ("0s", 0.0, 0.8))
        ),
    )
    return {"results/sst2.json": to_json(found).encode()}


def text(bundle: Bundle) -> str:
    return bundle.file(CARD).read_text(encoding="utf-8")


def lines(bundle: Bundle, begin: str) -> list[str]:
    return [line for line in text(bundle).splitlines() if line.startswith(begin)]


def test_the_hub_reads_where_the_model_is_from_and_its_licence(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b")
    told = ModelCard.load(tmp_path / "b" / CARD).data.to_dict()
    assert told == {
        "base_model": "somebody/mobilebert",
        "library_name": "aimc-deploy",
        "license": "apache-2.0",
        "tags": ["analog-in-memory-computing", "aimc", "mobilebert"],
    }
    bundle.put_files(adapter())
    assert ModelCard.load(tmp_path / "b" / CARD).data.to_dict()["tags"][3:] == ["peft", "lora"]


def test_a_local_folder_is_no_model_of_the_hub_and_its_path_is_nobodys_business(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b", source="/home/ada/models/own", commit=None, license=None)
    told = ModelCard.load(tmp_path / "b" / CARD).data.to_dict()
    assert "base_model" not in told
    assert "license" not in told
    assert "# own on analog tiles" in text(bundle)
    assert "/home/ada" not in text(bundle)


def test_it_tells_what_is_where(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b", retrained="sst2-full", synthetic_outliers={"channels": 2, "factor": 16.0})
    told = text(bundle)
    assert "| source | `mobilebert` (mobilebert, commit `" + "0" * 40 + "`), read as safetensors |" in told
    assert "| analog | 2 matrices, 3,000,000 weights on 16 tiles of 512 x 512, 72.5 % used" in told
    assert "| digital | 4,000,000 parameters;" in told
    assert "| hardware | `pcm`: as measured |" in told
    assert "| retrained | all weights, as adapter `sst2-full`" in told
    assert "| synthetic outliers | 2 channels made 16 times as large |" in told
    assert "d" * 64 in told
    assert "Reduced" not in told
    assert "None yet" in told
    assert "Nothing over several chips" in told


def test_the_bundled_model_is_called_reduced(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b", source="bundled mini-mobilebert", commit=None)
    assert "**Reduced model:**" in text(bundle)


def test_it_follows_every_change_and_the_manifest_knows_it(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b")
    bundle.put_files(adapter())
    bundle.put_files(adapter("sst2-digital", hardware_aware=False))
    assert lines(bundle, "| `sst2") == [
        "| `sst2` | sst2 | lora | `pcm` | 243,714 | accuracy | 0.9000 | 0.8625 | 0.5000 |",
        "| `sst2-digital` | sst2 | lora | no hardware | 243,714 | accuracy | 0.9000 | 0.8625 | 0.5000 |",
    ]
    assert '.set_adapter("sst2")\n' in text(bundle)
    bundle.put_files(results())
    assert lines(bundle, "| adapter | no hardware") == ["| adapter | no hardware | 0s | 1y |"]
    assert lines(bundle, "| `sst2` | 0.9") == ["| `sst2` | 0.9000 | 0.8100 ± 0.0141 | 0.7100 ± 0.0141 |"]
    assert "on 200 samples, mean ± standard deviation over 2 chips" in text(bundle)
    assert Bundle.open(tmp_path / "b").verify() == []


def test_one_chip_has_no_spread_and_a_missing_score_no_figure(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b")
    bundle.put_files({**adapter(method="full", scores={"digital": 0.9, "adapted": 0.8}), **results(chips=1)})
    assert lines(bundle, "| `sst2` | 0.9") == ["| `sst2` | 0.9000 | 0.8000 | 0.7000 |"]
    assert "mean over 1 chip," in text(bundle)
    assert lines(bundle, "| `sst2` | sst2")[0].endswith("| accuracy | 0.9000 | 0.8000 |  |")
    assert "PeftModel" not in text(bundle), "retrained weights leave no adapter of PEFT's"


def test_changed_hardware_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    bundle, changed = mapped(tmp_path / "b"), PCM.model_copy(update={"adc": ADC(bits=4)})
    bundle.put_files({**adapter(hardware_digest=changed.digest()), **results(changed)})
    assert "| lora | `pcm`, changed |" in text(bundle)
    assert "on `pcm`, changed." in text(bundle)


def test_a_schedule_names_its_stages(tmp_path: Path) -> None:
    stages = [{"since": "0s", "adapter": "sst2-0s"}, {"since": "1y", "adapter": "sst2-1y"}]
    bundle = mapped(tmp_path / "b")
    bundle.put_files(adapter("sst2-schedule", stages=stages))
    assert "`sst2-schedule` is a schedule: `sst2-0s` from 0s, `sst2-1y` from 1y." in text(bundle)


def test_equal_bundles_have_equal_cards_whatever_the_order(tmp_path: Path) -> None:
    one, two = mapped(tmp_path / "one"), mapped(tmp_path / "two")
    one.put_files({**adapter(), **results()})
    two.put_files(results())
    two.put_files(adapter())
    assert one.manifest.files[CARD] == two.manifest.files[CARD]


def test_two_writers_lose_nothing_of_each_other(tmp_path: Path) -> None:
    """Both opened the bundle before either wrote to it."""
    mapped(tmp_path / "b")
    one, two = Bundle.open(tmp_path / "b"), Bundle.open(tmp_path / "b")
    one.put_files(adapter("one"))
    two.put_files(adapter("two"))
    told = text(Bundle.open(tmp_path / "b"))
    assert "| `one` |" in told
    assert "| `two` |" in told


def test_a_bundle_from_before_cards_gets_one_with_its_next_change(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b")
    manifest = bundle.manifest.model_copy(
        update={"files": {name: entry for name, entry in bundle.manifest.files.items() if name != CARD}}
    )
    (tmp_path / "b" / CARD).unlink()
    write_manifest(tmp_path / "b" / MANIFEST, manifest)
    old = Bundle.open(tmp_path / "b")
    assert CARD not in old.manifest.files
    old.put_files(adapter())
    assert "| `sst2` |" in text(old)
    assert Bundle.open(tmp_path / "b").verify() == []


NO_METRIC = results()["results/sst2.json"].replace(b'"metric": "accuracy"', b'"metric": "f1"')
NO_HARDWARE = adapter(training={"hardware": "pcm"})["adapters/sst2/adapter.json"]


@pytest.mark.parametrize(
    ("damaged", "content"),
    [
        ("adapters/old/adapter.json", b"{}\n"),
        ("adapters/old/adapter.json", b"[1]\n"),
        ("adapters/old/adapter.json", NO_HARDWARE),
        ("results/old.json", b'{"task": 3}\n'),
        ("results/old.json", NO_METRIC),
    ],
)
def test_what_cannot_be_read_is_named_and_keeps_nothing_out(
    tmp_path: Path, damaged: str, content: bytes
) -> None:
    bundle = mapped(tmp_path / "b")
    bundle.put_files({damaged: content})
    assert f"Cannot be read, see `aimc-deploy verify`: `{damaged}`." in text(bundle)
    bundle.put_files(adapter())
    assert "| `sst2` |" in text(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"weights": [1]},
        {"tile": {}},
        {"tile": None},
        {"utilisation": "much"},
        {"analog": None},
        {"weights": "many"},
        {"utilisation": 10**400},
    ],
)
def test_a_tile_map_of_something_else_is_refused_by_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    def write(folder: Path) -> None:
        write_base(folder)
        write_json(folder / "hardware.json", PCM.model_dump(mode="json"))
        write_json(folder / "tile_map.json", {**PLAN, **changes})

    with pytest.raises(ArtifactError, match=r"no card can be made of tile_map\.json and of the source"):
        Bundle.create(tmp_path / "b", write, **fields(source=SOURCE, hardware_digest=PCM.digest()))


def test_a_source_of_something_else_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"of the source in manifest\.json"):
        mapped(tmp_path / "b", parameters="many")


def test_what_was_changed_behind_its_back_is_not_repeated(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b")
    bundle.put_files(adapter("old"))
    path = tmp_path / "b" / "adapters" / "old" / "adapter.json"
    forged = path.read_bytes().replace(b"0.8625", b"0.9999")
    os.unlink(path)
    path.write_bytes(forged)
    bundle.put_files(adapter())
    assert "0.9999" not in text(bundle)
    assert "`adapters/old/adapter.json`" in text(bundle)


def test_a_bundle_without_a_model_has_no_card(tmp_path: Path) -> None:
    bundle = create(tmp_path / "b")
    bundle.put_files(adapter())
    assert CARD not in bundle.manifest.files


def test_nothing_is_written_twice(tmp_path: Path) -> None:
    bundle = mapped(tmp_path / "b")
    before = (tmp_path / "b" / CARD).stat().st_ino
    bundle.put_files({"report/index.html": b"<html></html>"})
    assert (tmp_path / "b" / CARD).stat().st_ino == before
