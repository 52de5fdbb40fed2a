"""``aimc-deploy map --auto-digital``: the table, the figures, and mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import call
from tiny_deployment import write_task

SMALL = ("--set", "adapt.epochs=0.3", "--set", "max_length=16", "--samples", "16", "--chips", "1")


def test_it_tells_every_layer_and_what_is_kept_digital(tmp_path: Path, checkpoint_once: Path) -> None:
    data = write_task(tmp_path / "SST-2")
    asked = ("--auto-digital", "--task", "sst2", "--data-dir", data, "--max-drop", "20%", *SMALL)
    ended = call("map", checkpoint_once, tmp_path / "b", *asked)
    assert ended.code == 0, ended.err
    assert "what each layer does to sst2, 16 samples, chips: 1" in ended.out
    assert "with every layer analog" in " ".join(ended.out.split())
    assert "encoder.layer.0.output" in "".join(ended.out.split())
    found = call("map", checkpoint_once, tmp_path / "c", *asked, "--format", "json").json()
    measured = found["sensitivity"]
    assert measured["max_drop"] == 0.2
    assert measured["exact"] - measured["chosen"] <= 0.2
    assert len(found["plan"]["analog"]) == len(measured["layers"]) - len(measured["digital"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--max-drop", "1%"), "only --auto-digital measures anything: add it"),
        (("--at", "1y"), "only --auto-digital measures anything: add it"),
        (("--auto-digital", "--dry-run"), "what to keep digital has to be measured"),
        (("--auto-digital", "--max-drop", "150%"), "'150%' is more than all"),
        (("--auto-digital", "--max-drop", "little"), "'little' is no share"),
    ],
)
def test_mistakes(tmp_path: Path, arguments: tuple[str, ...], told: str) -> None:
    ended = call("map", "--set", f"bundle={tmp_path / 'b'}", *arguments)
    assert ended.code == 2
    assert told in " ".join(ended.err.replace("\u2502", " ").split())
    assert not (tmp_path / "b").exists()
