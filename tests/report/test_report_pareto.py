"""Which points nothing beats, and the picture of them."""

from __future__ import annotations

import itertools
import random
import xml.etree.ElementTree as ET
from typing import Any

import pytest

from aimc_deploy.report.pareto import front, picture


def beaten(point: tuple[float, ...], others: list[tuple[float, ...]]) -> bool:
    """By the definition."""
    return any(
        all(theirs <= own for theirs, own in zip(other, point, strict=True)) and other != point
        for other in others
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_front_is_that_of_the_definition(seed: int) -> None:
    draw = random.Random(seed)
    points = [tuple(float(draw.randint(0, 6)) for _ in range(3)) for _ in range(60)]
    found = front(points)
    assert found == [not beaten(point, points) for point in points]
    assert any(found)
    assert not all(found)


def test_what_is_not_known_is_worse_than_anything_and_equals_stay_together() -> None:
    assert front([(1, None), (1, 5), (2, None), (1, 5)]) == [False, True, False, True]
    assert front([(None, 1), (None, 2)]) == [True, False]
    assert front([]) == []


def points() -> list[dict[str, float | None]]:
    sizes = itertools.product((10, 20, 40), (1, 2))
    return [
        {
            "accuracy": 0.7 + 0.002 * tiles + 0.01 * rank - (0.1 if tiles == 20 else 0),
            "tiles": tiles,
            "token_ns": 1000.0 * tiles,
            "adapter_bytes": 2048 * rank,
        }
        for tiles, rank in sizes
    ]


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_is_the_same_for_the_same_points_and_names_its_axes() -> None:
    svg = picture(points(), [True, False] * 3, "accuracy").decode()
    assert svg == picture(points(), [True, False] * 3, "accuracy").decode()
    assert svg != picture(points(), [False, True] * 3, "accuracy").decode()
    found = texts(svg)
    for text in ("tiles", "time of a token (us)", "memory of adapters (KiB)", "accuracy"):
        assert text in found
    assert {"on the front of all", "beaten by another", "front of the two"} <= set(found)


def test_what_is_known_of_no_point_has_no_panel() -> None:
    slow: list[dict[str, Any]] = [{**point, "token_ns": None} for point in points()]
    slow[0]["accuracy"] = None
    found = texts(picture(slow, [True] * 6, "f1").decode())
    assert "time of a token (us)" not in found
    assert "tiles" in found
