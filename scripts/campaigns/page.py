"""``docs/reliability.md``, from the results of the campaigns in ``docs/reliability``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import faults_page
import faults_plan
from jinja2 import Environment, FileSystemLoader, StrictUndefined

CAMPAIGNS = ("corruption", "hostile", "writers", "disk", "poison", "kill", "fuzz", "determinism")


def write(docs: Path) -> None:
    """Write the page, and the pictures beside the results; a campaign without a result is told as not run."""
    for path, content in faults_page.pictures(docs / "reliability"):
        path.write_bytes(content)
    (docs / "reliability.md").write_text(page(docs / "reliability"), encoding="utf-8")


def page(folder: Path) -> str:
    """The text of the page.

    Raises:
        ValueError: a result is of another campaign than its name says.
    """
    found: dict[str, dict[str, Any] | None] = {}
    for name in CAMPAIGNS:
        path = folder / f"{name}.json"
        found[name] = json.loads(path.read_text()) if path.exists() else None
        if found[name] is not None and found[name]["campaign"] != name:
            raise ValueError(f"{path} is the result of the campaign '{found[name]['campaign']}'")
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # it is Markdown
    )
    return templates.get_template("reliability.md.j2").render(
        found=found, faults=faults_page.sections(folder), plan=faults_plan, percent=faults_page.percent
    )
