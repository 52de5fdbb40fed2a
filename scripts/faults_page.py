"""Tables and pictures of what device faults cost, from docs/reliability/faults-NAME.json."""

from __future__ import annotations

import itertools
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults_plan import KINDS, RATES, TREATMENTS, UNITS, Results, read

from aimc_deploy.report.plot import COLOURS, drawn, styled

MODELS = {
    "mini": "The bundled model, the bundled reviews",
    "minilm": "MiniLM, SST-2",
}
POINT = 0.01
"""Of accuracy, that may be lost where faults are called harmless."""


@dataclass(frozen=True)
class Mark:
    """Accuracy over chips."""

    mean: float
    std: float
    chips: int

    @property
    def text(self) -> str:
        """In percent."""
        return f"{100 * self.mean:.1f} ± {100 * self.std:.1f}"


Marks = dict[tuple[Any, ...], Mark]
"""By unit, kind, rate, treatment and time."""


def marks(results: Results) -> Marks:
    """Every cell; without faults under every unit and kind."""
    found = defaultdict(list)
    for row in results.rows:
        for unit in UNITS if row.unit is None else (row.unit,):
            for kind in KINDS if row.kind is None else (row.kind,):
                found[unit, kind, row.rate, row.treatment, row.time].append(row.accuracy)
    return {
        key: Mark(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0, len(values))
        for key, values in found.items()
    }


@dataclass(frozen=True)
class Line:
    """A line of a table: what is stuck at what and what is done, and its text at each rate."""

    kind: str
    treatment: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """What faults of one unit cost at one age."""

    unit: str
    time: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Section:
    """One model on the page.

    Attributes:
        sound: what was measured without faults, in words.
        columns: units, and the age where it is not 0 s.
        harmless: in the place of texts at each rate, the largest share in each of the columns that loses no
            more than a point.
    """

    name: str
    title: str
    results: Results
    sound: tuple[str, ...]
    tables: tuple[Table, ...]
    columns: tuple[str, ...]
    harmless: tuple[Line, ...]


def sections(folder: Path) -> list[Section]:
    """Of each model that is measured."""
    files = {name: folder / f"faults-{name}.json" for name in MODELS}
    return [_section(name, read(path)) for name, path in files.items() if path.exists()]


def pictures(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """A picture beside the results of each model."""
    for section in sections(folder):
        yield folder / f"faults-{section.name}.svg", picture(section.results, section.title)


def _section(name: str, results: Results) -> Section:
    found = marks(results)
    ages = [(unit, time) for unit in UNITS for time in _times(found, unit)]
    tables = tuple(Table(unit, time, tuple(_lines(found, unit, time))) for unit, time in ages)
    harmless = tuple(
        Line(KINDS[kind], treatment, tuple(_harmless(found, *age, kind, treatment) for age in ages))
        for kind in KINDS
        for treatment in TREATMENTS
    )
    said = {"nothing": "", "re-adaptation": ", adapted to the chip"}
    sound = tuple(
        f"{mark.text} at {time}{words}"
        for treatment, words in said.items()
        for time in _times(found, "cell")
        if (mark := found.get(("cell", "stuck_at_zero", 0.0, treatment, time))) is not None
    )
    columns = tuple(unit if time == "0s" else f"{unit}, after {time}" for unit, time in ages)
    return Section(name, MODELS[name], results, sound, tables, columns, harmless)


def _lines(found: Marks, unit: str, time: str) -> Iterator[Line]:
    for kind, treatment in ((kind, treatment) for kind in KINDS for treatment in TREATMENTS):
        own = [found.get((unit, kind, rate, treatment, time)) for rate in RATES]
        if any(own):
            yield Line(KINDS[kind], treatment, tuple("" if mark is None else mark.text for mark in own))


def _harmless(found: Marks, unit: str, time: str, kind: str, treatment: str) -> str:
    """The largest rate up to which no mean is more than a point below that without faults."""
    if unit == "tile" and treatment == "placement":
        return "any, by spare tiles"
    sound = found.get((unit, kind, 0.0, "nothing", time))
    own = {rate: found.get((unit, kind, rate, treatment, time)) for rate in RATES}
    measured = {rate: mark for rate, mark in own.items() if mark is not None}
    if sound is None or not measured:
        return ""
    last = None
    for rate, mark in measured.items():
        if mark.mean < sound.mean - POINT:
            break
        last = rate
    if last is None:
        return f"less than {percent(min(measured))}"
    return f"{percent(last)}" if last < max(measured) else f"{percent(last)} or more"


def percent(rate: float) -> str:
    """As people write it."""
    return f"{100 * rate:g} %"


def picture(results: Results, title: str) -> bytes:
    """Accuracy over the share of faults: a column for each unit at each age, a row for each kind."""
    from matplotlib.figure import Figure

    found = marks(results)
    columns = [(unit, time) for unit in UNITS for time in _times(found, unit)] or [("cell", "0s")]
    with styled():
        figure = Figure(figsize=(2.6 * len(columns) + 0.6, 7.5), layout="constrained")
        grid = figure.subplots(len(KINDS), len(columns), sharex=True, sharey=True, squeeze=False)
        for axes, (kind, (unit, time)) in zip(grid.flat, itertools.product(KINDS, columns), strict=True):
            for colour, treatment in zip(COLOURS, TREATMENTS, strict=False):
                own = [(at, found.get((unit, kind, rate, treatment, time))) for at, rate in enumerate(RATES)]
                _draw(axes, [(at, mark) for at, mark in own if mark is not None], colour, treatment)
            sound = found.get((unit, kind, 0.0, "nothing", time))
            if sound is not None:
                axes.axhline(100 * sound.mean, color="#000000", linestyle="--", linewidth=1)
            axes.set_xticks(range(len(RATES)), [f"{100 * rate:g}" for rate in RATES])
            axes.set_title(f"{unit}, {KINDS[kind]}, {time[:-1]} {time[-1]}", fontsize=10)
            axes.grid(alpha=0.25)
        for axes in grid[-1]:
            axes.set_xlabel("stuck, %")
        for row in grid:
            row[0].set_ylabel(f"{results.metric}, %")
        grid[0][0].set_ylim(top=min(101.0, grid[0][0].get_ylim()[1]))
        figure.suptitle(f"{title}: mean and standard deviation over chips; dashed: without faults")
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(TREATMENTS), frameon=False)
        return drawn(figure)


def _times(found: Marks, unit: str) -> list[str]:
    """When faults of a unit were measured."""
    return sorted({key[4] for key in found if key[0] == unit and key[2]})


def _draw(axes: Any, own: Sequence[tuple[int, Mark]], colour: str, label: str) -> None:
    axes.errorbar(
        [at for at, _ in own],
        [100 * mark.mean for _, mark in own],
        yerr=[100 * mark.std for _, mark in own],
        fmt="o-",
        color=colour,
        markersize=4,
        linewidth=1,
        capsize=2,
        label=label,
    )
