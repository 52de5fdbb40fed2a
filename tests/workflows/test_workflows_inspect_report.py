"""Inspect, report and env: what is told of a bundle is what is in it."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_deployment import files_of

from aimc_deploy import __version__
from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.config.run import Run
from aimc_deploy.errors import ArtifactError
from aimc_deploy.workflows import adapt, env, evaluate, inspect, report

Configure = Callable[..., Run]


@pytest.fixture(scope="module")
def measured_once(tmp_path_factory: pytest.TempPathFactory, adapted_once: Path, configure: Configure) -> Path:
    """Two adapters and two evaluations; not to be written to."""
    path = tmp_path_factory.mktemp("measured") / "bundle"
    shutil.copytree(adapted_once, path)
    adapt.run(configure(path, adapt={"epochs": 0.3, "hardware_aware": False}))
    evaluate.run(configure(path, evaluate={"chips": 3, "times": ("1y", "0s"), "unadapted": True}))
    evaluate.run(configure(path, evaluate={"chips": 1, "adapters": ("sst2",)}), out="one-chip")
    return path


@pytest.fixture
def measured(tmp_path: Path, measured_once: Path) -> Path:
    return Path(shutil.copytree(measured_once, tmp_path / "bundle"))


def test_inspect_tells_what_is_there(measured: Path, tiny: Path, configure: Configure) -> None:
    bundle, found = Bundle.open(measured), inspect.run(measured)
    assert json.loads(json.dumps(found)) == found, "plain data"
    assert found["bundle"] == str(measured)
    assert found["source"]["source"] == str(tiny)
    assert found["base_sha256"] == bundle.manifest.base_sha256
    assert found["hardware"] == configure(measured).hardware.model_dump(mode="json")
    tiles = load_file(measured / "tiles.safetensors")
    analog = sum(value.numel() for name, value in tiles.items() if name.endswith(".g_plus"))
    assert found["analog"]["parameters"] == analog
    assert found["analog"]["layers"] == len(tiles) // 3 > found["analog"]["tiles"]
    assert found["analog"]["utilisation"] == pytest.approx(analog / (512 * 512 * found["analog"]["tiles"]))
    digital = sum(value.numel() for value in load_file(measured / "model.safetensors").values())
    assert found["digital_parameters"] == digital
    ledger, own = found["ledger"], found["adapters"][0]["parameters"]
    assert ledger["one_base"] == analog + digital + own
    assert ledger["programmed_each"] == analog + digital, "one task"
    sizes = {name: len(data) for name, data in files_of(measured).items()}
    assert found["bytes"] == sum(size for name, size in sizes.items() if name != "manifest.json")
    assert [entry["name"] for entry in found["adapters"]] == ["sst2", "sst2-digital"]
    assert [entry["trained_for"] for entry in found["adapters"]] == ["this hardware", "no hardware"]
    for entry in found["adapters"]:
        tensors = load_file(measured / "adapters" / entry["name"] / "adapter_model.safetensors")
        assert entry["parameters"] == sum(value.numel() for value in tensors.values())
        own = f"adapters/{entry['name']}/"
        assert entry["bytes"] == sum(size for name, size in sizes.items() if name.startswith(own))
    assert [(entry["name"], entry["chips"], entry["times"]) for entry in found["results"]] == [
        ("one-chip", 1, ["0s", "1y"]),
        ("sst2", 3, ["0s", "1y"]),
    ]


def test_inspect_names_the_other_hardware_an_adapter_was_trained_for(
    mapped: Path, configure: Configure
) -> None:
    adapt.run(configure(mapped, hardware="pcm-x2", adapt={"epochs": 0.3}))
    assert [entry["trained_for"] for entry in inspect.run(mapped)["adapters"]] == ["pcm-x2"]


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).replace("&plusmn;", "+-").split())


def test_every_figure_on_the_page_is_that_of_the_results(measured: Path) -> None:
    path = report.run(measured).path
    assert path == measured / "report" / "index.html"
    text = text_of(path.read_text(encoding="utf-8"))
    shown = 0
    for name in ("sst2", "one-chip"):
        content = json.loads((measured / "results" / f"{name}.json").read_text())
        digital = {part["adapter"]: part["metrics"]["accuracy"] for part in content["baselines"]}
        for adapter in digital:
            parts = [part for part in content["summary"] if part["adapter"] == adapter]
            assert [part["time"] for part in parts] == ["0s", "1y"]
            cells = []
            for part in parts:
                cell = f"{part['mean']:.4f}"
                if part["std"] is not None:
                    cell += f" +- {part['std']:.4f} {part['ci_low']:.4f} to {part['ci_high']:.4f}"
                cells.append(cell)
            row = f"{adapter} {digital[adapter]:.4f} {' '.join(cells)}"
            assert row in text, row
            shown += 1
        assert f"{content['samples']} samples, {content['settings']['chips']} chips" in text
        assert content["hardware_digest"][:12] in text
    assert shown == 5
    found = inspect.run(measured)
    for entry in found["adapters"]:
        assert f"adapter {entry['name']} {entry['parameters']:,} {entry['bytes']:,}" in text
    assert f"analog base {found['analog']['parameters']:,}" in text
    assert f"digital base {found['digital_parameters']:,}" in text
    assert found["base_sha256"] in text


def test_the_page_needs_nothing_else_and_is_part_of_the_bundle(measured: Path) -> None:
    page = report.run(measured).path.read_text(encoding="utf-8")
    assert page.count("<svg") == 5, "two evaluations with their layers, and the tiles"
    assert not re.findall(r"<(?:script|link|img|iframe)\b|@import|url\((?!#)", page)
    # Links lead into the page itself; namespaces are names.
    assert not [link for link in re.findall(r'(?:href|src)="([^"]*)"', page) if not link.startswith("#")]
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(identifiers)
    assert Bundle.open(measured).verify() == []


def test_the_page_is_the_same_each_time_and_changes_nothing_else(measured: Path) -> None:
    before = files_of(measured)
    first = report.run(measured).path.read_bytes()
    assert report.run(measured).path.read_bytes() == first
    after = files_of(measured)
    added = {name for name in after if name.startswith("report/")}
    pictures = {"report/one-chip.png", "report/sst2.png"}
    assert added == {"report/index.html", "report/report.md", *pictures}
    for name in added:
        after.pop(name)
    assert {name: data for name, data in after.items() if name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }


def test_the_same_in_short_as_markdown(measured: Path) -> None:
    report.run(measured)
    text = (measured / "report" / "report.md").read_text(encoding="utf-8")
    content = json.loads((measured / "results" / "sst2.json").read_text())
    for part in content["summary"]:
        if part["metric"] == "accuracy":
            spread = f"± {part['std']:.4f} ({part['ci_low']:.4f} to {part['ci_high']:.4f})"
            assert f"{part['mean']:.4f} {spread}" in text
    assert "**No verdict.** No gate was asked for" in text
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (measured / "report" / picture).read_bytes().startswith(b"\x89PNG")
    assert text.count(".png)") == 2


def test_a_page_without_results_says_what_is_missing(mapped: Path) -> None:
    text = text_of(report.run(mapped).path.read_text(encoding="utf-8"))
    assert "No evaluation yet: run aimc-deploy evaluate" in text


def test_names_from_outside_are_text_on_the_page(tmp_path: Path, tiny: Path, configure: Configure) -> None:
    from aimc_deploy.config.run import Source
    from aimc_deploy.workflows import map

    named = tmp_path / "a <b>bold</b> & model"
    shutil.copytree(tiny, named)
    config = configure(tmp_path / "b").model_copy(update={"source": Source(path=str(named))})
    map.run(config, tmp_path / "b")
    page = report.run(tmp_path / "b").path.read_text(encoding="utf-8")
    assert "<b>bold" not in page
    assert "a &lt;b&gt;bold&lt;/b&gt; &amp; model on pcm-x4" in page


@pytest.mark.parametrize("step", [inspect.run, report.run])
def test_no_bundle_and_a_damaged_one_are_refused(
    tmp_path: Path, mapped: Path, step: Callable[[Path], object]
) -> None:
    with pytest.raises(ArtifactError, match="is no bundle"):
        step(tmp_path / "nowhere")
    (mapped / "tile_map.json").unlink()
    with pytest.raises(ArtifactError, match=r"is damaged: tile_map\.json"):
        step(mapped)


def test_env_tells_versions_and_the_machine() -> None:
    found = env.run()
    assert found["aimc-deploy"] == __version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["processors"] == str(os.cpu_count())
    for name in ("torch", "transformers", "peft", "accelerate", "datasets", "safetensors"):
        assert found[name] == metadata.version(name)
    assert all(isinstance(value, str) and value for value in found.values())


def test_a_bundle_records_the_libraries_it_was_made_with(mapped: Path) -> None:
    assert Bundle.open(mapped).manifest.libraries == env.library_versions()


def test_the_card_tells_what_was_trained_and_measured(measured: Path, configure: Configure) -> None:
    """By the steps themselves: each has written it anew."""
    bundle = Bundle.open(measured)
    told = bundle.file("README.md").read_text(encoding="utf-8")
    assert "# tiny on analog tiles" in told
    assert f"`{configure(measured).hardware.name}`: " in told
    for name in bundle.adapters():
        scores = bundle.read_json(f"adapters/{name}/adapter.json")["scores"]
        (line,) = [line for line in told.splitlines() if line.startswith(f"| `{name}` | sst2 |")]
        assert line.endswith(
            f" | {scores['digital']:.4f} | {scores['adapted']:.4f} | {scores['unadapted']:.4f} |"
        )
    for name in ("sst2", "one-chip"):
        for part in bundle.read_json(f"results/{name}.json")["summary"]:
            if part["metric"] == "accuracy":
                spread = "" if part["std"] is None else f" ± {part['std']:.4f}"
                assert f"| {part['mean']:.4f}{spread} |" in told
    assert "`one-chip`: accuracy of sst2" in told
    assert "Cannot be read" not in told
