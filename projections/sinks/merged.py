"""Changes of a batch, made fewer and put in an order that all transactions share.

Changes of single rows are merged row by row, and go out sorted by row: two partitions that add to the same rows would
else wait for each other. What may be about many rows keeps its place between them.

    add a 1, put b, add a 2, change where ..., add b 1   ->   add a 3, put b | change where ... | add b 1
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from consumers.state import Effect
from projections.rows import ADD, PUT, REMOVE

_Row = tuple[str, tuple[Any, ...]]


def merged(changes: Iterable[Effect], tables: Mapping[str, sa.Table]) -> Iterator[Effect]:
    """What comes to the same as all of them, one after the other."""
    rows: dict[_Row, list[Effect]] = {}
    for change in changes:
        key = _key(change, tables)
        if key is None:
            yield from _in_order(rows)
            rows = {}
            yield change
            continue
        of_row = rows.setdefault((change.key, key), [])
        if of_row and (joined := _joined(of_row[-1], change)) is not None:
            of_row[-1] = joined
        else:
            of_row.append(change)
    yield from _in_order(rows)


def _in_order(rows: Mapping[_Row, Sequence[Effect]]) -> Iterator[Effect]:
    """The first change of every row, which locks it, in order of the rows; then the second ones, and so on."""
    ordered = [rows[row] for row in sorted(rows, key=repr)]
    for turn in range(max(map(len, ordered), default=0)):
        yield from (changes[turn] for changes in ordered if turn < len(changes))


def _key(change: Effect, tables: Mapping[str, sa.Table]) -> tuple[Any, ...] | None:
    """The primary key of the only row that a change is about; None if there may be more."""
    if change.command not in (PUT, ADD, REMOVE):
        return None
    columns, values = change.args
    places = _places(tables[change.key], change.command, columns)
    return None if places is None else tuple([values[place] for place in places])


@lru_cache(maxsize=4_096)
def _places(table: sa.Table, command: str, columns: Any) -> tuple[int, ...] | None:
    """Where the primary key is among the values of such a change; None if it is about rows by other columns."""
    primary = [column.name for column in table.primary_key]
    names = columns[0] if command == ADD else columns
    if command == REMOVE and set(names) != set(primary):
        return None
    return tuple(names.index(name) for name in primary)


def _joined(before: Effect, after: Effect) -> Effect | None:
    """One change for two of a row, if there is one."""
    if (before.command, before.args[0]) != (after.command, after.args[0]):
        return None
    if after.command != ADD:
        return after
    keys = len(after.args[0][0])
    sums = [one + other for one, other in zip(before.args[1][keys:], after.args[1][keys:], strict=True)]
    return Effect(ADD, after.key, (after.args[0], (*after.args[1][:keys], *sums)))
