"""The bundled checkpoint and the bundled reviews, from the model to the report, by commands alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shell import Shell


@pytest.mark.slow
def test_map_adapt_evaluate_report_with_what_comes_with_the_package(tmp_path: Path, shell: Shell) -> None:
    output, errors = shell.run("map")
    assert "weights on" in output
    assert "bundle: aimc-bundle" in output
    assert "next: aimc-deploy adapt --task reviews" in errors

    output, errors = shell.run("adapt", "--train-samples", "64", "--epochs", "1")
    assert "adapter 'reviews':" in output
    assert "64 samples, 2 steps; base unchanged" in output
    assert "without hardware" in output
    assert "on tiles, adapted" in output
    assert "next: aimc-deploy evaluate --task reviews" in errors

    times = ("--times", "0s,10y", "--samples", "64")
    output, errors = shell.run("evaluate", "--chips", "2", *times, "--format", "json")
    measured = json.loads(output)
    assert len(measured["rows"]) == 4
    assert {(row["chip"], row["time"]) for row in measured["rows"]} == {
        (chip, time) for chip in (0, 1) for time in ("0s", "10y")
    }
    assert measured["samples"] == 64
    assert measured["gate_failures"] == []

    output, errors = shell.run(
        "evaluate", "--chips", "2", *times, "--min-accuracy", "1.0", "--at", "10y", code=3
    )
    assert "the lower 95 % bound of accuracy" in errors
    assert "below the 1 asked for" in errors
    written = json.loads((tmp_path / "aimc-bundle" / "results" / "reviews.json").read_text())
    assert written["rows"] == measured["rows"], "the same seed, and so the same chips"

    output, _ = shell.run("report")
    page = tmp_path / "aimc-bundle" / "report" / "index.html"
    assert "report: aimc-bundle/report/index.html" in output
    for part in measured["summary"]:
        assert f"{part['mean']:.4f}" in page.read_text()

    output, _ = shell.run("inspect", "--format", "json")
    found = json.loads(output)
    assert [entry["name"] for entry in found["adapters"]] == ["reviews"]
    assert [entry["times"] for entry in found["results"]] == [["0s", "10y"]]
    assert found["source"]["model_type"] == "mobilebert"

    output, _ = shell.run("verify", "--format", "json")
    assert json.loads(output)["problems"] == []
