"""The page docs/results.md and its plots, from the measured results in docs/results."""

from __future__ import annotations


from pathlib import Path

def write_page(a, b): ...
