"""The noise budget as a picture: a pair of bars for each non-ideality, at the first and the last time."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from aimc_deploy.artifact.noise_budget import TOGETHER, Loss
from aimc_deploy.report.layers import COLOURS

ROW, BAR, LABEL, WIDTH, FIGURES = 34, 11, 170, 760, 130  # px


def budget_picture(losses: Sequence[Loss]) -> str:
    """An SVG of what each non-ideality takes from the metric; a loss points right, a gain left.

    The thin line is the standard deviation over chips. Empty where nothing was measured.
    """
    if not losses:
        return ""
    times = list(dict.fromkeys(loss.time for loss in sorted(losses, key=lambda loss: loss.t_s)))
    ends = [loss.mean + sign * (loss.std or 0.0) for loss in losses for sign in (-1, 1)]
    low, high = min(0.0, *ends), max(1e-9, *ends)
    scale = (WIDTH - LABEL - FIGURES) / (high - low)

    def across(value: float) -> float:
        return LABEL + (value - low) * scale

    parts = []
    order = list(dict.fromkeys(loss.part for loss in losses))
    for row, part in enumerate(order):
        top = row * ROW + 4
        weight = ' font-weight="600"' if part == TOGETHER else ""
        if part == TOGETHER:
            parts.append(
                f'<line x1="0" x2="{WIDTH}" y1="{top - 3}" y2="{top - 3}" stroke="#8888" stroke-width="0.5"/>'
            )
        parts.append(
            f'<text x="0" y="{top + BAR + 4}" font-size="13" fill="currentColor"{weight}>'
            f"{escape(part)}</text>"
        )
        for place, (time, colour) in enumerate(zip(times, COLOURS, strict=False)):
            loss = next(found for found in losses if (found.part, found.time) == (part, time))
            y = top + place * (BAR + 2)
            left, right = sorted((across(0.0), across(loss.mean)))
            spread = "" if loss.std is None else f" &#177; {loss.std:.4f}"
            parts.append(
                f'<rect x="{left:.2f}" y="{y}" width="{max(right - left, 0.75):.2f}" height="{BAR}" '
                f'fill="{colour}"/>'
            )
            if loss.std:
                from_, to = across(loss.mean - loss.std), across(loss.mean + loss.std)
                middle = y + BAR / 2
                parts.append(
                    f'<line x1="{from_:.2f}" x2="{to:.2f}" y1="{middle}" y2="{middle}" '
                    f'stroke="currentColor" stroke-width="1"/>'
                )
            parts.append(
                f'<text x="{WIDTH}" y="{y + BAR - 1}" font-size="11" text-anchor="end" fill="currentColor">'
                f"{loss.mean:+.4f}{spread}</text>"
            )
    bottom = len(order) * ROW + 4
    parts.append(
        f'<line x1="{across(0.0):.2f}" x2="{across(0.0):.2f}" y1="0" y2="{bottom}" stroke="currentColor" '
        f'stroke-width="0.75"/>'
    )
    for place, (time, colour) in enumerate(zip(times, COLOURS, strict=False)):
        left = LABEL + place * 90
        parts.append(
            f'<rect x="{left}" y="{bottom + 8}" width="11" height="11" fill="{colour}"/>'
            f'<text x="{left + 16}" y="{bottom + 18}" font-size="12" fill="currentColor">'
            f"{escape(time)}</text>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 24}" role="img" '
        f'font-family="system-ui, sans-serif">\n' + "\n".join(parts) + "\n</svg>\n"
    )
