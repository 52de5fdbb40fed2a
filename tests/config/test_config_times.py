"""Times as people write them."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from aimc_deploy.config.times import DEFAULT_TIMES, SECONDS_PER_UNIT, Time, label, seconds
from aimc_deploy.errors import ConfigError

MINUTE, HOUR, DAY = 60, 3600, 86_400
UNITS = {"s": 1, "min": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY, "mo": 30 * DAY, "y": 365 * DAY}
READ = TypeAdapter(Time).validate_python
NO_TIMES = """
s h1 1x 1H 1d2h 1,5h -1s +1s .5s 1_000s 0x10 nan inf -inf 1e999 1e308y 1m 1ms 1sec 1e True
"""


def test_every_unit_is_listed_here() -> None:
    assert SECONDS_PER_UNIT == UNITS


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 10, 0.5, 1.25])
def test_seconds_of_every_unit(unit: str, count: float) -> None:
    assert seconds(f"{count}{unit}") == count * UNITS[unit]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (0, 0.0),
        (25, 25.0),
        (0.5, 0.5),
        (1e7, 1e7),
        (1e-7, 1e-7),
        ("25", 25.0),
        ("3600.", 3600.0),
        ("1e3s", 1000.0),
        ("2.5E-1 h", 900.0),
        ("1.5e+1min", 900.0),
        ("  1 d  ", 86_400.0),
        ("007d", 604_800.0),
    ],
)
def test_spellings_of_a_time(text: str | float, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize(
    "text",
    [*NO_TIMES.split(), "", " ", "1 D", "1 d h", -1, math.nan, math.inf, None],
)
def test_what_is_no_time_is_refused_with_the_units(text: str | float) -> None:
    with pytest.raises(ConfigError) as caught:
        seconds(text)
    assert str(caught.value) == (
        f"'{text}' is no time: write a number and one of s, min, h, d, w, mo, y, for example 0s, 1h or 10y"
    )


def test_blanks_take_no_time() -> None:
    start = time.process_time()
    assert seconds(" " * 100_000 + "1" + " " * 100_000 + "y" + " " * 100_000) == seconds("1y")
    with pytest.raises(ConfigError):
        seconds("1" + " " * 100_000 + "!")
    assert time.process_time() - start < 1


@pytest.mark.parametrize("unit", UNITS)
def test_label_of_every_unit(unit: str) -> None:
    # Two of each: no two units give a whole one of a larger one.
    assert label(2.0 * UNITS[unit]) == f"2{unit}"
    assert label(1.0 * UNITS[unit]) == f"1{unit}"


@pytest.mark.parametrize(
    ("t_s", "expected"),
    [
        (0.0, "0s"),
        (0.5, "0.5s"),
        (25.0, "25s"),
        (59.0, "59s"),
        (90.0, "90s"),
        (60.5, "60.5s"),
        (24.0 * HOUR, "1d"),
        (36.0 * HOUR, "36h"),
        (14.0 * DAY, "2w"),
        (30.0 * DAY, "1mo"),
        (12 * 30.0 * DAY, "12mo"),
        (365.0 * DAY, "1y"),
        (3650.0 * DAY, "10y"),
        (float(10 * 365 * DAY + 1), "315360001s"),
        (1e-7, "1e-07s"),
    ],
)
def test_label_takes_the_largest_unit_that_divides(t_s: float, expected: str) -> None:
    assert label(t_s) == expected


def test_the_default_times_are_canonical() -> None:
    assert tuple(label(seconds(time)) for time in DEFAULT_TIMES) == DEFAULT_TIMES
    assert sorted(DEFAULT_TIMES, key=seconds) == list(DEFAULT_TIMES)


@given(st.integers(0, 10**6), st.sampled_from(sorted(UNITS)))
@example(0, "y")
def test_round_trip_of_whole_times(count: int, unit: str) -> None:
    t_s = seconds(f"{count}{unit}")
    assert t_s == count * UNITS[unit]
    assert seconds(label(t_s)) == t_s
    assert label(seconds(label(t_s))) == label(t_s)


@given(st.floats(0, 1e12))
@example(1234567.5)
@example(0.1 + 0.2)
@example(5e-324)
def test_round_trip_of_any_time(t_s: float) -> None:
    assert seconds(label(t_s)) == t_s
    assert seconds(t_s) == t_s


@given(st.integers(0, 10**4), st.sampled_from(sorted(UNITS)))
def test_a_setting_is_kept_in_its_canonical_spelling(count: int, unit: str) -> None:
    text = READ(f" {count} {unit} ")
    assert text == label(count * float(UNITS[unit]))
    assert READ(text) == text


@pytest.mark.parametrize(("value", "expected"), [(86_400, "1d"), (0.5, "0.5s"), ("24h", "1d"), (0, "0s")])
def test_a_setting_may_be_a_number_of_seconds(value: object, expected: str) -> None:
    assert READ(value) == expected


@pytest.mark.parametrize("value", [True, False, None, [], "soon", -1, math.nan])
def test_a_setting_that_is_no_time_is_refused(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        READ(value)
    assert "is no time" in str(caught.value) or "should be a valid string" in str(caught.value)
