"""How exact each layer is, as a picture: a strip for each role, a bar for each encoder layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from aimc_deploy.artifact.results import LayerErrors

HEIGHT, LABEL, WIDTH = 52, 300, 936  # px of a strip, of its name, of the whole
YOUNG, OLD = "#0b6e99", "#d9730d"


def layer_picture(plan: Mapping[str, Any], measured: Sequence[LayerErrors]) -> str:
    """An SVG with the SQNR of every layer at the first time and, darker in front of it, at the last.

    Layers of one role in different parts of the model stand side by side; a bar tells its layer and figures
    when it is pointed at. Empty where nothing was measured.
    """
    if not measured:
        return ""
    first, last = measured[0], measured[-1]
    strips: dict[str, list[str]] = {}
    for entry in plan["analog"]:
        if entry["layer"] in first.sqnr_db:
            role = entry["layer"].removeprefix(f"{entry['group']}.")
            strips.setdefault(role, []).append(entry["layer"])
    top = max((value for part in measured for value in part.sqnr_db.values()), default=0.0)
    top = max(10.0, 10.0 * -(-top // 10))
    step = min(24.0, (WIDTH - LABEL) / max((len(names) for names in strips.values()), default=1))
    parts = []
    for place, (role, names) in enumerate(strips.items()):
        base = (place + 1) * HEIGHT
        parts.append(
            f'<text x="0" y="{base - 4}" font-size="12" fill="currentColor">{escape(role)}</text>'
            f'<line x1="{LABEL}" x2="{WIDTH}" y1="{base}" y2="{base}" stroke="#8888" stroke-width="0.5"/>'
        )
        for number, name in enumerate(names):
            told = f"{name}: " + ", ".join(f"{part.sqnr_db[name]:.1f} dB at {part.time}" for part in measured)
            left = LABEL + number * step
            for part, colour, share in ((first, YOUNG, 0.8), (last, OLD, 0.4)):
                tall = max(0.0, part.sqnr_db[name]) / top * (HEIGHT - 8)
                parts.append(
                    f'<rect x="{left + step * (0.8 - share) / 2:.2f}" y="{base - tall:.2f}" '
                    f'width="{step * share:.2f}" height="{tall:.2f}" fill="{colour}">'
                    f"<title>{escape(told)}</title></rect>"
                )
    bottom = (len(strips) + 1) * HEIGHT
    for place, (part, colour) in enumerate(((first, YOUNG), (last, OLD))):
        left = LABEL + place * 120
        parts.append(
            f'<rect x="{left}" y="{bottom - 30}" width="11" height="11" fill="{colour}"/>'
            f'<text x="{left + 16}" y="{bottom - 20}" font-size="12" fill="currentColor">{part.time}</text>'
        )
    parts.append(
        f'<text x="{LABEL + 240}" y="{bottom - 20}" font-size="12" fill="currentColor">'
        f"a strip is {top:.0f} dB high</text>"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom}" role="img" '
        f'font-family="system-ui, sans-serif">\n' + "\n".join(parts) + "\n</svg>\n"
    )
