"""Several tasks on one base, by the command line: adapt, schedule, evaluate, predict."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import call
from tiny_deployment import write_task


def test_several_tasks_in_one_table_with_the_base_and_the_ledger(
    tmp_path: Path, checkpoint_once: Path
) -> None:
    for folder in ("SST-2", "CoLA"):
        write_task(tmp_path / "glue" / folder)
    bundle = ["-b", str(tmp_path / "b")]
    data = ["--data-dir", str(tmp_path / "glue"), "--set", "max_length=16"]
    assert call("map", str(checkpoint_once), str(tmp_path / "b")).code == 0
    adapted = call("adapt", *bundle, "-t", "sst2,cola", *data, "--epochs", "0.3", "--format", "json")
    assert adapted.code == 0, adapted.err
    results = json.loads(adapted.out)
    assert [part["task"] for part in results] == ["sst2", "cola"]

    measure = ["evaluate", *bundle, "-t", "all", *data, "--chips", "2", "--times", "0s,1y", "--workers", "1"]
    found = json.loads(call(*measure, "--format", "json").out)
    assert [line["task"] for line in found["lines"]] == ["sst2", "cola"]
    assert found["average"]["adapter"] == "2 tasks"
    assert found["base_sha256"] == results[0]["base_before"] == results[1]["base_after"]
    own = sum(part["parameters"] for part in results)
    ledger = found["ledger"]
    analog, digital = ledger["analog"]["parameters"], ledger["digital"]["parameters"]
    assert ledger["one_base"] == analog + digital + own
    assert ledger["programmed_each"] == digital + 2 * analog

    told = call(*measure)
    assert f"base      {found['base_sha256']}  (unchanged by adapters)" in told.out
    assert "ledger    2 tasks on one base: " in told.out
    assert "GLUE" in told.out


def test_a_schedule_by_the_command_line(tmp_path: Path, checkpoint_once: Path, data: Path) -> None:
    bundle, source = ["-b", str(tmp_path / "b")], ["--data-dir", str(data), "--set", "max_length=16"]
    assert call("map", str(checkpoint_once), str(tmp_path / "b")).code == 0
    adapted = call("adapt", *bundle, "-t", "sst2", *source, "--epochs", "0.3", "--schedule", "0s, 1y")
    assert adapted.code == 0, adapted.err
    assert "adapter 'sst2-schedule'" in adapted.out
    said = call("predict", *bundle, "-t", "sst2", "--at", "10y", "a good film", "--format", "json")
    assert json.loads(said.out)[0]["texts"] == ["a good film"]
    refused = call("adapt", *bundle, "-t", "sst2", *source, "--schedule", "1d,1y", "--name", "late")
    assert refused.code == 2
    assert "schedule: 1d, 1y must begin with 0s" in refused.err
