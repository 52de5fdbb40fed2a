"""Report: what a bundle holds and what was measured with it, as one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.report.page import render
from aimc_deploy.workflows import inspect


@dataclass(frozen=True)
class ReportResult:
    """Where the page is."""

    path: Path


def run(path: Path) -> ReportResult:
    """Write ``report/index.html`` into the bundle.

    Raises:
        ArtifactError: there is no bundle, or it is damaged.
    """
    bundle = Bundle.open(path)
    page = render(inspect.run(path), inspect.read_results(bundle), bundle.read_json("tile_map.json"))
    bundle.put_files({"report/index.html": page.encode()})
    return ReportResult(bundle.path / "report" / "index.html")
