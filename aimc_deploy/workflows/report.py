"""Report: what a bundle holds and what was measured with it, as one page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import validated
from aimc_deploy.artifact.sensitivity import FILE, PICTURE, Sensitivity
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
    plan = bundle.read_json("tile_map.json")
    page = render(inspect.run(path), inspect.read_results(bundle), plan, _sensitivity(bundle))
    bundle.put_files({"report/index.html": page.encode()})
    return ReportResult(bundle.path / "report" / "index.html")


def _sensitivity(bundle: Bundle) -> tuple[Sensitivity, str] | None:
    """What each layer costs and the picture of it, where ``map --auto-digital`` has measured it."""
    if FILE not in bundle.manifest.files or PICTURE not in bundle.manifest.files:
        return None
    measured = validated(Sensitivity, bundle.read_json(FILE), FILE)
    return measured, bundle.file(PICTURE).read_text(encoding="utf-8")
