"""How a long step tells the outside how far it is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives what a workflow reports; the command line draws it."""

    def start(self, what: str, total: int | None) -> None:
        """A stage of ``total`` steps begins; it replaces the one before. None: nobody knows how many."""
        ...

    def advance(self, steps: int = 1, note: str = "") -> None:
        """``steps`` more are done; ``note`` is the figure worth showing, such as the loss."""
        ...

    def say(self, message: str) -> None:
        """A line worth keeping."""
        ...


class Silent:
    """Reports nothing."""

    def start(self, what: str, total: int | None) -> None:
        pass

    def advance(self, steps: int = 1, note: str = "") -> None:
        pass

    def say(self, message: str) -> None:
        pass
