"""The tile map as a picture: every tile a square, every block where it sits, coloured by what it does."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

SIDE, GAP, ACROSS = 44, 8, 18  # px, px, tiles in a row
COLOURS = (
    *("#1f83b4", "#d9730d", "#4d8b31", "#9b51a5", "#b3261e", "#5f6368", "#2f9e9e", "#c9a227"),
    *("#7a5c3e", "#e07a9c", "#3949ab", "#8fae5d", "#ad6f3b", "#6a8caf", "#a23b72"),
)


def tile_picture(plan: Mapping[str, Any]) -> str:
    """An SVG of all tiles that hold something.

    Inputs run downwards, outputs to the right, as on the crossbar. A block tells its layer when it is pointed
    at; layers of one role in different encoder layers have one colour.
    """
    tiles: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    for entry in plan["analog"]:
        for block in entry["blocks"]:
            tiles.setdefault(block["tile"], []).append((entry["layer"], block))
    groups = {entry["layer"]: entry["group"] for entry in plan["analog"]}
    roles = {layer: layer.removeprefix(f"{group}.") for layer, group in groups.items()}
    order = list(dict.fromkeys(roles.values()))
    colours = {role: COLOURS[place % len(COLOURS)] for place, role in enumerate(order)}
    down, right = SIDE / plan["tile"]["rows"], SIDE / plan["tile"]["cols"]
    parts = []
    for place, number in enumerate(sorted(tiles)):
        left, top = (place % ACROSS) * (SIDE + GAP), (place // ACROSS) * (SIDE + GAP)
        parts.append(f'<g transform="translate({left} {top})">')
        parts.append(f'<rect width="{SIDE}" height="{SIDE}" fill="#8882" stroke="#8888" stroke-width="0.5"/>')
        for layer, block in tiles[number]:
            rows, cols = (block[side][1] - block[side][0] for side in ("rows", "cols"))
            row, col = block["at"]
            told = f"tile {number}: {escape(layer)}, {rows} x {cols} at row {row}, column {col}"
            parts.append(
                f'<rect x="{col * right:.2f}" y="{row * down:.2f}" width="{cols * right:.2f}" '
                f'height="{rows * down:.2f}" fill="{colours[roles[layer]]}" stroke="#fff" stroke-width="0.5">'
                f"<title>{told}</title></rect>"
            )
        parts.append("</g>")
    height = -(-len(tiles) // ACROSS) * (SIDE + GAP) + GAP
    for place, role in enumerate(order):
        top = height + (place // 3) * 18
        left = (place % 3) * ACROSS * (SIDE + GAP) // 3
        parts.append(f'<rect x="{left}" y="{top}" width="11" height="11" fill="{colours[role]}"/>')
        parts.append(
            f'<text x="{left + 16}" y="{top + 10}" font-size="12" fill="currentColor">{escape(role)}</text>'
        )
    width = ACROSS * (SIDE + GAP)
    total = height + -(-len(order) // 3) * 18 + GAP
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" role="img" '
        f'font-family="system-ui, sans-serif">\n' + "\n".join(parts) + "\n</svg>\n"
    )
