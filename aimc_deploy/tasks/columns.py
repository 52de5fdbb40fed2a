"""How tables call their columns: as the hub does, as other copies of the data do, or as the user said."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aimc_deploy.errors import DataError
from aimc_deploy.tasks.registry import Task

# What other copies of the data call the columns, for tasks of one and of two texts.
_TEXT_NAMES: dict[int, tuple[tuple[str, ...], ...]] = {
    1: (("sentence", "text"),),
    2: (
        ("sentence1", "#1 String", "premise", "question1", "question"),
        ("sentence2", "#2 String", "hypothesis", "question2", "sentence"),
    ),
}
_LABEL_NAMES = ("label", "gold_label", "Quality", "is_duplicate", "score", "answer")


def own_columns(task: Task, names: Iterable[str], where: str) -> tuple[str, ...]:
    """How this table calls the text columns and, last, the label column; capitals make no difference."""
    there: dict[str, str] = {}
    for name in names:
        key = name.strip().casefold()
        if key in there:
            raise DataError(f"{where}: two columns are called '{key}': give each its own name")
        there[key] = name
    wanted = [*zip(task.text_columns, _TEXT_NAMES[len(task.text_columns)], strict=True)]
    if task.label_column:
        wanted.append((task.label_column, _LABEL_NAMES))
    if task.files is not None:  # the user said what they are called
        wanted = [(name, ()) for name, _ in wanted]
    found = []
    for name, others in wanted:
        match = [there[key] for key in map(str.casefold, (name, *others)) if key in there]
        if not match:
            raise DataError(
                f"{where}: no column '{name}' (nor {', '.join(o for o in others if o != name)}) for task "
                f"'{task.name}'; the columns there are {listed(there.values())}: rename one"
            )
        found.append(match[0])
    return tuple(found)


def listed(names: Iterable[str]) -> str:
    """The first dozen names."""
    shown = [short(name) for name in names]
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "") or "none"


def short(value: Any) -> str:
    """A value as messages show it."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
