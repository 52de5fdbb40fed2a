"""Loops over the rows of a matrix, compiled by numba, on as many threads as torch computes with."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numba
import torch
from numba import njit, prange

WORTH_A_THREAD = 1 << 14
"""Values for which another thread saves more than it costs to wake it."""

# Nothing is reordered, and no value is assumed to be finite: a NaN must come out as one.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "nsz"}, "error_model": "numpy"}

inline = njit(forceinline=True, **_OPTIONS)
"""For what is called in a loop: left outside of it, it is not vectorised and ten times slower."""


def compiled(function: Callable[..., Any], **options: Any) -> Any:
    """Compile at the first call, and keep the machine code where it can be kept."""
    try:
        return njit(cache=True, **options, **_OPTIONS)(function)
    except RuntimeError:  # neither the package nor the user's cache folder can be written to
        return njit(**options, **_OPTIONS)(function)


def compiled_for_threads(function: Callable[..., Any]) -> Any:
    """The same for a loop over ``numba.prange``."""
    return compiled(function, parallel=True)


class RowLoop:
    """A loop over rows, alone or in parts side by side.

    Args:
        serial: ``serial(first, last, *arguments)``; what a row gets must not depend on the bounds.
        threaded: ``threaded(parts, rows, arguments)``, which calls ``serial`` for each part of the rows.
    """

    def __init__(self, serial: Callable[..., int], threaded: Callable[..., int]) -> None:
        self.serial = serial
        self.threaded = threaded

    def __call__(self, rows: int, cols: int, *arguments: Any) -> int:
        """All rows; returns the sum of what the parts return, a count."""
        parts = min(torch.get_num_threads(), rows, rows * cols // WORTH_A_THREAD)
        if parts > 1:
            parts = min(parts, _threads(os.getpid()))
        if parts <= 1:
            return self.serial(0, rows, *arguments)
        usual = numba.get_num_threads()
        numba.set_num_threads(parts)
        try:
            return self.threaded(parts, rows, arguments)
        finally:
            numba.set_num_threads(usual)


_first_process = os.getpid()


@lru_cache(maxsize=1)
def _threads(process: int) -> int:
    """How many threads numba may use: 1 where more would not be safe.

    Its layer without a library (``workqueue``) ends the process when two Python threads use it at once, and
    no layer survives a fork after its first use. OpenMP's is the one that torch computes with, so that the
    two do not fight for the processors.
    """
    if process != _first_process:
        return 1
    _start(2)
    return 1 if numba.threading_layer() == "workqueue" else numba.get_num_threads()


@compiled_for_threads
def _start(parts):
    count = 0
    for part in prange(parts):
        count += part
    return count
