"""Accuracy over time as a picture that is the same, byte for byte, for the same results."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from aimc_deploy.artifact.manifest import TOOL
from aimc_deploy.artifact.results import Results, Summary
from aimc_deploy.config.times import label

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ZERO_PLACE_S = 1.0  # where 0 s stands on a logarithmic axis, labelled as what it is
COLOURS = ("#1f83b4", "#d9730d", "#4d8b31", "#9b51a5", "#b3261e", "#5f6368")


def accuracy_over_time(
    results: Results, summaries: Sequence[Summary], kind: Literal["svg", "png"] = "svg"
) -> bytes:
    """The mean of the task's metric over chips with its 95 % interval, one line an adapter.

    The dashed line of the same colour is the adapter's model without hardware.
    """
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(7.0, 4.0), layout="constrained")
        axes = figure.subplots()
        adapters = list(dict.fromkeys(row.adapter for row in results.rows))
        times = sorted({row.t_s for row in results.rows})
        for colour, adapter in zip(COLOURS * (1 + len(adapters) // len(COLOURS)), adapters, strict=False):
            own = [part for part in summaries if part.adapter == adapter and part.metric == results.metric]
            own.sort(key=lambda part: part.t_s)
            places = [max(part.t_s, ZERO_PLACE_S) for part in own]
            axes.plot(places, [part.mean for part in own], "o-", color=colour, markersize=4, label=adapter)
            spread = [part for part in own if part.ci_low is not None and part.ci_high is not None]
            axes.fill_between(
                [max(part.t_s, ZERO_PLACE_S) for part in spread],
                [float(part.ci_low or 0) for part in spread],
                [float(part.ci_high or 0) for part in spread],
                color=colour,
                alpha=0.18,
                linewidth=0,
            )
            for baseline in results.baselines:
                if baseline.adapter == adapter:
                    axes.axhline(baseline.metrics[results.metric], color=colour, linestyle="--", linewidth=1)
        axes.set_xscale("log")
        axes.set_xticks([max(t_s, ZERO_PLACE_S) for t_s in times], [label(t_s) for t_s in times])
        axes.minorticks_off()
        axes.set_xlabel("time since programming")
        axes.set_ylabel(results.metric)
        axes.set_title(f"{results.task}: mean and 95 % interval over chips; dashed: without hardware")
        axes.grid(alpha=0.25)
        axes.legend(frameon=False)
        return drawn(figure, kind)


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw the same inside the block wherever it is: nobody's own matplotlibrc must show in the bytes."""
    import matplotlib
    from matplotlib import style

    matplotlib.use("Agg")
    # The default style first, over what is set here.
    with style.context(["default", {"svg.hashsalt": TOOL, "svg.fonttype": "none", "font.size": 10}]):
        yield


def drawn(figure: Figure, kind: Literal["svg", "png"] = "svg") -> bytes:
    """A figure as a file that is the same for the same figure; inside of :func:`styled`."""
    metadata = {"svg": {"Date": None, "Creator": TOOL}, "png": {"Software": TOOL}}
    picture = io.BytesIO()
    figure.savefig(picture, format=kind, dpi=150, metadata=metadata[kind])
    return picture.getvalue()
