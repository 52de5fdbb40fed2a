"""Where the checkpoint is that comes with the package."""

from __future__ import annotations

from pathlib import Path

BUNDLED = Path(__file__).parents[1] / "data" / "mini-mobilebert"
