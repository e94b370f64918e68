"""A replay is cancelled: the group is put back where it was. What is left of the replay is passed over without a call;
what it has finished stays finished, what has failed stays failed.

There is no undo that would write back what was stored before: a stream that has failed since would be skipped by it,
and a letter that was handled since would be handled twice.
"""

from consumers.keys import group_keys
from consumers.replay.force import move_by_force
from consumers.replay.in_place import is_moved
from consumers.state import Rewind, Stored, Token
from eventstore.epochs import epoch_at, parse
from eventstore.log import Log


async def put_back(log: Log, group: str, job: str, partition: int) -> None:
    """In one partition, unless that is done, or the replay has not moved it. Raises what `move_by_force` does."""

    async def make(stored: Stored, token: Token) -> Rewind | None:
        if stored.mute or not is_moved(stored, job):
            return None
        offset = max(stored.offset[1], stored.fin)
        place = (epoch_at(parse(stored.epochs), offset), offset)
        return Rewind(token, place, stored.fin, mute=True, replay=stored.replay)

    await move_by_force(log, group_keys(log.keys, group, partition), make)
