"""``aimc-deploy map`` with a chip's own limits: faults and tiles."""

from __future__ import annotations

from pathlib import Path

from command_line import call


def test_faulty_lines_and_tiles_are_not_used(tmp_path: Path, checkpoint_once: Path) -> None:
    faults = tmp_path / "faults.yaml"
    faults.write_text("faults:\n  - {tile: 0}\n  - {tile: 1, rows: [0, 1]}\n")
    asked = ("--fault-map", faults, "--set", "hardware.placement.tiles=9")
    ended = call("map", checkpoint_once, tmp_path / "b", *asked)
    assert ended.code == 0, ended.err
    used = {
        int(line.split()[0]) for line in ended.out.splitlines() if "of the chip's tiles hold nothing" in line
    }
    plan = call("map", checkpoint_once, tmp_path / "c", *asked, "--format", "json").json()["plan"]
    assert used == {9 - plan["tiles"]}
    blocks = [block for entry in plan["analog"] for block in entry["blocks"]]
    assert all(block["tile"] > 0 for block in blocks)
    assert all(block["at"][0] >= 2 for block in blocks if block["tile"] == 1)
    assert "more tiles than the 1 that the area alone would need" in " ".join(ended.out.split())


def test_a_fault_map_that_cannot_be_read(tmp_path: Path) -> None:
    ended = call("map", "--fault-map", tmp_path / "none.yaml")
    assert ended.code == 2
    assert "none.yaml: cannot be read" in ended.message
