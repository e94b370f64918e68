"""How a group stands in its partitions: what plans are made of, and what shows how far a replay is. Changes nothing."""

from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from consumers.errors import GroupNotFound
from consumers.keys import GroupKeys, group_keys
from consumers.replay.places import standings
from consumers.replay.rows import Left, left, questions
from consumers.scope import Scope
from consumers.scripted import place
from consumers.state import Row
from eventstore.epochs import Chain, parse
from eventstore.log import Log
from infrastructure.patience import replies
from infrastructure.tasks import together

if TYPE_CHECKING:
    from infrastructure.connect import Command


class Part(Struct, frozen=True):
    """A group in one partition, as stored. `border` is the position before the first event that the log still has,
    `moved` names the last move that was made by force, `scope` is what it wanted."""

    partition: int
    offset: int
    fin: int
    mute: bool
    moved: str
    scope: Scope | None
    head: int
    chain: Chain
    border: int
    rows: dict[str, Row]

    async def left(self, log: Log, group: str, until: int | None) -> Left:
        """What is left of a replay that goes up to the position `until`. Raises Unavailable, LogDamaged."""
        asked = questions(self.rows, offset=self.offset, fin=self.fin, until=until)
        found = await standings(log, group_keys(log.keys, group, self.partition), asked)
        return left(self.rows, found, offset=self.offset, fin=self.fin, until=until)


async def parts_of(log: Log, group: str) -> list[Part]:
    """Every partition's. Raises GroupNotFound, Unavailable, LogDamaged."""
    keys = [group_keys(log.keys, group, p) for p in range(log.partitions)]
    return await together([partial(_part, log, each) for each in keys])


async def _part(log: Log, keys: GroupKeys) -> Part:
    # The offset is read before the head, which is never behind it then.
    commands: list[Command] = [
        ("HMGET", keys.control, "offset", "fin", "mute", "moved", "replay"),
        ("HGETALL", keys.detached),
        ("XRANGE", keys.log, "-", "+", "COUNT", 1),
        ("HMGET", keys.head, "pos", "epochs"),
    ]
    control, rows, first, (head, epochs) = await replies(log.redis, keys.control, *commands)
    offset, fin, mute, moved, replay = control
    if offset is None:
        raise GroupNotFound(keys.group)
    return Part(
        partition=keys.partition,
        offset=place(offset)[1],
        fin=place(fin)[1],
        mute=mute == b"1",
        moved=(moved or b"").decode(),
        scope=Scope.parse(replay or b""),
        head=int(head),
        chain=parse(epochs or b""),
        border=place(first[0][0])[1] - 1 if first else int(head),
        rows={stream.decode(): Row.parse(row) for stream, row in zip(rows[::2], rows[1::2], strict=True) if stream},
    )
