"""Figures of layers as a picture: a strip for each role, a bar for each encoder layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from aimc_deploy.artifact.results import LayerErrors
from aimc_deploy.artifact.sensitivity import Sensitivity

HEIGHT, LABEL, WIDTH = 52, 300, 936  # px of a strip, of its name, of the whole
COLOURS = ("#1f83b4", "#d9730d")
SHARES = (0.8, 0.4)  # of the width of a place


@dataclass(frozen=True)
class Series:
    """One kind of bar: what it is called, and its height for each layer that has one."""

    name: str
    values: Mapping[str, float]


def layer_picture(plan: Mapping[str, Any], measured: Sequence[LayerErrors]) -> str:
    """An SVG with the SQNR of every layer at the first time and, in front of it, at the last.

    Empty where nothing was measured.
    """
    if not measured:
        return ""
    ends = dict.fromkeys((0, len(measured) - 1))
    series = [Series(measured[end].time, measured[end].sqnr_db) for end in ends]
    top = max((value for part in series for value in part.values.values()), default=0.0)
    return _strips(plan, series, max(10.0, 10.0 * -(-top // 10)), "dB", 1)


def sensitivity_picture(plan: Mapping[str, Any], measured: Sensitivity) -> str:
    """An SVG with what each layer alone does to the logits; those that were kept digital are marked."""
    errors = {effect.layer: 100 * effect.error for effect in measured.layers}
    series = [
        Series("analog alone", errors),
        Series("kept digital", {name: errors[name] for name in measured.digital}),
    ]
    return _strips(plan, series, max(errors.values(), default=1.0) or 1.0, "% of the logits", 2)


def _strips(plan: Mapping[str, Any], series: Sequence[Series], top: float, unit: str, digits: int) -> str:
    """Layers of one role in different parts of the model side by side, ``top`` as high as a strip.

    A bar tells its layer and figures when it is pointed at.
    """
    strips: dict[str, list[str]] = {}
    for entry in plan["analog"]:
        if entry["layer"] in series[0].values:
            role = entry["layer"].removeprefix(f"{entry['group']}.")
            strips.setdefault(role, []).append(entry["layer"])
    step = min(24.0, (WIDTH - LABEL) / max((len(names) for names in strips.values()), default=1))
    parts = []
    for place, (role, names) in enumerate(strips.items()):
        base = (place + 1) * HEIGHT
        parts.append(
            f'<text x="0" y="{base - 4}" font-size="12" fill="currentColor">{escape(role)}</text>'
            f'<line x1="{LABEL}" x2="{WIDTH}" y1="{base}" y2="{base}" stroke="#8888" stroke-width="0.5"/>'
        )
        for number, name in enumerate(names):
            own = [part for part in series if name in part.values]
            told = ", ".join(f"{part.name} {part.values[name]:.{digits}f} {unit}" for part in own)
            for part, colour, share in zip(series, COLOURS, SHARES, strict=False):
                if name not in part.values:
                    continue
                tall = min(1.0, max(0.0, part.values[name]) / top) * (HEIGHT - 8)
                left = LABEL + number * step + step * (SHARES[0] - share) / 2
                parts.append(
                    f'<rect x="{left:.2f}" y="{base - tall:.2f}" width="{step * share:.2f}" '
                    f'height="{tall:.2f}" fill="{colour}"><title>{escape(name)}: {told}</title></rect>'
                )
    bottom = (len(strips) + 1) * HEIGHT
    for place, (part, colour) in enumerate(zip(series, COLOURS, strict=False)):
        left = LABEL + place * 130
        parts.append(
            f'<rect x="{left}" y="{bottom - 30}" width="11" height="11" fill="{colour}"/>'
            f'<text x="{left + 16}" y="{bottom - 20}" font-size="12" fill="currentColor">{part.name}</text>'
        )
    parts.append(
        f'<text x="{LABEL + 280}" y="{bottom - 20}" font-size="12" fill="currentColor">'
        f"a strip is {top:.{digits - 1}f} {unit} high</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}" role="img" '
        f'font-family="system-ui, sans-serif">\n' + "\n".join(parts) + "\n</svg>\n"
    )
