"""What an installed package holds: an editable installation finds files that a wheel would lack."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_room_is_installed() -> None:
    listed = re.search(r"^packages = \[\n(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)
    assert listed is not None
    packages = re.findall(r'"([^"]+)"', listed[1])
    rooms = [path.parent for path in (ROOT / "aimc_deploy").rglob("__init__.py")]
    there = [room.relative_to(ROOT).as_posix().replace("/", ".") for room in rooms]
    assert sorted(packages) == sorted([*there, "aimc_deploy.configs"])


def test_every_template_is_installed() -> None:
    """A page or a card that is made from one would fail where the package is not a clone."""
    listed = re.search(r"^aimc_deploy = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.M)
    assert listed is not None
    package = ROOT / "aimc_deploy"
    folders = {path.parent.relative_to(package).as_posix() for path in package.rglob("*.j2")}
    assert {"artifact", "report"} <= folders
    for folder in folders:
        assert f'"{folder}/*.j2"' in listed[1]
