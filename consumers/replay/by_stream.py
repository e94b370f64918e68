"""Some streams of a group go back, and the rest flows: each gets a row, one move by force in each partition."""

from consumers.holder import BOUND
from consumers.keys import group_keys
from consumers.replay.force import move_by_force
from consumers.replay.in_place import is_moved
from consumers.replay.places import Question, standings
from consumers.replay.request import About
from consumers.replay.rows import moved_by_stream
from consumers.state import Rewind, Stored, Token
from eventstore.jobs import WrongState
from eventstore.log import Log


async def move_by_stream(log: Log, about: About, job: str, partition: int) -> None:
    """Moves the streams that lie in one partition, unless this job has done so before. Raises what `move_by_force`
    does, and WrongState if the partition would have too many detached streams."""
    keys = group_keys(log.keys, about.group, partition)
    versions = {each.stream: each.to for each in about.streams if each.partition == partition}
    scope = about.scope(job, partition)

    async def make(stored: Stored, token: Token) -> Rewind | None:
        if is_moved(stored, job):
            return None
        offset = stored.offset[1]
        asked = [Question(s, row.next if (row := stored.rows.get(s)) else 1, offset) for s in versions]
        moved = {
            each.stream: moved_by_stream(
                stored.rows.get(each.stream), standing, versions[each.stream], offset=offset, fin=stored.fin
            )
            for each, standing in (await standings(log, keys, asked)).items()
        }
        rows = {stream: row for stream, row in moved.items() if row is not None}
        after = {**stored.rows, **rows}
        if len(after) > BOUND:
            raise WrongState(
                f"partition {partition} has {len(stored.rows):,} detached streams, and may have {BOUND:,}",
                field="stream",
                remedy=f"deal with its dead letters first: eventstore dlq list {about.group}",
                facts={"group": about.group, "partition": partition, "detached": len(stored.rows)},
            )
        return Rewind(token, stored.offset, stored.fin, rows=rows, replay=scope.pack())

    await move_by_force(log, keys, make)
