"""A group goes back or ahead as a whole, partition by partition: one move by force in each."""

from consumers.errors import InvalidRequest
from consumers.keys import group_keys
from consumers.replay.force import move_by_force
from consumers.replay.places import Question, standings
from consumers.replay.request import About
from consumers.replay.rows import moved_in_place
from consumers.scope import Scope
from consumers.state import Rewind, Stored, Token
from eventstore.epochs import epoch_at, parse
from eventstore.log import Log


async def move_in_place(log: Log, about: About, job: str, partition: int) -> None:
    """Moves the group in one partition, unless this job has done so before. Raises what `move_by_force` does, and
    InvalidRequest if the log has lost the place to go to."""
    keys = group_keys(log.keys, about.group, partition)
    (target,) = (each.to for each in about.partitions if each.partition == partition)
    scope = about.scope(job, partition)

    async def make(stored: Stored, token: Token) -> Rewind | None:
        if is_moved(stored, job):
            return None
        if target > stored.head:
            raise InvalidRequest(
                f"position {target} of partition {partition} is beyond its head, which is at {stored.head}",
                field="to",
                remedy="the log has lost events since: plan the replay anew",
                facts={"partition": partition, "position": target, "head": stored.head},
            )
        asked = [Question(stream, row.next, target) for stream, row in stored.rows.items()]
        found = await standings(log, keys, asked)
        offset = stored.offset[1]
        moved = {
            each.stream: moved_in_place(stored.rows[each.stream], standing, offset=offset, target=target)
            for each, standing in found.items()
        }
        rows = {stream: row for stream, row in moved.items() if row is not None}
        fin = max(stored.fin, offset, target)
        place = (epoch_at(parse(stored.epochs), target), target)
        return Rewind(token, place, fin, rows=rows, replay=scope.pack())

    await move_by_force(log, keys, make)


def is_moved(stored: Stored, job: str) -> bool:
    scope = Scope.parse(stored.replay)
    return scope is not None and scope.job == job
