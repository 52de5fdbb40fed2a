"""Times as people write them: ``0s``, ``1h``, ``1d``, ``1w``, ``1mo``, ``1y``, ``10y``, or seconds."""

from __future__ import annotations

import math
import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from aimc_deploy.errors import ConfigError

SECONDS_PER_UNIT = {
    "s": 1.0,
    "min": 60.0,
    "h": 3_600.0,
    "d": 86_400.0,
    "w": 604_800.0,
    "mo": 2_592_000.0,  # 30 days, as the field counts a month
    "y": 31_536_000.0,
}
DEFAULT_TIMES = ("0s", "1h", "1d", "1w", "1mo", "1y", "10y")
_PATTERN = re.compile(r"(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([a-z]*)")


def seconds(text: str | float) -> float:
    """Seconds in a time such as ``"1mo"``; a bare number is seconds.

    Raises:
        ConfigError: the text is no time, is negative or is not finite.
    """
    match = _PATTERN.fullmatch(str(text).strip())  # blanks at the end of a pattern take their square
    unit = (match.group(2) or "s") if match else ""
    value = float(match.group(1)) * SECONDS_PER_UNIT[unit] if match and unit in SECONDS_PER_UNIT else math.nan
    if not math.isfinite(value):
        units = ", ".join(SECONDS_PER_UNIT)
        raise ConfigError(
            f"'{text}' is no time: write a number and one of {units}, for example 0s, 1h or 10y"
        )
    return value


def label(t_s: float) -> str:
    """The shortest exact way to write ``t_s`` seconds, in the largest unit that divides it."""
    for unit, size in sorted(SECONDS_PER_UNIT.items(), key=lambda item: -item[1]):
        count = t_s / size
        if count >= 1 and count.is_integer() and count * size == t_s:
            return f"{count:.0f}{unit}"
    return f"{float(t_s)!r}s".replace(".0s", "s")


def _checked(text: str | float) -> str:
    try:
        return label(seconds(text))
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _as_text(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Time = Annotated[str, BeforeValidator(_as_text), AfterValidator(_checked)]
"""A time since the end of programming, in its canonical spelling."""
