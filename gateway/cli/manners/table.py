"""Tables: aligned by spaces, numbers to the right, no boxes."""

from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from gateway.cli.manners.text import cut, paint, safe, style_of, width

GAP = "  "
INDENT = "    "  # of what goes below its row
NARROW = 24  # of a last column that is cut: with less it goes below
LOOK_AHEAD = 256  # rows that decide the widths of the columns; longer cells of later rows push the line out


class Column(Struct, frozen=True):
    """What a narrow terminal has no room for: a title is as `short` says. A column that gives way is only as wide as
    leaves room for the others: a longer cell pushes its own line out, not all of them, and none is cut by that. One
    that goes `below`, which must be the last, has a line of its own under each row, where there is anything to say."""

    title: str
    align: Literal["left", "right"] = "left"
    gives_way: bool = False
    short: str = ""
    below: bool = False


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
        self._is_below = False

    def add(self, *cells: object) -> None:
        row = [safe(str(cell)) for cell in cells]
        if self._widths is not None:
            self._write_row(row, self._widths)
            return
        self._held.append(row)
        if len(self._held) >= LOOK_AHEAD:
            self.flush()

    def flush(self) -> None:
        """Writes what is held. To be called at the end."""
        if self._widths is not None or not self._held:
            return
        titles = [column.title for column in self._columns]
        widths = self._wide_enough(titles)
        if self._excess(widths) > 0:
            titles = [column.short or column.title for column in self._columns]
            widths = self._wide_enough(titles)
        least = min(widths[-1], NARROW) if self._cut else widths[-1]
        if self._columns[-1].below and self._excess([*widths[:-1], least]) > 0:
            self._is_below = True
            titles, widths = titles[:-1], widths[:-1]
        self._widths = self._fitted(titles, widths)
        if self._header:
            self._write(paint(self._line(titles, self._widths, plain=True), "dim", color=self._color))
        for row in self._held:
            self._write_row(row, self._widths)
        self._held.clear()

    def _wide_enough(self, titles: Sequence[str]) -> list[int]:
        rows = [titles, *self._held] if self._header else self._held
        return [max(width(row[i]) for row in rows) for i in range(len(titles))]

    def _excess(self, widths: Sequence[int]) -> int:
        """Columns of the terminal that are missing."""
        return 0 if self._edge is None else sum(widths) + len(GAP) * (len(widths) - 1) - self._edge

    def _fitted(self, titles: Sequence[str], widths: list[int]) -> list[int]:
        excess = self._excess(widths)
        if excess <= 0:
            return widths
        return [self._given_way(i, max(wide - excess, width(titles[i])), wide) for i, wide in enumerate(widths)]

    def _given_way(self, i: int, narrow: int, wide: int) -> int:
        """Where most rows would be pushed out, all of them had better stand straight."""
        pushed = sum(width(row[i]) > narrow for row in self._held)
        return narrow if self._columns[i].gives_way and 2 * pushed <= len(self._held) else wide

    def _write_row(self, row: Sequence[str], widths: list[int]) -> None:
        if not self._is_below:
            self._write(self._line(row, widths))
            return
        self._write(self._line(row[:-1], widths))
        if row[-1] not in {"", "-"}:
            room = (self._edge or 0) - len(INDENT)
            self._write(INDENT + (cut(row[-1], max(room, 8)) if self._cut else row[-1]))

    def _line(self, row: Sequence[str], widths: Sequence[int], *, plain: bool = False) -> str:
        room = self._edge if self._cut else None
        parts = []
        for i, (column, cell) in enumerate(zip(self._columns, row, strict=False)):
            last = i == len(row) - 1
            text = cut(cell, max(room, 8)) if last and room is not None and column.align == "left" else cell
            space = " " * (widths[i] - width(text))
            shown = text if plain else paint(text, style_of(text), color=self._color)
            left = "" if last else space
            parts.append(space + shown if column.align == "right" else shown + left)
            room = None if room is None else room - max(widths[i], width(text)) - len(GAP)
        return GAP.join(parts).rstrip()
