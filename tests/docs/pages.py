"""The pages of the documentation: their fenced blocks, and running those that hold commands.

- ``console``: ``$ command`` lines, ``> `` before the lines that go on, and below each what it prints. A line
  ``...`` stands for any lines, and ``...`` or ``…`` inside a line for anything. A command that fails must be
  followed by ``$ echo $?``.
- ``bash``, or no word at all: commands; what they print is not shown.
- ``<!-- file: NAME -->`` above a block of another kind: it is the content of that file.
- ``<!-- not run: REASON -->`` above a block with commands: it cannot run in a test.
- ``<!-- continues: PAGE -->`` on a page: its commands go on in the folder that those of PAGE leave.

The commands of a page run in order, by one bash, in a folder of their own that looks like a clone.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMANDS = ("", "bash", "console")
CLONE = ("aimc_deploy", "configs", "docs", "scripts")
TOLERANCE = 0.05
"""What a decimal fraction may be off: training on another processor does not end at the same last bit."""

_FENCE = re.compile(r"\s*(```+|~~~+)\s*(\S*)")
_COMMENT = re.compile(r"\s*<!--\s*(not run|file|continues):\s*(.*?)\s*-->\s*")
_PROGRESS = re.compile(r"[^:]+: \d+/\d+( .*)?")  # on a terminal it is a bar, which goes away
_VARIES = re.compile(r"(\.\.\.|…|\d+\.\d+)")
_END = "\x1e"


@dataclass(frozen=True)
class Block:
    """A fenced block: the line it begins at, its kind, what stands in it, and what a comment says of it."""

    page: Path
    line: int
    kind: str
    lines: tuple[str, ...]
    not_run: str | None = None
    file: str | None = None

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT) if self.page.is_relative_to(ROOT) else self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """What is typed, and what must be printed; None where the page does not say."""

    where: str
    text: str
    prints: tuple[str, ...] | None = None


def pages() -> list[Path]:
    """README.md and everything in docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    found, said, fence = [], {}, None
    begin, kind, indent, body = 0, "", 0, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        mark = _FENCE.match(line)
        if fence is None and mark:
            fence, kind, begin, body = mark[1], mark[2], number, []
            indent = len(line) - len(line.lstrip())
        elif fence is not None and mark and mark[1].startswith(fence) and not mark[2]:
            found.append(Block(page, begin, kind, tuple(body), said.get("not run"), said.get("file")))
            fence, said = None, {}
        elif fence is not None:
            body.append(line[indent:] if not line[:indent].strip() else line)
        elif comment := _COMMENT.fullmatch(line):
            said[comment[1]] = comment[2]
        elif line.strip():
            said = {}
    assert fence is None, f"{page}:{begin}: a block that does not end"
    return found


def continues(page: Path) -> Path | None:
    """The page whose folder the commands of this one go on in."""
    for line in page.read_text(encoding="utf-8").splitlines():
        comment = _COMMENT.fullmatch(line)
        if comment and comment[1] == "continues":
            return (page.parent / comment[2]).resolve()
    return None


def commands(block: Block) -> Iterator[Command]:
    """What a block of commands asks to be run."""
    if block.kind != "console":
        yield Command(block.where, "\n".join(block.lines))
        return
    typed: list[str] = []
    printed: list[str] = []
    for line in block.lines:
        if line.startswith("$ "):
            if typed:
                yield Command(block.where, "\n".join(typed), tuple(printed))
            typed, printed = [line[2:]], []
        elif line.startswith("> ") and typed and not printed:
            typed.append(line[2:])
        else:
            assert typed, f"{block.where}: output before any command"
            printed.append(line)
    assert typed, f"{block.where}: a console without a command"
    yield Command(block.where, "\n".join(typed), tuple(printed))


def run(page: Path, folder: Path) -> None:
    """Run the commands of a page in ``folder``; an AssertionError tells of the first that does not fit."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CLONE:
        if not (folder / name).exists():
            (folder / name).symlink_to(ROOT / name)
    script, asked = ["exec 2>&1"], []
    for block in blocks(page):
        if block.file is not None:
            script += [f"cat > {block.file} <<'{_END}'", *block.lines, _END]
        elif block.kind in COMMANDS and block.not_run is None:
            for command in commands(block):
                asked.append(command)
                script += [command.text, f"s=$?; printf '{_END}%s{_END}' $s; (exit $s)"]
    if not asked:
        return
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    done = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={**os.environ, **PLAIN, "PATH": os.pathsep.join(paths)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        timeout=900,
        check=False,
    )
    told = done.stdout.split(_END)
    outputs, codes = told[0::2], told[1::2]
    assert len(codes) == len(asked), f"{page}: the shell ended early:\n{done.stdout}"
    for at, (command, output, code) in enumerate(zip(asked, outputs, codes, strict=False)):
        shown = f"{command.where}: $ {command.text}\n{output}"
        excused = at + 1 < len(asked) and asked[at + 1].text == "echo $?"
        assert code == "0" or excused, f"exit code {code}, and no `echo $?` below\n{shown}"
        assert "Traceback (most recent call last)" not in output, shown
        if command.prints is not None:
            said = [line.rstrip() for line in output.splitlines() if not _PROGRESS.fullmatch(line.rstrip())]
            assert fits(command.prints, said), (
                f"the page does not say what is printed\n{shown}\nthe page:\n" + "\n".join(command.prints)
            )


PLAIN = {
    "COLUMNS": "100",
    "HF_HUB_OFFLINE": "1",
    "NO_COLOR": "1",
    "OMP_NUM_THREADS": "1",
    "TERM": "dumb",
}
"""A terminal of 100 columns without colours, and one thread, so that sums are rounded the same everywhere."""


def fits(prints: tuple[str, ...] | list[str], said: list[str]) -> bool:
    """Whether what was said is what the page says; empty lines at the end do not count."""
    expected, got = list(prints), list(said)
    for lines in (expected, got):
        while lines and not lines[-1].strip():
            lines.pop()
    # Where the last "..." was met, and how many lines it stood for so far.
    at, here, mark, skipped = 0, 0, None, 0
    while here < len(got):
        if at < len(expected) and expected[at].strip() in ("...", "…"):
            at, mark, skipped = at + 1, at + 1, here
        elif at < len(expected) and line_fits(expected[at], got[here]):
            at, here = at + 1, here + 1
        elif mark is not None:
            skipped += 1
            at, here = mark, skipped
        else:
            return False
    return all(line.strip() in ("...", "…") for line in expected[at:])


def line_fits(expected: str, said: str) -> bool:
    """Whether a line is the expected one; decimal fractions within :data:`TOLERANCE`, and their own size."""
    parts = _VARIES.split(expected.rstrip())
    pattern = "".join(
        ".*" if part in ("...", "…") else r"(\d+\.\d+)" if at % 2 else re.escape(part)
        for at, part in enumerate(parts)
    )
    found = re.fullmatch(pattern, said.rstrip())
    if found is None:
        return False
    numbers = [float(part) for part in parts[1::2] if part not in ("...", "…")]
    return all(
        abs(float(value) - number) <= min(TOLERANCE, max(abs(number), 0.01))
        for value, number in zip(found.groups(), numbers, strict=True)
    )
