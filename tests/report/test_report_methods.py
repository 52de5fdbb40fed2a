"""The picture of methods along an axis: all of it is there, and the same figures give the same bytes."""

from __future__ import annotations

import re

import matplotlib

from aimc_deploy.report.methods import Mark, picture

LINES = {
    "one": [Mark("0.6", 27.7, 7.3), Mark("2.5", 94.2, None)],
    "two": [Mark("2.5", 96.2, 0.4)],
}


def test_methods_places_and_the_baseline_are_in_it() -> None:
    text = picture(LINES, {"digital": 97.6}, "tau", "a title", True).decode()
    assert text.startswith("<?xml")
    for word in ("one", "two", "digital", "0.6", "2.5", "tau", "a title", "accuracy (%)"):
        assert f">{word}</text>" in text, word


def test_lines_are_drawn_only_where_they_are_asked_for() -> None:
    def paths(joined: bool) -> int:
        return len(re.findall(r"<path d=", picture(LINES, {}, "tau", "t", joined).decode()))

    assert paths(True) > paths(False)


def test_the_same_figures_give_the_same_bytes_whatever_matplotlibrc_says() -> None:
    first = picture(LINES, {"digital": 97.6}, "tau", "t", True)
    with matplotlib.rc_context({"font.size": 30, "svg.hashsalt": "other"}):
        assert picture(LINES, {"digital": 97.6}, "tau", "t", True) == first
    changed = {**LINES, "two": [Mark("2.5", 96.3, 0.4)]}
    assert picture(changed, {"digital": 97.6}, "tau", "t", True) != first
