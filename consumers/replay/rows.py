"""What a replay makes of rows, and what is left of it: PROTOCOLS section 4 as functions of what is stored.

    in place, T <= offset   what was finished above T goes back; the rest of the row stays what it is
    in place, T > offset    what is not finished up to T is skipped
    by stream, from w       the one row goes back, all else stays
    cancel                  no row changes: the rest is passed over (`mute`), and the offset is where it was

No row is dropped. Else what was retrying would return as a replay, and what was finished ahead as new.
"""

from collections.abc import Mapping

from msgspec import Struct

from consumers.replay.places import Standing
from consumers.state import Row, RowState


def moved_in_place(row: Row, standing: Standing, *, offset: int, target: int) -> Row | None:
    """The row of a stream when its group goes to `target`, about which the standing is (and about `row.next`); None if
    it stays as it is."""
    if target <= offset:
        if standing.before <= target:
            return None
        return Row(standing.first_above, fin=max(row.fin, standing.before))
    if standing.at is None or standing.at > target:
        return None
    return Row(standing.first_above, fin=max(row.fin, target))


def moved_by_stream(row: Row | None, standing: Standing, version: int, *, offset: int, fin: int) -> Row | None:
    """The row of a stream that is replayed from `version` on; None if it has not finished that one. With a row the
    standing is about `row.next`, without one about the offset."""
    if row is None:
        if version >= standing.first_above:
            return None
        return Row(version, fin=max(offset, fin))
    if version >= row.next:
        return None
    return Row(version, fin=max(row.fin, standing.before))


class Left(Struct, frozen=True):
    """Events of a replay that are not handled again yet: `open`, and those that wait for an operator, because an event
    of their stream is parked as a part of the replay."""

    open: int
    waiting: int


def to_ask(rows: Mapping[str, Row], *, offset: int, until: int | None) -> dict[str, tuple[int, int]]:
    """What `left` must know of the rows that may be in a replay: about their `next`, and the last position below the
    offset that they go back over. Other rows are not asked for: ten thousand letters may be parked."""
    return {stream: (row.next, _highest(row, offset, until)) for stream, row in rows.items() if _may_be_in_replay(row)}


def left(
    rows: Mapping[str, Row], standings: Mapping[str, Standing], *, offset: int, fin: int, until: int | None
) -> Left:
    """Of a replay, up to the position `until`: the positions that the main pass has yet to go over, and what detached
    streams have yet to handle again below the offset. `standings` answer `to_ask`."""
    ahead = max(_bounded(fin, until) - offset, 0)
    behind = {RowState.PARKED: 0, RowState.RETRYING: 0, RowState.CLEAN: 0}
    for stream, standing in standings.items():
        row = rows[stream]
        behind[row.state] += max(standing.first_above - row.next, 0)
    return Left(ahead + behind[RowState.CLEAN] + behind[RowState.RETRYING], behind[RowState.PARKED])


def _may_be_in_replay(row: Row) -> bool:
    if row.state is RowState.CLEAN:
        return row.fin > 0
    return int(row.pending.partition("-")[2] or 0) <= row.fin


def _highest(row: Row, offset: int, until: int | None) -> int:
    return _bounded(min(row.fin, offset), until)


def _bounded(position: int, until: int | None) -> int:
    return position if until is None else min(position, until)
