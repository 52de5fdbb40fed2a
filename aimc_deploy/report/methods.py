"""Methods compared along one axis, as a picture that is the same, byte for byte, for the same figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from aimc_deploy.report.plot import COLOURS, drawn, styled

SHAPES = "osD^vP"
BESIDE = 0.05
"""Between the marks of two methods at one place, so that both are seen."""


class Mark(NamedTuple):
    """The mean at one place of the axis, and its standard deviation if it is known."""

    place: str
    mean: float
    std: float | None


def picture(
    lines: Mapping[str, Sequence[Mark]], flat: Mapping[str, float], axis: str, title: str, joined: bool
) -> bytes:
    """One mark for each method and place as an SVG, places in the order in which they come, evenly spaced.

    Args:
        lines: marks by method.
        flat: methods that do not depend on the axis, as dashed lines.
        joined: draw lines between marks.
    """
    from matplotlib.figure import Figure

    places = list(dict.fromkeys(mark.place for marks in lines.values() for mark in marks))
    with styled():
        figure = Figure(figsize=(7.5, 4.4), layout="constrained")
        axes = figure.subplots()
        for number, (method, marks) in enumerate(lines.items()):
            aside = BESIDE * (number - (len(lines) - 1) / 2)
            axes.errorbar(
                [places.index(mark.place) + aside for mark in marks],
                [mark.mean for mark in marks],
                yerr=[mark.std or 0.0 for mark in marks],
                fmt=SHAPES[number // len(COLOURS) % len(SHAPES)] + ("-" if joined else ""),
                color=COLOURS[number % len(COLOURS)],
                markersize=5,
                linewidth=1,
                capsize=2,
                label=method,
            )
        for method, mean in flat.items():
            axes.axhline(mean, color="#000000", linestyle="--", linewidth=1, label=method)
        axes.set_xticks(range(len(places)), places, rotation=0 if joined else 20)
        axes.set_ylim(0, 102)
        axes.set_xlabel(axis)
        axes.set_ylabel("accuracy (%)")
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.25)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        return drawn(figure)
