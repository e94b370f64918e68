"""All keys of a partition that match a pattern."""

from functools import partial

from eventstore.log import Log, refused
from infrastructure import lua
from infrastructure.patience import patiently

COUNT = 1_000
_scan_keys = lua.load("eventstore", "scan_keys")


async def keys_of(log: Log, partition: int, pattern: str) -> set[str]:
    """The keys that were there all the time, each once, text as far as it is text; on a lone server the pattern may be
    of several partitions. Looks at every key of the server. Raises Unavailable; while the slot moves it waits for up
    to 5 s."""
    return await patiently(partial(_walk, log, partition, pattern))


async def _walk(log: Log, partition: int, pattern: str) -> set[str]:
    """From the first key on: a cursor of SCAN means nothing to another server."""
    keys = [log.keys.head(partition), log.keys.index(partition, "")]
    found: set[str] = set()
    cursor = b"0"
    while True:
        (reply,) = await lua.call(log.redis, _scan_keys, keys, [cursor, pattern, COUNT])
        if isinstance(reply, Exception):
            raise refused(reply)
        cursor, some = reply
        found.update(key.decode(errors="replace") for key in some)
        if cursor == b"0":
            return found
