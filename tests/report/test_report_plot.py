"""The plot of accuracy over time, read as the XML that it is."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import matplotlib
import pytest

from aimc_deploy.artifact.results import Baseline, Results, Row, summarise
from aimc_deploy.config.times import seconds
from aimc_deploy.report.plot import COLOURS, accuracy_over_time

SVG = "{http://www.w3.org/2000/svg}"
TIMES = ("0s", "1h", "1d", "1mo", "10y")


def results(
    adapters: Sequence[str] = ("sst2", "mrpc"), chips: int = 3, times: Sequence[str] = TIMES
) -> Results:
    return Results(
        task="reviews",
        metric="accuracy",
        samples=100,
        seed=0,
        hardware_digest="b" * 64,
        settings={},
        baselines=tuple(Baseline(adapter=name, metrics={"accuracy": 0.95}) for name in adapters),
        rows=tuple(
            Row(
                adapter=name,
                chip=chip,
                time=time,
                t_s=seconds(time),
                metrics={"accuracy": 0.9 - 0.01 * chip - 0.02 * place - 0.03 * index, "f1": 0.123},
            )
            for index, name in enumerate(adapters)
            for chip in range(chips)
            for place, time in enumerate(times)
        ),
    )


def plot(measured: Results) -> str:
    return accuracy_over_time(measured, summarise(measured)).decode()


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg.encode()).iter(f"{SVG}text")]


def styles(svg: str) -> list[str]:
    return [element.get("style", "") for element in ElementTree.fromstring(svg.encode()).iter()]


def curve(svg: str, colour: str) -> list[tuple[float, float]]:
    """The points of the solid line of that colour; y points down."""
    paths = ElementTree.fromstring(svg.encode()).iter(f"{SVG}path")
    (path,) = [
        path.get("d", "")
        for path in paths
        if path.get("clip-path")
        and f"stroke: {colour}" in path.get("style", "")
        and "dasharray" not in path.get("style", "")
    ]
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path)]


def test_the_plot_says_what_it_shows() -> None:
    svg = plot(results())
    assert ElementTree.fromstring(svg.encode()).tag == f"{SVG}svg"
    found = texts(svg)
    for name in ("sst2", "mrpc", *TIMES):
        assert found.count(name) == 1
    assert "accuracy" in found
    assert "time since programming" in found
    assert "reviews: mean and 95 % interval over chips; dashed: without hardware" in found


def test_the_plot_needs_nothing_from_elsewhere() -> None:
    svg = plot(results())
    links = [
        value
        for element in ElementTree.fromstring(svg.encode()).iter()
        for name, value in element.attrib.items()
        if name.split("}")[-1] in ("href", "src")
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "<script" not in svg
    assert not re.search(r"url\((?!#)", svg)


def test_equal_results_give_equal_bytes() -> None:
    first = plot(results())
    assert plot(results()) == first
    shuffled = results().model_dump()
    for part in ("rows", "baselines"):
        shuffled[part] = random.Random(0).sample(shuffled[part], len(shuffled[part]))
    assert plot(Results.model_validate(shuffled)) == first
    assert plot(results(chips=4)) != first


def test_the_settings_of_a_user_do_not_show_and_are_kept() -> None:
    first = plot(results())
    own = {
        "lines.linewidth": 7.0,
        "axes.grid": True,
        "svg.fonttype": "path",
        "font.size": 20.0,
        "axes.facecolor": "red",
    }
    with matplotlib.rc_context(own):
        assert plot(results()) == first
        assert {name: matplotlib.rcParams[name] for name in own} == own


def test_the_bytes_do_not_tell_when_they_were_made() -> None:
    svg = plot(results())
    assert "<dc:title>aimc-deploy</dc:title>" in svg
    assert "<dc:date>" not in svg


def test_the_curve_falls_with_the_accuracy_and_walks_through_the_times() -> None:
    points = curve(plot(results()), COLOURS[0])
    assert len(points) == len(TIMES)
    assert points == sorted(points)  # later is further right, worse is further down
    assert [y for _, y in points] == sorted(y for _, y in points)
    assert len({x for x, _ in points}) == len(TIMES)


def test_one_chip_has_a_curve_and_no_interval() -> None:
    one, three = plot(results(["sst2"], chips=1)), plot(results(["sst2"], chips=3))
    assert [f"fill: {COLOURS[0]}; fill-opacity: 0.18" in styles(svg) for svg in (one, three)] == [False, True]
    assert len(curve(one, COLOURS[0])) == len(TIMES)
    assert set(texts(one)) >= {"sst2", *TIMES}


@pytest.mark.parametrize("times", [("0s",), ("1d",), ("0s", "10y"), ("1h", "2h", "3h")])
def test_any_choice_of_times(times: tuple[str, ...]) -> None:
    assert {name: texts(plot(results(times=times))).count(name) for name in times} == dict.fromkeys(times, 1)


def test_more_adapters_than_colours() -> None:
    names = [f"task-{index}" for index in range(2 * len(COLOURS) + 1)]
    found = texts(plot(results(names)))
    assert [name for name in names if name not in found] == []


def test_an_adapter_without_a_digital_model_has_no_dashed_line() -> None:
    def dashed(measured: Results) -> int:
        return plot(measured).count("stroke-dasharray: 3.7,1.6")

    both = results()
    assert dashed(both) == 2
    assert dashed(both.model_copy(update={"baselines": both.baselines[:1]})) == 1


def test_names_are_text_and_never_markup() -> None:
    name = "<script>&\"'"
    svg = plot(results([name]))
    assert "<script" not in svg
    assert name in texts(svg)
