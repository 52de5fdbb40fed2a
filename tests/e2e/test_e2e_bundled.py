"""The bundled model from the first command to the report, as a person types it, in an empty folder."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open


def command(folder: Path, *arguments: str) -> Any:
    """What a command prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "aimc_deploy", *arguments, "--format", "json"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_bundled_model_goes_all_the_way_without_a_network(tmp_path: Path) -> None:
    mapped = command(tmp_path, "map")
    bundle = tmp_path / "aimc-bundle"
    assert mapped["bundle"] == "aimc-bundle"
    assert mapped["source"]["model_type"] == "mobilebert"
    assert mapped["plan"]["tiles"] >= len(mapped["plan"]["analog"]) > 20
    tiles = (bundle / "tiles.safetensors").read_bytes()

    adapted = command(tmp_path, "adapt", "--train-samples", "64", "--epochs", "1")
    assert (adapted["task"], adapted["samples"], adapted["steps"]) == ("reviews", 64, 2)
    assert adapted["base_before"] == adapted["base_after"]
    assert (bundle / "tiles.safetensors").read_bytes() == tiles
    with safe_open(bundle / "adapters" / "reviews" / "adapter_model.safetensors", "pt") as file:
        assert len([name for name in file.keys() if "lora_A" in name]) == len(mapped["plan"]["analog"])  # noqa: SIM118

    measured = command(tmp_path, "evaluate", "--chips", "2", "--times", "0s,10y", "--samples", "64")
    places = [(row["adapter"], row["chip"], row["time"]) for row in measured["rows"]]
    assert places == [("reviews", chip, time) for chip in range(2) for time in ("0s", "10y")]
    assert measured["samples"] == 64
    accuracies = [row["metrics"]["accuracy"] for row in measured["rows"]]
    assert all(0 <= value <= 1 and round(value * 64) == pytest.approx(value * 64) for value in accuracies)
    with (bundle / "results" / "reviews.csv").open() as stream:
        assert [float(line["accuracy"]) for line in csv.DictReader(stream)] == accuracies

    report = command(tmp_path, "report")
    page = (tmp_path / report["report"]).read_text()
    for part in measured["summary"]:
        if part["metric"] == measured["metric"]:
            assert f"{part['mean']:.4f} &plusmn; {part['std']:.4f}" in page
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page), "the page needs nothing else"

    found = command(tmp_path, "inspect")
    assert [entry["name"] for entry in found["adapters"]] == ["reviews"]
    assert (found["results"][0]["chips"], found["results"][0]["times"]) == (2, ["0s", "10y"])
    assert found["base_sha256"] == adapted["base_after"]

    checked = command(tmp_path, "verify")
    assert checked["problems"] == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["aimc-bundle"]
