"""The golden bundle of every release is read, and what this version does not know in one is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from small_bundle import change_manifest, sealed

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.files import write_json
from aimc_deploy.artifact.results import from_bundle
from aimc_deploy.artifact.signature import check
from aimc_deploy.config.run import Evaluate, Gate, Run
from aimc_deploy.errors import ArtifactError, SignatureError
from aimc_deploy.version import __version__
from aimc_deploy.workflows import evaluate, predict, report
from aimc_deploy.workflows.adapters import read_record
from aimc_deploy.workflows.base import read_hardware

GOLDEN = Path(__file__).parents[1] / "golden"
RELEASES = sorted(path.name for path in GOLDEN.iterdir())


@pytest.fixture
def golden(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A copy of a release's golden folder, of the test's own."""
    release = getattr(request, "param", RELEASES[-1])
    return Path(shutil.copytree(GOLDEN / release, tmp_path / "golden"))


def config_of(golden: Path, expected: dict[str, Any]) -> Run:
    bundle = golden / "bundle"
    return Run(
        bundle=str(bundle),
        data_dir=str(golden / "data"),
        device="cpu",
        hardware=read_hardware(Bundle.open(bundle)),
        evaluate=Evaluate(chips=1, times=("0s", "1y")),
        **expected["recipe"],
    )


def test_this_version_has_one() -> None:
    assert __version__ in RELEASES, "write it: PYTHONPATH=tests python scripts/golden.py"


@pytest.mark.parametrize("golden", RELEASES, indirect=True)
def test_a_golden_signature_fits_its_bundle(golden: Path) -> None:
    bundle = Bundle.open(golden / "bundle")
    signed = check(bundle, key=golden / "public.pem")
    assert (signed.file, signed.files) == (golden / "bundle.sig", len(bundle.manifest.files) + 1)
    sealed(golden / "bundle", {"config.json": b"{}"})
    with pytest.raises(SignatureError, match=r"config\.json was changed"):
        check(Bundle.open(golden / "bundle"), key=golden / "public.pem")


@pytest.mark.parametrize("golden", RELEASES, indirect=True)
def test_a_golden_bundle_is_read_whole_and_gives_what_it_gave(golden: Path) -> None:
    expected = json.loads((golden / "expected.json").read_bytes())
    config, bundle = config_of(golden, expected), Bundle.open(golden / "bundle")
    assert bundle.verify() == []
    stored = from_bundle(bundle, "sst2")
    assert [row.model_dump(mode="json") for row in stored.rows] == expected["rows"]
    measured = evaluate.run(config, out="again").results
    # Of other libraries the last bit may differ, and a sample of the 40 with it.
    of_chip_0 = [row for row in stored.rows if row.chip == 0]
    assert [(row.adapter, row.t_s) for row in measured.rows] == [(row.adapter, row.t_s) for row in of_chip_0]
    for row, old in zip(measured.rows, of_chip_0, strict=True):
        assert row.metrics == pytest.approx(old.metrics, abs=1.5 / 40)
    texts, answers = zip(*expected["predictions"], strict=True)
    found = predict.run(config, texts, adapter="sst2", at="1y")
    assert [prediction.answer for prediction in found] == list(answers)
    assert "again" in report.run(bundle.path).path.read_text()
    assert Bundle.open(bundle.path).verify() == []


def test_what_a_later_minor_version_added_is_kept_when_the_bundle_is_written_again(golden: Path) -> None:
    path, record, file = golden / "bundle", "adapters/sst2/adapter.json", "results/sst2.json"
    added: dict[str, Any] = {"since": "1.7", "parts": [1, {"a": None}]}

    def newer(content: dict[str, Any]) -> None:
        content |= {"schema_version": "1.7", "added": added}
        content["files"]["config.json"]["added"] = added

    # A gate is written into results that are kept; the card changes with each adapter.
    expected = json.loads((golden / "expected.json").read_bytes())
    settings = Evaluate(chips=2, times=("0s", "1y"), gate=Gate(max_drop=0.9))
    config = config_of(golden, expected).model_copy(update={"evaluate": settings})
    adapter = json.loads((path / record).read_bytes()) | {"added": added}
    results = json.loads((path / file).read_bytes()) | {"schema_version": "1.7", "added": added}
    results["rows"][0]["added"] = added
    sealed(path, {record: json.dumps(adapter).encode(), file: json.dumps(results).encode()})
    change_manifest(path, newer)
    request = evaluate.run(config, out="other").results.settings["request_sha256"]
    results["settings"]["request_sha256"] = request  # which the changed adapter is part of
    sealed(path, {file: json.dumps(results).encode()})

    assert evaluate.run(config, keep=True).kept
    Bundle.open(path).put(
        "adapters/more", lambda folder: write_json(folder / "adapter.json", written_again(path))
    )

    manifest = json.loads((path / "manifest.json").read_bytes())
    assert manifest["added"] == manifest["files"]["config.json"]["added"] == added
    written = json.loads((path / file).read_bytes())
    assert written["gate"]["max_drop"] == 0.9
    assert written["added"] == written["rows"][0]["added"] == added
    assert json.loads((path / "adapters" / "more" / "adapter.json").read_bytes())["added"] == added
    assert written["summary"][0].keys() == results["summary"][0].keys()


def written_again(path: Path) -> dict[str, Any]:
    """The record of the adapter, as this version writes it."""
    return read_record(Bundle.open(path), "sst2").model_dump(mode="json")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"schema_version": "2.0"}, "has schema version 2.0 and this aimc-deploy reads 1.x: upgrade"),
        ({"required_features": ["teleport"]}, "cannot do what the bundle needs: teleport"),
    ],
)
def test_a_bundle_of_a_newer_major_version_is_refused(
    golden: Path, changes: dict[str, Any], told: str
) -> None:
    change_manifest(golden / "bundle", lambda content: content.update(changes))
    with pytest.raises(ArtifactError, match=told):
        Bundle.open(golden / "bundle")


def test_results_of_a_newer_major_version_are_refused(golden: Path) -> None:
    file = golden / "bundle" / "results" / "sst2.json"
    content = json.loads(file.read_bytes()) | {"schema_version": "2.0"}
    sealed(golden / "bundle", {"results/sst2.json": json.dumps(content).encode()})
    with pytest.raises(ArtifactError, match=r"results/sst2\.json has schema version 2\.0"):
        from_bundle(Bundle.open(golden / "bundle"), "sst2")
