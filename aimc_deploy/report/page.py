"""The report as one HTML page that needs nothing else: the verdict first, then what it rests on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2

from aimc_deploy.artifact.noise_budget import losses
from aimc_deploy.artifact.results import Results, over_time, summarise
from aimc_deploy.artifact.sensitivity import Sensitivity
from aimc_deploy.config.hardware import Hardware
from aimc_deploy.cost.estimate import Cost
from aimc_deploy.report import quantities
from aimc_deploy.report.budget import budget_picture
from aimc_deploy.report.layers import layer_picture
from aimc_deploy.report.plot import accuracy_over_time
from aimc_deploy.report.tiles import tile_picture
from aimc_deploy.report.verdict import headline, verdict_lines


@dataclass(frozen=True)
class Subject:
    """What a page is about.

    Attributes:
        content: what ``aimc-deploy inspect`` tells of the bundle.
        results: evaluations by name.
        plan: the content of ``tile_map.json``.
        cost: on the bundle's own hardware; None for a tile map from before placements.
        sensitivity: what each layer costs, and the picture of it, if that was measured.
        settings: every configuration that the bundle keeps, by what it is of.
        made_with: version of the tool and of every library.
    """

    content: Mapping[str, Any]
    results: Mapping[str, Results]
    plan: Mapping[str, Any]
    hardware: Hardware
    cost: Cost | None
    sensitivity: tuple[Sensitivity, str] | None
    settings: Mapping[str, Any]
    made_with: Mapping[str, str]


def render(subject: Subject) -> str:
    """The page for a bundle.

    Raises:
        ConfigError: a gate is stored with results that cannot be judged by it.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aimc_deploy.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    lines = verdict_lines(subject.results)
    return environment.get_template("page.html.j2").render(
        **subject.content,
        headline=headline(lines),
        lines=lines,
        sections=[_section(name, part, subject.plan) for name, part in subject.results.items()],
        plan=subject.plan,
        # A tile map from before placements tells no groups.
        tile_picture=tile_picture(subject.plan) if "initiation_interval" in subject.plan else "",
        cost=subject.cost,
        totals=[] if subject.cost is None else quantities.totals(subject.cost),
        sizes="" if subject.cost is None else quantities.sizes(subject.cost),
        sources=quantities.sources(subject.hardware),
        uncounted=quantities.UNCOUNTED,
        sensitivity=subject.sensitivity,
        settings=subject.settings,
        made_with=subject.made_with,
    )


def _section(name: str, results: Results, plan: Mapping[str, Any]) -> dict[str, Any]:
    summaries = summarise(results)
    times, lines = over_time(results.metric, results.baselines, summaries)
    budget = losses(results)
    return {
        "name": name,
        "anchor": _identifier(name),
        "results": results,
        "chips": len({row.chip for row in results.rows}),
        "times": times,
        "lines": lines,
        "budget": budget,
        "budget_picture": budget_picture(budget),
        "layers": layer_picture(plan, results.layers),
        "svg": _inline(accuracy_over_time(results, summaries).decode(), name),
    }


def _identifier(name: str) -> str:
    return re.sub(r"\W", "-", name)


def _inline(svg: str, name: str) -> str:
    """An SVG file as a part of a page: in the page's own colours, with identifiers of its own."""
    body = svg[svg.index("<svg") :]
    body = body.replace("#000000", "currentColor").replace("fill: #ffffff", "fill: none")
    prefix = _identifier(name)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    return re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
