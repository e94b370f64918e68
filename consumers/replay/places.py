"""Where streams stand in their partition: what the rows of detached streams are compared with."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from consumers.keys import GroupKeys
from consumers.scripted import Argument, ask
from eventstore.log import Log
from infrastructure import lua

STREAMS_PER_CALL = 500  # some 20,000 looks at lists: 10 ms of the server's time
_index_places = lua.load("consumers", "index_places")


class Standing(Struct, frozen=True):
    """Of a stream, about one of its versions and a position of its partition. `before` is the position of the version
    before (0: there is none, or it is archived), `at` that of the version itself (None: not appended yet; 0:
    archived), `first_above` the first version above the position, appended or next to come."""

    before: int
    at: int | None
    first_above: int


async def standings(log: Log, keys: GroupKeys, asked: Mapping[str, tuple[int, int]]) -> dict[str, Standing]:
    """By stream, about the (version, position) asked for. Raises Unavailable, LogDamaged."""
    found: dict[str, Standing] = {}
    streams = list(asked)
    for first in range(0, len(streams), STREAMS_PER_CALL):
        found |= await _page(log, keys, streams[first : first + STREAMS_PER_CALL], asked)
    return found


async def _page(
    log: Log, keys: GroupKeys, streams: Sequence[str], asked: Mapping[str, tuple[int, int]]
) -> dict[str, Standing]:
    indexes = [log.keys.index(keys.partition, stream) for stream in streams]
    args: list[Argument] = [number for stream in streams for number in asked[stream]]
    flat = await ask(log, _index_places, indexes, args)
    threes = zip(flat[::3], flat[1::3], flat[2::3], strict=True)
    return {
        stream: Standing(before, None if at < 0 else at, first_above)
        for stream, (before, at, first_above) in zip(streams, threes, strict=True)
    }
