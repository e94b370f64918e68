"""What is urgent beyond the window of the main pass, found through the index of urgent events.

    urgent   1795-9,041 C   1795-12,700 H ...      ids of HIGH and CRITICAL events, as in the log
    log      1795-9,041 -> order-42, version 7
    index    order-42: ... 5 at 8,804 | 6 at 9,040, 7 at 9,041      the window ends at 9,000: 6 is the first beyond it

So version 6 and 7 of order-42 are to be handled next, in this order, and the main pass will pass over them.
"""

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING

from consumers.deliveries import Deliveries, Delivery
from consumers.holder import Urgent
from consumers.scripted import ask
from consumers.turns import CLASSES
from consumers.weights import HEAVY_BYTES
from eventstore.codec import unpack
from eventstore.log import Log
from infrastructure import lua
from infrastructure.patience import replies

if TYPE_CHECKING:
    from infrastructure.connect import Command, Reply

EVENTS_AT_ONCE, BYTES_AT_ONCE = 64, 1 << 20
PREDECESSORS = 1_024
"""Of a stream, beyond the window: with more of them it comes forward when the main pass has come nearer."""
_urgent = lua.load("consumers", "urgent")


async def urgent_beyond(
    log: Log, partition: int, after: str, read_up_to: int, deliveries: Deliveries
) -> tuple[list[Urgent], str]:
    """The streams of the first urgent events behind the entry `after`, which lies at or behind `read_up_to`, the last
    position read; each once, with the last of these events. Also the entry to go on after. Raises Unavailable."""
    keys = [log.keys.urgent(partition), log.keys.events(partition)]
    found = await ask(log, _urgent, keys, [after, EVENTS_AT_ONCE, BYTES_AT_ONCE])
    if not found:
        return [], after
    entries = [unpack(partition, entry_id, value[0]) for entry_id, *value in found if value]
    last = {each.stream: each for each in map(deliveries.one, entries) if deliveries.wanted(each)}
    large = {entry.position for entry in entries if len(entry.data) >= HEAVY_BYTES}
    urgent = await _with_predecessors(log, partition, list(last.values()), read_up_to, large)
    return urgent, found[-1][0].decode()


async def _with_predecessors(
    log: Log, partition: int, last: Sequence[Delivery], read_up_to: int, large: Container[int]
) -> list[Urgent]:
    found: list[Urgent] = []
    preceded = [each for each in last if each.version > 1]
    known = dict(zip((each.stream for each in preceded), await _positions(log, partition, preceded), strict=True))
    for entry in last:
        positions = known.get(entry.stream, (entry.position,))
        beyond = sum(int(position) > read_up_to for position in positions)
        if 0 < beyond < PREDECESSORS:
            of_class = CLASSES[entry.metadata.priority]
            first = entry.version - beyond + 1
            event = entry if beyond == 1 and entry.position not in large else None
            found.append(Urgent(entry.stream, first, int(positions[-beyond]), entry.version, of_class, event))
    return found


async def _positions(log: Log, partition: int, last: Sequence[Delivery]) -> "list[Reply]":
    """Of each event and what precedes it in its stream. Of most streams nothing is archived: their places in the index
    are asked for along with that."""
    if not last:
        return []
    keys = [log.keys.index(partition, entry.stream) for entry in last]
    ranges = [_range(key, entry.version) for key, entry in zip(keys, last, strict=True)]
    archived: list[Command] = [("LINDEX", key, 0) for key in keys]
    answers = await replies(log.redis, keys[0], *archived, *ranges)
    bases, found = [int(base) for base in answers[: len(keys)]], answers[len(keys) :]
    if others := [i for i, base in enumerate(bases) if base]:
        again = [_range(keys[i], last[i].version - bases[i]) for i in others]
        for i, positions in zip(others, await replies(log.redis, keys[0], *again), strict=True):
            found[i] = positions
    return found


def _range(key: str, place: int) -> "Command":
    return "LRANGE", key, max(place - PREDECESSORS, 1), place
