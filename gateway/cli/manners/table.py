"""Tables: aligned by spaces, numbers to the right, no boxes."""

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from gateway.cli.manners.text import cut, paint, safe, style_of, width

GAP = "  "
LOOK_AHEAD = 256  # rows that decide the widths of the columns; longer cells of later rows push the line out


class Column(Struct, frozen=True):
    """A column that gives way is only as wide as leaves room for the others: a longer cell pushes its own line out, not
    all of them. No cell is cut by that."""

    title: str
    align: Literal["left", "right"] = "left"
    gives_way: bool = False


class Table:
    """Rows as they come: the first ones are held until the widths are known."""

    def __init__(
        self,
        columns: Sequence[Column],
        write: Callable[[str], None],
        *,
        color: bool,
        edge: int | None,
        header: bool,
        cut: bool = True,
    ) -> None:
        """`edge` is the width of the terminal: with `cut`, the last column ends there."""
        self._columns, self._write, self._color, self._edge, self._header = columns, write, color, edge, header
        self._cut = cut
        self._held: list[list[str]] = []
        self._widths: list[int] | None = None

    def add(self, *cells: object) -> None:
        row = [safe(str(cell)) for cell in cells]
        if self._widths is not None:
            self._write(self._line(row, self._widths))
            return
        self._held.append(row)
        if len(self._held) >= LOOK_AHEAD:
            self.flush()

    def flush(self) -> None:
        """Writes what is held. To be called at the end."""
        if self._widths is not None or not self._held:
            return
        titles = [column.title for column in self._columns]
        rows = [titles, *self._held] if self._header else self._held
        self._widths = self._fitted([max(width(row[i]) for row in rows) for i in range(len(titles))])
        if self._header:
            self._write(paint(self._line(titles, self._widths, plain=True), "dim", color=self._color))
        for row in self._held:
            self._write(self._line(row, self._widths))
        self._held.clear()

    def _fitted(self, widths: list[int]) -> list[int]:
        excess = 0 if self._edge is None else sum(widths) + len(GAP) * (len(widths) - 1) - self._edge
        if excess <= 0:
            return widths
        return [
            max(wide - excess, width(column.title)) if column.gives_way else wide
            for column, wide in zip(self._columns, widths, strict=True)
        ]

    def _line(self, row: Sequence[str], widths: Sequence[int], *, plain: bool = False) -> str:
        room = self._edge if self._cut else None
        parts = []
        for i, (column, cell) in enumerate(zip(self._columns, row, strict=True)):
            last = i == len(row) - 1
            text = cut(cell, max(room, 8)) if last and room is not None and column.align == "left" else cell
            space = " " * (widths[i] - width(text))
            shown = text if plain else paint(text, style_of(text), color=self._color)
            left = "" if last else space
            parts.append(space + shown if column.align == "right" else shown + left)
            room = None if room is None else room - max(widths[i], width(text)) - len(GAP)
        return GAP.join(parts).rstrip()
