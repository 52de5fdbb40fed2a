"""Results of an evaluation: raw rows, and their statistics over chips.

Every chip is one independent programming of the hardware, so the spread over chips is what a user of one
chip has to expect, and the interval is that of the mean over chips.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from aimc_deploy.artifact.files import dump_json, parse_json, read_json
from aimc_deploy.artifact.manifest import SCHEMA_VERSION, check_version, validated
from aimc_deploy.config.run import Gate

if TYPE_CHECKING:  # a bundle's card tells its results
    from aimc_deploy.artifact.bundle import Bundle

CONFIDENCE = 0.95
ROUNDING = 1e-12  # what a difference of two fractions may be off
LARGEST = 1.0e30
"""Beyond what any metric can be, and of which many can be added and squared."""
Metric = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]
LORA_OFF = " (LoRA off)"
"""Ends the name of an adapter whose head alone was measured, on the unadapted layers."""


class Record(BaseModel):
    """Frozen, numbers finite; fields that a later minor version added are kept when it is written again."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)


class Row(Record):
    """One adapter on one chip at one time.

    Attributes:
        adapter: name in the bundle, followed by `` (LoRA off)`` where LoRA was switched off.
        chip: number of the independent programming.
        time: since programming, as people write it.
        t_s: the same in seconds.
        metrics: all that the task is measured by, by name.
    """

    adapter: str
    chip: int
    time: str
    t_s: float
    metrics: dict[str, Metric]


class Alone(Row):
    """The same on hardware that has only one of its non-idealities.

    Attributes:
        part: the name of that one.
    """

    part: str


class Baseline(Record):
    """One adapter on the digital model, without any hardware.

    Attributes:
        adapter: as in the rows.
        metrics: as in the rows.
    """

    adapter: str
    metrics: dict[str, Metric]


class LayerErrors(Record):
    """How exact the products of each layer are on one chip at one time.

    Attributes:
        adapter, chip, time, t_s: as in the rows.
        sqnr_db: power of the exact products over that of their errors, in dB, by layer.
    """

    adapter: str
    chip: int
    time: str
    t_s: float
    sqnr_db: dict[str, float]


class Summary(Record):
    """One metric of one adapter at one time, over chips.

    Attributes:
        adapter, time, t_s: as in the rows.
        metric: which of those in the rows.
        chips: number of them.
        mean: over chips.
        std: over chips, with n - 1 in the denominator; None for one chip.
        ci_low, ci_high: 95 % Student t interval of the mean; None for one chip.
    """

    adapter: str
    time: str
    t_s: float
    metric: str
    chips: int
    mean: float
    std: float | None
    ci_low: float | None
    ci_high: float | None


class Results(Record):
    """An evaluation of one task.

    Attributes:
        schema_version: of this form; a reader of 1.x reads all of them.
        task: name of the task.
        metric: the task's primary one.
        samples: on which each row was measured.
        seed: of the chips, and of whatever else was drawn.
        hardware_digest: SHA-256 of the physics that was simulated.
        settings: whatever else the figures depend on, the whole hardware among it.
        baselines: the adapters without any hardware.
        rows: every measurement, in the order (adapter, chip, t_s).
        layers: how exact each layer is, of one chip at the first and the last time; none in results of
            earlier versions.
        noise_budget: each non-ideality alone at the first and the last time, if that was asked for.
        gate: what was asked of them; None if nothing was. It changes no figure.
    """

    schema_version: str = SCHEMA_VERSION
    task: str
    metric: str
    samples: int
    seed: int
    hardware_digest: str
    settings: dict[str, Any]
    baselines: tuple[Baseline, ...]
    rows: tuple[Row, ...]
    layers: tuple[LayerErrors, ...] = ()
    noise_budget: tuple[Alone, ...] = ()
    gate: Gate | None = None

    @field_validator("baselines")
    @classmethod
    def _sorted_baselines(cls, baselines: tuple[Baseline, ...]) -> tuple[Baseline, ...]:
        ordered = tuple(sorted(baselines, key=lambda baseline: baseline.adapter))
        for baseline, after in itertools.pairwise(ordered):
            if baseline.adapter == after.adapter:
                raise ValueError(f"the digital model with adapter '{after.adapter}' is there twice")
        return ordered

    @field_validator("rows")
    @classmethod
    def _sorted_rows(cls, rows: tuple[Row, ...]) -> tuple[Row, ...]:
        """Sort, so that equal results are equal files whatever the order they were measured in."""
        ordered = tuple(sorted(rows, key=_place))
        for row, after in itertools.pairwise(ordered):
            if _place(row) == _place(after):
                raise ValueError(f"chip {row.chip} of adapter '{row.adapter}' is there twice at {row.time}")
        return ordered

    @model_validator(mode="after")
    def _has_metric(self) -> Results:
        for part in (*self.baselines, *self.rows, *self.noise_budget):
            if self.metric not in part.metrics:
                raise ValueError(f"a result of adapter '{part.adapter}' lacks the metric '{self.metric}'")
        digital = {part.adapter for part in self.baselines}
        for part in self.noise_budget:
            if part.adapter not in digital:
                raise ValueError(f"the noise budget of adapter '{part.adapter}' lacks its digital baseline")
        return self


