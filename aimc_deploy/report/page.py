"""The report as one HTML page that needs nothing else: tables, and the plots inside it as SVG."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jinja2

from aimc_deploy.artifact.results import Results, Summary, summarise
from aimc_deploy.artifact.sensitivity import Sensitivity
from aimc_deploy.report.layers import layer_picture
from aimc_deploy.report.plot import accuracy_over_time
from aimc_deploy.report.tiles import tile_picture


def render(
    content: Mapping[str, Any],
    results: Mapping[str, Results],
    plan: Mapping[str, Any],
    sensitivity: tuple[Sensitivity, str] | None = None,
) -> str:
    """The page for a bundle.

    Args:
        content: what ``aimc-deploy inspect`` tells of the bundle.
        plan: the content of ``tile_map.json``.
        results: evaluations by name.
        sensitivity: what each layer costs, and the picture of it, if that was measured.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("aimc_deploy.report", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    sections = [_section(name, part, plan) for name, part in results.items()]
    # A tile map from before placements tells no groups.
    tiles = tile_picture(plan) if "initiation_interval" in plan else ""
    return environment.get_template("page.html.j2").render(
        **content, sections=sections, plan=plan, tile_picture=tiles, sensitivity=sensitivity
    )


def _section(name: str, results: Results, plan: Mapping[str, Any]) -> dict[str, Any]:
    summaries = [part for part in summarise(results) if part.metric == results.metric]
    times = list(dict.fromkeys(part.time for part in sorted(summaries, key=lambda part: part.t_s)))
    cells: dict[str, dict[str, Summary]] = {}
    for part in summaries:
        cells.setdefault(part.adapter, {})[part.time] = part
    return {
        "name": name,
        "results": results,
        "chips": len({row.chip for row in results.rows}),
        "times": times,
        "digital": {part.adapter: part.metrics[results.metric] for part in results.baselines},
        "cells": cells,
        "layers": layer_picture(plan, results.layers),
        "svg": _inline(accuracy_over_time(results, summaries), name),
    }


def _inline(svg: str, name: str) -> str:
    """An SVG file as a part of a page: without its prologue, and with identifiers of its own."""
    body = svg[svg.index("<svg") :]
    prefix = re.sub(r"\W", "-", name)
    body = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', body)
    body = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", body)
    return re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', body)
