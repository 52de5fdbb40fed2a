"""Free rectangles of a tile, after Jylänki, "A thousand ways to pack the bin" (2010): maximal rectangles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Rectangle:
    """Cells from (``row``, ``col``) on."""

    row: int
    col: int
    rows: int
    cols: int

    def overlaps(self, other: Rectangle) -> bool:
        """Whether they have a cell in common."""
        return (
            self.row < other.row + other.rows
            and other.row < self.row + self.rows
            and self.col < other.col + other.cols
            and other.col < self.col + self.cols
        )

    def holds(self, other: Rectangle) -> bool:
        """Whether every cell of ``other`` is one of these."""
        return (
            self.row <= other.row
            and self.col <= other.col
            and other.row + other.rows <= self.row + self.rows
            and other.col + other.cols <= self.col + self.cols
        )

    def without(self, other: Rectangle) -> list[Rectangle]:
        """The largest rectangles of what is left when ``other`` is taken: above, below, left, right."""
        if not self.overlaps(other):
            return [self]
        end_row, end_col = self.row + self.rows, self.col + self.cols
        below, right = other.row + other.rows, other.col + other.cols
        parts = [
            Rectangle(self.row, self.col, other.row - self.row, self.cols),
            Rectangle(below, self.col, end_row - below, self.cols),
            Rectangle(self.row, self.col, self.rows, other.col - self.col),
            Rectangle(self.row, right, self.rows, end_col - right),
        ]
        return [part for part in parts if part.rows > 0 and part.cols > 0]


class Room:
    """What is free of one tile: all maximal free rectangles."""

    def __init__(self, rows: int, cols: int) -> None:
        self.free = [Rectangle(0, 0, rows, cols)]

    def find(self, rows: int, cols: int) -> Rectangle | None:
        """Where ``rows`` x ``cols`` cells fit most closely, or None: the shorter side that is left counts."""
        fitting = [free for free in self.free if free.rows >= rows and free.cols >= cols]
        if not fitting:
            return None

        def left(free: Rectangle) -> tuple[int, int, Rectangle]:
            over = sorted((free.rows - rows, free.cols - cols))
            return over[0], over[1], free

        best = min(fitting, key=left)
        return Rectangle(best.row, best.col, rows, cols)

    def left_over(self, at: Rectangle) -> int:
        """The shorter side that is left where ``at`` goes."""
        return min(
            min(free.rows - at.rows, free.cols - at.cols)
            for free in self.free
            if (free.row, free.col) == (at.row, at.col) and free.holds(at)
        )

    def is_free(self, at: Rectangle) -> bool:
        """Whether no cell of it is taken."""
        return any(free.holds(at) for free in self.free)

    def occupy(self, at: Rectangle) -> None:
        """Take cells, whether or not some were taken before."""
        parts = list(dict.fromkeys(part for free in self.free for part in free.without(at)))
        self.free = [
            part for part in parts if not any(other is not part and other.holds(part) for other in parts)
        ]
