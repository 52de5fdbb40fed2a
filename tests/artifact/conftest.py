from __future__ import annotations

import os
from pathlib import Path

import pytest
from small_bundle import create

from aimc_deploy.artifact.bundle import Bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return create(tmp_path / "bundle")


@pytest.fixture
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flush nothing: it takes most of the time, and no program that runs can tell the difference."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
