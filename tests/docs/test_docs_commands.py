"""Every command that the documentation shows is run, and prints what the page says; or a reason is given."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from pages import COMMANDS, ROOT, blocks, continues, pages, run

RUNNABLE = [
    page for page in pages() if any(block.kind in COMMANDS and not block.not_run for block in blocks(page))
]


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture(scope="session")
def folder_after(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Path]:
    """The folder that the commands of a page leave, run once."""
    done: dict[Path, Path] = {}

    def after(page: Path) -> Path:
        if page not in done:
            folder, before = tmp_path_factory.mktemp(page.stem) / "clone", continues(page)
            if before is not None:
                shutil.copytree(after(before), folder, symlinks=True)
            run(page, folder)
            done[page] = folder
        return done[page]

    return after


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", RUNNABLE, ids=name)
def test_the_commands_of_a_page_do_what_it_says(page: Path, folder_after: Callable[[Path], Path]) -> None:
    folder_after(page)


@pytest.mark.parametrize("page", pages(), ids=name)
def test_what_is_said_of_a_block_fits_its_kind(page: Path) -> None:
    """Else a reason would excuse nothing, or a file would be written by nobody."""
    for block in blocks(page):
        if block.not_run is not None:
            assert block.kind in (*COMMANDS, "python"), f"{block.where}: nothing would run here"
            assert len(block.not_run.split()) > 1, f"{block.where}: give a reason"
        if block.kind == "python":
            assert block.file or block.not_run, (
                f"{block.where}: give it a file (<!-- file: NAME.py -->) that a command runs, or say why "
                "nobody runs it (<!-- not run: REASON -->)"
            )
        if block.file is not None:
            assert block.kind not in COMMANDS, f"{block.where}: commands are run and not written to a file"
