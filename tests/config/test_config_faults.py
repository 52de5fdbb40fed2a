"""A file with what is faulty on a chip."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aimc_deploy.config.load import load_faults, load_run
from aimc_deploy.errors import ConfigError


@pytest.mark.parametrize("ending", ["yaml", "json"])
def test_rows_columns_and_tiles(tmp_path: Path, ending: str) -> None:
    content = {"faults": [{"tile": 4}, {"tile": 0, "rows": [3, 4], "cols": [7]}]}
    path = tmp_path / f"faults.{ending}"
    path.write_text(
        json.dumps(content) if ending == "json" else "faults: [{tile: 4}, {tile: 0, rows: [3, 4], cols: [7]}]"
    )
    found = load_faults(path).faults
    assert [(fault.tile, fault.rows, fault.cols) for fault in found] == [(4, (), ()), (0, (3, 4), (7,))]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[1]", "a fault map is a mapping with the key 'faults'"),
        (
            "faults:\n  - {tile: 1}\n  - {tile: 2, row: [3]}",
            ":3: faults.1.row: unknown key; did you mean 'rows'? allowed: cols, rows, tile",
        ),
        (
            "faults:\n  - {tile: -1}",
            ":2: faults.0.tile: Input should be greater than or equal to 0 (given: -1)",
        ),
        ("tiles: 3", "faults: Field required"),
    ],
)
def test_mistakes_are_told_with_their_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_faults(path)
    assert told in str(caught.value)


def test_unknown_keys_of_what_may_be_null_are_told_with_the_allowed_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        load_run(None, ["hardware.chip.mvm_ns={value: 3, kind: assumed, sorce: me}"])
    assert "did you mean 'source'? allowed: kind, source, value" in str(caught.value)
