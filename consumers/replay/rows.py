"""What a replay makes of rows, and what is left of it: PROTOCOLS section 4 as functions of what is stored.

    in place, T <= offset   what was finished above T goes back; the rest of the row stays what it is
    in place, T > offset    what is not finished up to T is skipped
    by stream, from w       the one row goes back, all else stays
    cancel                  no row changes: the rest is passed over (`mute`), and the offset is where it was

No row is dropped. Else what was retrying would return as a replay, and what was finished ahead as new.
"""

from collections.abc import Mapping

from msgspec import Struct

from consumers.replay.places import Question, Standing
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


def questions(rows: Mapping[str, Row], *, offset: int, fin: int, until: int | None) -> list[Question]:
    """What `left` must know of the rows that may be in a replay. Others are not asked for: ten thousand letters may be
    parked."""
    return [
        Question(stream, row.next, position)
        for stream, row in rows.items()
        for position in _borders(row, offset, fin, until)
    ]


def left(
    rows: Mapping[str, Row], answers: Mapping[Question, Standing], *, offset: int, fin: int, until: int | None
) -> Left:
    """Of a replay, up to the position `until`: the positions that the main pass has yet to go over, and what detached
    streams have yet to handle again below the offset, or above `fin`: a stream may have been ahead of its group. The
    answers are those to `questions`."""
    behind = dict.fromkeys(RowState, 0)
    for stream, row in rows.items():
        if borders := _borders(row, offset, fin, until):
            first_above = [max(answers[Question(stream, row.next, each)].first_above, row.next) for each in borders]
            below, *ahead = first_above
            behind[row.state] += below - row.next + (ahead[1] - ahead[0] if ahead else 0)
    ahead_of_all = max(_bounded(fin, until) - offset, 0)
    return Left(ahead_of_all + behind[RowState.CLEAN] + behind[RowState.RETRYING], behind[RowState.PARKED])


def _borders(row: Row, offset: int, fin: int, until: int | None) -> tuple[int, ...]:
    """The positions about which a row is asked: what it has left lies below the first, or between the others."""
    if not _may_be_in_replay(row):
        return ()
    end, both = _bounded(row.fin, until), max(offset, fin)
    return (min(end, offset), both, end) if end > both else (min(end, offset),)


def _may_be_in_replay(row: Row) -> bool:
    if row.state is RowState.CLEAN:
        return row.fin > 0
    return int(row.pending.partition("-")[2] or 0) <= row.fin


def _bounded(position: int, until: int | None) -> int:
    return position if until is None else min(position, until)