def _place(row: Row) -> tuple[str, int, float]:
    return row.adapter, row.chip, row.t_s


def summarise(results: Results) -> list[Summary]:
    """Statistics over chips of every metric, in the order (adapter, t_s, metric)."""
    groups: dict[tuple[str, float, str], list[float]] = {}
    times = {row.t_s: row.time for row in results.rows}
    for row in results.rows:
        for metric, value in row.metrics.items():
            groups.setdefault((row.adapter, row.t_s, metric), []).append(value)
    return [
        _summary(adapter, times[t_s], t_s, metric, values)
        for (adapter, t_s, metric), values in sorted(groups.items())
    ]


def _summary(adapter: str, time: str, t_s: float, metric: str, values: list[float]) -> Summary:
    chips, mean = len(values), statistics.fmean(values)
    std = statistics.stdev(values) if chips > 1 else None
    half = None if std is None else _t_quantile(chips - 1) * std / math.sqrt(chips)
    return Summary(
        adapter=adapter,
        time=time,
        t_s=t_s,
        metric=metric,
        chips=chips,
        mean=mean,
        std=std,
        ci_low=None if half is None else mean - half,
        ci_high=None if half is None else mean + half,
    )


@dataclass(frozen=True)
class Line:
    """One adapter in a table over time.

    Attributes:
        digital: its metric without hardware; None where that was not measured.
        cells: one for each time of the table; None where it was not measured then.
    """

    adapter: str
    digital: float | None
    cells: tuple[Summary | None, ...]


def over_time(
    metric: str, baselines: Iterable[Baseline], summaries: Iterable[Summary]
) -> tuple[tuple[str, ...], tuple[Line, ...]]:
    """A table of one metric: the times, and a line for each adapter in the order of the baselines."""
    own = [part for part in summaries if part.metric == metric]
    times = {part.t_s: part.time for part in sorted(own, key=lambda part: part.t_s)}
    cells = {(part.adapter, part.t_s): part for part in own}
    digital = {part.adapter: part.metrics[metric] for part in baselines}
    adapters = dict.fromkeys([*digital, *(part.adapter for part in own)])
    lines = (
        Line(adapter, digital.get(adapter), tuple(cells.get((adapter, t_s)) for t_s in times))
        for adapter in adapters
    )
    return tuple(times.values()), tuple(lines)


@lru_cache(maxsize=64)
def _t_quantile(degrees: int) -> float:
    """Student's t for a two-sided interval of :data:`CONFIDENCE`."""
    from scipy.stats import t  # comes with scikit-learn, and takes a second to import

    return float(t.ppf((1 + CONFIDENCE) / 2, degrees))


def to_csv(results: Results) -> str:
    """The raw rows, one column a metric."""
    metrics = sorted({metric for row in results.rows for metric in row.metrics})
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["adapter", "chip", "time", "t_s", *metrics])
    for row in results.rows:
        values = [row.metrics.get(metric, "") for metric in metrics]
        writer.writerow([row.adapter, row.chip, row.time, row.t_s, *values])
    return text.getvalue()


def to_json(results: Results) -> str:
    """Everything, with the statistics as ``summary``."""
    content = results.model_dump(mode="json")
    content["summary"] = [part.model_dump(mode="json") for part in summarise(results)]
    return dump_json(content, f"the results of '{results.task}'")


def from_json(text: str, where: str = "the results") -> Results:
    """The results in the text of :func:`to_json`; statistics are computed anew from the rows.

    Args:
        where: what to call the text in an error.

    Raises:
        ArtifactError: no valid JSON, from a newer version, or a field is missing or wrong.
    """
    return _checked(parse_json(text.encode(errors="surrogatepass"), where), where)


def from_file(path: Path) -> Results:
    """The results in a file outside of a bundle; raises as :func:`from_json`, or if it cannot be read."""
    return _checked(read_json(path), path)


def names_in(bundle: Bundle) -> list[str]:
    """Names of the results in a bundle, sorted."""
    files = (Path(name) for name in bundle.manifest.files)
    return sorted(file.stem for file in files if (str(file.parent), file.suffix) == ("results", ".json"))


def from_bundle(bundle: Bundle, name: str) -> Results:
    """The results of that name in a bundle; raises as :func:`from_json`, or if they are not there."""
    where = f"results/{name}.json"
    return _checked(bundle.read_json(where), where)


def _checked(content: Any, where: Path | str) -> Results:
    check_version(content, where)
    content.pop("summary", None)  # computed anew, and no field
    return validated(Results, content, where)
