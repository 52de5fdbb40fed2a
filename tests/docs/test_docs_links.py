"""Every relative link of the documentation leads to a file that is there, and to a heading that is in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import ROOT, pages

ALL = [*pages(), *sorted((ROOT / "aimc_deploy").rglob("*.md"))]
_LINK = re.compile(r"\[[^\]]*\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")


def without_code(text: str) -> str:
    text = re.sub(r"^(\s*)(```+|~~~+).*?^\s*\2\s*$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", lambda found: "`" + "x" * (len(found[0]) - 2) + "`", text)


def links(page: Path) -> list[str]:
    found = _LINK.findall(without_code(page.read_text(encoding="utf-8")))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links, as GitHub names them."""
    text = re.sub(r"^(\s*)(```+|~~~+).*?^\s*\2\s*$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, flags=re.M):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        number = 0
        while (unique := anchor if not number else f"{anchor}-{number}") in found:
            number += 1
        found.add(unique)
    return found


@pytest.mark.parametrize("page", ALL, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            dead.append(f"{link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors(target):
            dead.append(f"{link}: no such heading")
    assert not dead, f"{page.relative_to(ROOT)}: {'; '.join(dead)}"


def test_links_and_headings_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One, `two`: 3\n\n[a](b.md#c) ![d](e.svg) [`f`](g.md) [h](https://i) `[j](k)`\n\n"
        "```\n# no heading\n[l](m)\n```\n\n## Again\n## Again\n"
    )
    assert links(page) == ["b.md#c", "e.svg", "g.md"]
    assert anchors(page) == {"one-two-3", "again", "again-1"}
