"""The reader of pages itself: what it takes for a block, and that a page which is wrong is found out."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages import blocks, commands, continues, fits, line_fits, run


def page(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "page.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_blocks_are_found_with_what_stands_above_them(tmp_path: Path) -> None:
    written = page(
        tmp_path,
        "<!-- continues: other.md -->",
        "Words",
        "```",
        "ls",
        "```",
        "<!-- not run: needs the hub -->",
        "```bash",
        "rm x",
        "```",
        "- in a list",
        "",
        "  <!-- file: a.yaml -->",
        "",
        "  ```yaml",
        "  a: 1",
        "    b: 2",
        "  ```",
        "<!-- not run: too far away -->",
        "Words between",
        "````text",
        "```",
        "````",
    )
    found = [(block.line, block.kind, block.lines, block.not_run, block.file) for block in blocks(written)]
    assert found == [
        (3, "", ("ls",), None, None),
        (7, "bash", ("rm x",), "needs the hub", None),
        (14, "yaml", ("a: 1", "  b: 2"), None, "a.yaml"),
        (20, "text", ("```",), None, None),
    ]
    assert continues(written) == tmp_path / "other.md"


def test_a_console_is_commands_with_what_each_prints(tmp_path: Path) -> None:
    (block,) = blocks(page(tmp_path, "```console", "$ cat <<X", "> a", "> X", "a", "$ true", "```"))
    assert [(command.text, command.prints) for command in commands(block)] == [
        ("cat <<X\na\nX", ("a",)),
        ("true", ()),
    ]


@pytest.mark.parametrize(
    ("prints", "said", "right"),
    [
        (["a", "b"], ["a", "b", ""], True),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "b"], False),
        ([], ["a"], False),
        (["a", "...", "z"], ["a", "b", "c", "z"], True),
        (["a", "...", "z"], ["a", "z"], True),
        (["a", "...", "z"], ["a", "z", "b", "z"], True),
        (["...", "m", "...", "z"], ["a", "m", "b", "m", "z"], True),
        (["a", "..."], ["a"], True),
        (["..."], [], True),
        (["a", "...", "z"], ["a", "b"], False),
        (["a", "...", "z"], ["b", "z"], False),
        (["...", "z"], ["z", "b"], False),
    ],
)
def test_three_dots_stand_for_any_lines(prints: list[str], said: list[str], right: bool) -> None:
    assert fits(prints, said) is right


@pytest.mark.parametrize(
    ("expected", "said", "right"),
    [
        ("│ 0.912 │ 0.011 │", "│ 0.931 │ 0.000 │", True),
        ("│ 0.912 │ 0.011 │", "│ 0.851 │ 0.011 │", False),
        ("56 matrices", "57 matrices", False),
        ("in 3.1... s to /tmp/…/x", "in 3.12 s to /tmp/a/b/x", True),
        ("accuracy 0.9", "accuracy", False),
        ("-0.9", "0.9", False),
        ("a.b", "axb", False),
    ],
)
def test_a_line_fits_but_for_figures_that_training_changes(expected: str, said: str, right: bool) -> None:
    assert line_fits(expected, said) is right


def test_the_commands_of_a_page_run_in_order_in_one_folder(tmp_path: Path) -> None:
    written = page(
        tmp_path,
        "<!-- file: a.txt -->",
        "```text",
        "it's $HOME",
        "```",
        "```bash",
        "mkdir new && cd new",
        "```",
        "<!-- not run: it would fail -->",
        "```",
        "false",
        "```",
        "```console",
        "$ cat ../a.txt",
        "it's $HOME",
        "$ echo 'training a: 3/7 0.5'; echo said >&2; (exit 3)",
        "said",
        "$ echo $?",
        "3",
        "```",
    )
    run(written, tmp_path / "folder")
    assert (tmp_path / "folder" / "new").is_dir()
    assert (tmp_path / "folder" / "configs" / "reviews.yaml").is_file()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["$ echo a", "b"], "does not say what is printed"),
        (["$ false"], "exit code 1"),
        (["$ false", "$ echo done", "done"], "exit code 1"),
        (["$ exit 0", "$ true"], "ended early"),
        (["$ echo 'Traceback (most recent call last):'", "..."], "Traceback"),
    ],
)
def test_a_page_that_is_wrong_is_found_out(tmp_path: Path, lines: list[str], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        run(page(tmp_path, "```console", *lines, "```"), tmp_path / "folder")
