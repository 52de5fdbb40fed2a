"""Statistics over chips, the files results are kept in, and the accuracy gate."""

from __future__ import annotations

import csv
import io
import json
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy import stats
from small_bundle import refusal
from small_results import chips, results, row

from aimc_deploy.artifact.noise_budget import losses
from aimc_deploy.artifact.results import (
    Alone,
    Baseline,
    from_json,
    summarise,
    to_csv,
    to_json,
)
from aimc_deploy.errors import ArtifactError

ROWS = [
    row(adapter, chip, time, accuracy=0.9 - 0.01 * chip - 0.02 * place - (adapter == "b") / 7, f1=chip / 3)
    for adapter in ("a", "b")
    for chip in range(4)
    for place, time in enumerate(("0s", "1d", "1mo", "10y"))
]
EXAMPLE = results(ROWS, {"b": 0.8, "a": 0.93})
FRACTIONS = st.floats(0, 1)


@given(st.lists(FRACTIONS, min_size=2, max_size=30))
def test_statistics_are_those_of_scipy(values: list[float]) -> None:
    (summary,) = summarise(results(chips(*values)))
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    assert (summary.adapter, summary.time, summary.metric, summary.t_s) == (
        "sst2",
        "1d",
        "accuracy",
        86_400.0,
    )
    assert summary.chips == len(values)
    assert summary.mean == pytest.approx(np.mean(values), rel=1e-12, abs=1e-15)
    assert summary.std == pytest.approx(np.std(values, ddof=1), rel=1e-9, abs=1e-12)
    if error > 1e-9:  # scipy has no interval without a spread
        low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=error)
        assert (summary.ci_low, summary.ci_high) == pytest.approx((low, high), rel=1e-9, abs=1e-9)


def test_the_interval_of_a_worked_example() -> None:
    # Two chips: t of one degree of freedom is 12.7062, the standard error half the difference.
    (summary,) = summarise(results(chips(0.8, 0.9)))
    assert summary.std == pytest.approx(math.sqrt(0.005))
    assert summary.ci_low == pytest.approx(0.85 - 12.7062 * 0.05, abs=1e-5)
    assert summary.ci_high == pytest.approx(0.85 + 12.7062 * 0.05, abs=1e-5)


def test_equal_chips_have_an_interval_without_width() -> None:
    (summary,) = summarise(results(chips(0.7, 0.7, 0.7)))
    assert (summary.std, summary.ci_low, summary.ci_high) == (0.0, summary.mean, summary.mean)
    assert summary.mean == pytest.approx(0.7)


def test_one_chip_has_no_interval() -> None:
    (summary,) = summarise(results(chips(0.7)))
    assert (summary.chips, summary.mean) == (1, 0.7)
    assert (summary.std, summary.ci_low, summary.ci_high) == (None, None, None)


def test_every_metric_has_statistics_by_adapter_and_time() -> None:
    found = summarise(EXAMPLE)
    assert [(part.adapter, part.time, part.metric) for part in found] == [
        (adapter, time, metric)
        for adapter in ("a", "b")
        for time in ("0s", "1d", "1mo", "10y")
        for metric in ("accuracy", "f1")
    ]
    assert [part.mean for part in found if part.metric == "f1"] == [pytest.approx(0.5)] * 8
    assert found[2].mean == pytest.approx(0.88 - 0.015)


def test_a_metric_that_some_chips_lack_counts_those_that_have_it() -> None:
    rows = [row("sst2", 0, "1d", accuracy=0.5, f1=0.25), row("sst2", 1, "1d", accuracy=0.7)]
    accuracy, f1 = summarise(results(rows))
    assert (accuracy.chips, f1.chips, f1.mean, f1.ci_low) == (2, 1, 0.25, None)


def test_json_round_trip() -> None:
    text = to_json(EXAMPLE)
    assert from_json(text) == EXAMPLE
    assert to_json(from_json(text)) == text
    summary = json.loads(text)["summary"]
    assert summary == [part.model_dump(mode="json") for part in summarise(EXAMPLE)]


@given(st.lists(FRACTIONS | st.sampled_from([5e-324, 1e-17, 0.1 + 0.2, 1 / 3]), min_size=1, max_size=5))
def test_no_figure_is_rounded_on_the_way(values: list[float]) -> None:
    measured = results(chips(*values))
    assert from_json(to_json(measured)) == measured
    read = list(csv.DictReader(io.StringIO(to_csv(measured))))
    assert [float(part["accuracy"]) for part in read] == values


def test_csv_has_a_row_for_each_chip_and_time() -> None:
    text = to_csv(EXAMPLE)
    assert text.splitlines()[:3] == [
        "adapter,chip,time,t_s,accuracy,f1",
        "a,0,0s,0.0,0.9,0.0",
        "a,0,1d,86400.0,0.88,0.0",
    ]
    read = [
        row(
            part["adapter"],
            int(part["chip"]),
            part["time"],
            accuracy=float(part["accuracy"]),
            f1=float(part["f1"]),
        )
        for part in csv.DictReader(io.StringIO(text))
    ]
    assert tuple(read) == EXAMPLE.rows


def test_csv_leaves_open_what_was_not_measured() -> None:
    rows = [row('odd,"name"', 0, "1d", accuracy=0.5), row("sst2", 0, "1d", accuracy=0.5, f1=1.0)]
    assert to_csv(results(rows)).splitlines()[1:] == [
        '"odd,""name""",0,1d,86400.0,0.5,',
        "sst2,0,1d,86400.0,0.5,1.0",
    ]


