"""The picture of layer errors: a strip for a role, a bar for a layer at each of two times."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from aimc_deploy.artifact.results import LayerErrors
from aimc_deploy.report.layers import layer_picture

PLAN = {
    "analog": [
        {"layer": f"enc.{number}.{role}", "group": f"enc.{number}"}
        for number in range(3)
        for role in ("query", "<key>")
    ]
}


def measured(time: str, t_s: float, value: float) -> LayerErrors:
    errors = {entry["layer"]: value + place for place, entry in enumerate(PLAN["analog"])}
    return LayerErrors(adapter="a", chip=0, time=time, t_s=t_s, sqnr_db=errors)


def test_every_layer_is_there_at_both_times() -> None:
    svg = layer_picture(PLAN, (measured("0s", 0.0, 20.0), measured("10y", 3e8, 10.0)))
    ElementTree.fromstring(svg)
    assert svg.count("<rect") == 2 * 6 + 2, "bars and legend"
    assert "enc.2.&lt;key&gt;: 0s 25.0 dB, 10y 15.0 dB" in svg
    assert svg.count("&lt;key&gt;</text>") == 1
    heights = [float(value) for value in re.findall(r'height="([\d.]+)" fill="#1f83b4"', svg)]
    # The first strip: layers 0, 2 and 4 of the list.
    assert [round(value / heights[0], 3) for value in heights[:3]] == [1.0, 1.1, 1.2]


def test_the_tallest_bar_fits() -> None:
    svg = layer_picture(PLAN, (measured("0s", 0.0, 195.0), measured("10y", 3e8, -5.0)))
    heights = [float(value) for value in re.findall(r' height="([\d.]+)" fill', svg)]
    assert max(heights) <= 44
    assert min(heights) == 0.0


def test_without_measurement_there_is_none() -> None:
    assert layer_picture(PLAN, ()) == ""
