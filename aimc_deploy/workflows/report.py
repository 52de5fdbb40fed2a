"""Report: what a bundle holds and what was measured with it, as one page, and in short as Markdown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimc_deploy.artifact.bundle import Bundle
from aimc_deploy.artifact.manifest import TOOL, validated
from aimc_deploy.artifact.results import summarise
from aimc_deploy.artifact.sensitivity import FILE, PICTURE, Sensitivity
from aimc_deploy.cost.estimate import LENGTH, RANK, TOKENS, Cost, estimate
from aimc_deploy.report.markdown import report_markdown
from aimc_deploy.report.page import Subject, render
from aimc_deploy.report.plot import accuracy_over_time
from aimc_deploy.workflows import inspect
from aimc_deploy.workflows.adapters import read_record
from aimc_deploy.workflows.base import read_hardware


@dataclass(frozen=True)
class ReportResult:
    """Where the page is."""

    path: Path


def run(path: Path) -> ReportResult:
    """Write ``index.html`` into the bundle's folder ``report``; ``report.md`` and the plots as PNG beside it.

    Raises:
        ArtifactError: there is no bundle, or it is damaged.
        ConfigError: a gate is stored with results that cannot be judged by it.
    """
    bundle = Bundle.open(path)
    results = inspect.read_results(bundle)
    subject = Subject(
        content=inspect.run(path),
        results=results,
        plan=bundle.read_json("tile_map.json"),
        hardware=read_hardware(bundle),
        cost=_cost(bundle),
        sensitivity=_sensitivity(bundle),
        settings=_settings(bundle),
        made_with={TOOL: bundle.manifest.tool_version, **bundle.manifest.libraries},
    )
    title = f"{subject.content['source']['source']} on {subject.hardware.name}"
    files = {
        "report/index.html": render(subject).encode(),
        "report/report.md": report_markdown(title, results).encode(),
    }
    for name, part in results.items():
        files[f"report/{name}.png"] = accuracy_over_time(part, summarise(part), "png")
    bundle.put_files(files)
    return ReportResult(bundle.path / "report" / "index.html")


def _cost(bundle: Bundle) -> Cost | None:
    """On the bundle's own hardware, with the largest adapter and the longest samples that it has."""
    plan = bundle.read_json("tile_map.json")
    if "initiation_interval" not in plan:
        return None
    records = [read_record(bundle, name) for name in bundle.adapters()]
    rank = max((record.training["lora"]["r"] for record in records if record.method == "lora"), default=RANK)
    length = max((record.max_length for record in records), default=LENGTH)
    return estimate(plan, read_hardware(bundle), rank=rank, tokens=TOKENS, length=length)


def _settings(bundle: Bundle) -> dict[str, Any]:
    """Every configuration that the bundle keeps: of the mapping, of each adapter, of each evaluation."""
    adapters = {f"adapter {name}": read_record(bundle, name).training for name in bundle.adapters()}
    results = {f"results {name}": part.settings for name, part in inspect.read_results(bundle).items()}
    return {"mapping": bundle.read_json("run.json"), **adapters, **results}


def _sensitivity(bundle: Bundle) -> tuple[Sensitivity, str] | None:
    """What each layer costs and the picture of it, where ``map --auto-digital`` has measured it."""
    if FILE not in bundle.manifest.files or PICTURE not in bundle.manifest.files:
        return None
    measured = validated(Sensitivity, bundle.read_json(FILE), FILE)
    return measured, bundle.file(PICTURE).read_text(encoding="utf-8")