@settings(max_examples=30)
@given(st.randoms(use_true_random=False))
def test_the_order_of_measuring_does_not_show(chance: random.Random) -> None:
    def shuffled(values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(chance.sample(values, len(values)))

    rows = [part.model_copy(update={"metrics": dict(shuffled(list(part.metrics.items())))}) for part in ROWS]
    again = results(
        shuffled(rows),
        baselines=shuffled(EXAMPLE.baselines),
        settings=dict(shuffled(list(EXAMPLE.settings.items()))),
    )
    assert to_json(again) == to_json(EXAMPLE)
    assert to_csv(again) == to_csv(EXAMPLE)


def test_a_result_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValidationError, match="chip 1 of adapter 'sst2' is there twice at 1d"):
        results([*chips(0.1, 0.2), row("sst2", 1, "24h", accuracy=0.3)])
    twice = (
        Baseline(adapter="a", metrics={"accuracy": 0.1}),
        Baseline(adapter="a", metrics={"accuracy": 0.2}),
    )
    with pytest.raises(ValidationError, match="the digital model with adapter 'a' is there twice"):
        results(ROWS, baselines=twice)


def test_a_result_without_the_metric_of_the_task_is_refused() -> None:
    with pytest.raises(ValidationError, match="a result of adapter 'sst2' lacks the metric 'accuracy'"):
        results([row("sst2", 0, "1d", f1=0.5)])
    with pytest.raises(ValidationError, match="a result of adapter 'a' lacks the metric 'accuracy'"):
        results(ROWS, baselines=(Baseline(adapter="a", metrics={"f1": 1.0}),))


def test_a_noise_budget_has_its_metric_and_its_baseline() -> None:
    alone = Alone(**row("sst2", 0, "1d", accuracy=0.9).model_dump(), part="read_noise")
    assert losses(results(ROWS, noise_budget=(alone,)))[0].mean == pytest.approx(0.05)
    with pytest.raises(ValidationError, match="the noise budget of adapter 'b' lacks its digital baseline"):
        results(ROWS, noise_budget=(alone.model_copy(update={"adapter": "b"}),))
    with pytest.raises(ValidationError, match="a result of adapter 'sst2' lacks the metric 'accuracy'"):
        results(ROWS, noise_budget=(alone.model_copy(update={"metrics": {"f1": 0.5}}),))


def test_a_noise_budget_may_lack_the_last_time_of_one_part() -> None:
    rows = [row("sst2", 0, time, accuracy=0.9) for time in ("1d", "1y")]
    early, late = (Alone(**rows[at].model_dump(), part=part) for at, part in ((0, "early"), (1, "late")))
    found = losses(results(rows, noise_budget=(early, late)))
    assert [(loss.part, loss.time) for loss in found][:2] == [("late", "1y"), ("early", "1d")]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_figures_are_finite(value: float) -> None:
    with pytest.raises(ValidationError, match="finite number"):
        row("sst2", 0, "1d", accuracy=value)


@pytest.mark.parametrize("value", [1.1e30, -1.1e30, 1e308])
def test_no_figure_is_too_large_to_be_added_and_squared(value: float) -> None:
    with pytest.raises(ValidationError, match="than or equal to"):
        row("sst2", 0, "1d", accuracy=value)


def changed(**changes: Any) -> str:
    return json.dumps({**json.loads(to_json(EXAMPLE)), **changes})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no valid JSON"),
        ("[]", "no schema_version"),
        (changed(schema_version="2.0"), r"reads 1\.x: upgrade"),
        (changed(schema_version=None), "no schema_version"),
        (changed(task=1), "task: "),
        (changed(samples="872"), "samples: "),
        (changed(rows=None), "rows: "),
        (changed(rows=[{"adapter": "a"}]), r"rows\.0\."),
        (changed(metric="mcc"), "lacks the metric 'mcc'"),
        (changed(rows=[json.loads(ROWS[0].model_dump_json())] * 2), "is there twice"),
        (to_json(EXAMPLE).replace('"seed": 0', '"seed": 0, "seed": 1'), "'seed' is there twice"),
        (to_json(EXAMPLE).replace("0.95", "NaN").replace("0.93", "NaN"), "NaN is not finite"),
    ],
)
def test_a_file_that_is_wrong_is_refused_by_name(text: str, reason: str) -> None:
    with pytest.raises(ArtifactError, match=rf"results/a\.json.*{reason}"):
        from_json(text, "results/a.json")


def test_what_a_newer_minor_version_added_is_kept() -> None:
    found = from_json(changed(schema_version="1.9", energy_j=1))
    assert found == EXAMPLE.model_copy(update={"schema_version": "1.9", "energy_j": 1})
    assert json.loads(to_json(found))["energy_j"] == 1


def test_statistics_in_a_file_are_not_believed() -> None:
    assert summarise(from_json(changed(summary=[]))) == summarise(EXAMPLE)


@given(st.text(max_size=80) | st.sampled_from(["\ud800", '{"schema_version": "1.0", "rows": [[[]]]}']))
def test_random_text_is_refused_as_it_should_be(text: str) -> None:
    message = refusal(lambda: from_json(text))
    assert message is not None
    assert message.startswith("the results")
