"""Which points of a sweep nothing beats, and a picture of them that is the same for the same points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from aimc_deploy.report.plot import COLOURS, drawn, styled

AXES = {"tiles": "tiles", "token_ns": "time of a token (us)", "adapter_bytes": "memory of adapters (KiB)"}
_SCALE = {"token_ns": 1e-3, "adapter_bytes": 1 / 1024}
OTHER = "#b8bcc2"


def front(values: Sequence[Sequence[float | None]]) -> list[bool]:
    """For each point, whether no other is at least as good in all and better in one.

    Args:
        values: of each point, smaller is better; what is not known is worse than anything that is.
    """
    if not values:
        return []
    table = np.array([[np.inf if value is None else value for value in point] for point in values])
    return [not bool(((table <= point).all(axis=1) & (table < point).any(axis=1)).any()) for point in table]


def picture(points: Sequence[Mapping[str, float | None]], on_front: Sequence[bool], label: str) -> bytes:
    """Accuracy against tiles, time and memory as an SVG: a panel for each of them that is known.

    Args:
        points: with ``accuracy`` and the keys of :data:`AXES`.
        on_front: of all of these together. The line is the front of the panel's two alone.
        label: of the accuracy.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    known = [key for key in AXES if any(point[key] is not None for point in points)]
    with styled():
        figure = Figure(figsize=(0.8 + 3.2 * len(known), 3.6), layout="constrained")
        panels = figure.subplots(1, len(known), sharey=True, squeeze=False)[0]
        for axes, key in zip(panels, known, strict=True):
            there = [
                (float(point[key] or 0) * _SCALE.get(key, 1.0), float(point["accuracy"] or 0), best)
                for point, best in zip(points, on_front, strict=True)
                if point[key] is not None and point["accuracy"] is not None
            ]
            for best, colour, size, name in (
                (False, OTHER, 22, "beaten by another"),
                (True, COLOURS[0], 34, "on the front of all"),
            ):
                own = [(x, y) for x, y, is_best in there if is_best == best]
                axes.scatter(
                    [x for x, _ in own], [y for _, y in own], s=size, color=colour, label=name, zorder=3
                )
            line = sorted(
                (x, y)
                for (x, y, _), best in zip(there, front([(x, -y) for x, y, _ in there]), strict=True)
                if best
            )
            axes.step(
                [x for x, _ in line],
                [y for _, y in line],
                where="post",
                color=COLOURS[0],
                linewidth=1,
                label="front of the two",
            )
            axes.xaxis.set_major_locator(MaxNLocator(5, integer=key == "tiles"))
            axes.set_xlabel(AXES[key])
            axes.grid(alpha=0.25)
        panels[0].set_ylabel(label)
        figure.legend(
            *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False
        )
        return drawn(figure)
