"""The picture of the tiles: every block in its place, and names as text."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest

from aimc_deploy.report.tiles import ACROSS, COLOURS, GAP, SIDE, tile_picture

SVG = "{http://www.w3.org/2000/svg}"


def plan(*layers: tuple[str, str, list[dict[str, Any]]]) -> dict[str, Any]:
    return {
        "tile": {"rows": 64, "cols": 128},
        "analog": [{"layer": layer, "group": group, "blocks": blocks} for layer, group, blocks in layers],
    }


def block(tile: int, at: tuple[int, int], rows: int, cols: int) -> dict[str, Any]:
    return {"tile": tile, "at": list(at), "rows": [0, rows], "cols": [0, cols]}


def groups(svg: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(f"{SVG}g"))


def test_blocks_are_where_they_sit() -> None:
    svg = tile_picture(
        plan(
            ("enc.0.query", "enc.0", [block(0, (0, 0), 32, 64), block(3, (16, 64), 48, 64)]),
            ("enc.1.query", "enc.1", [block(3, (0, 0), 16, 32)]),
        )
    )
    first, second = groups(svg)
    assert first.attrib["transform"] == "translate(0 0)"
    assert second.attrib["transform"] == f"translate({SIDE + GAP} 0)", "tiles without blocks are not drawn"
    tile, one, other = second
    assert (tile.attrib["width"], tile.attrib["height"]) == (str(SIDE), str(SIDE))
    shown = [float(one.attrib[key]) for key in ("x", "y", "width", "height")]
    assert shown == pytest.approx([SIDE / 2, SIDE / 4, SIDE / 2, SIDE * 3 / 4])
    assert one.attrib["fill"] == other.attrib["fill"] == COLOURS[0], "one role, one colour"
    assert one[0].text == "tile 3: enc.0.query, 48 x 64 at row 16, column 64"


def test_every_role_is_in_the_legend_and_names_are_text() -> None:
    layers = [(f"enc.0.<{n}>&", "enc.0", [block(n, (0, 0), 8, 8)]) for n in range(ACROSS + 2)]
    root = ElementTree.fromstring(tile_picture(plan(*layers)))
    assert [text.text for text in root.iter(f"{SVG}text")] == [f"<{n}>&" for n in range(ACROSS + 2)]
    width, height = map(float, root.attrib["viewBox"].split()[2:])
    for part in root.iter(f"{SVG}text"):
        assert 0 <= float(part.attrib["x"]) <= width
        assert 0 <= float(part.attrib["y"]) <= height
    assert (
        groups(tile_picture(plan(*layers)))[-1].attrib["transform"] == f"translate({SIDE + GAP} {SIDE + GAP})"
    )


def test_it_needs_nothing_from_elsewhere() -> None:
    svg = tile_picture(plan(("a.0.q", "a.0", [block(0, (0, 0), 1, 1)])))
    assert "http" not in svg.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "<script" not in svg
