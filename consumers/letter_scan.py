"""Finds the streams of groups that fail, a partition after the other, with bounded memory.

A group has at most 10,000 detached streams in a partition, so the names of one partition are held at once, in order:
that makes a cursor of (group, partition, stream) good for ever, which a cursor of HSCAN is not. Why they fail, up to
10 kB each, is read in pages.
"""

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator, Sequence
from difflib import get_close_matches

import msgspec
from msgspec import Struct

from consumers.errors import GroupNotFound, InvalidRequest
from consumers.failure import Failure
from consumers.groups import group_names
from consumers.keys import GroupKeys, group_keys, home_of
from consumers.letter_shape import Letter, Where
from consumers.scripted import ask
from consumers.state import Row, RowState
from eventstore.log import Log
from eventstore.names import plain_name
from infrastructure import lua
from infrastructure.patience import replies

ROWS_AT_ONCE = 500
LETTERS_AT_ONCE = 200
TRACEBACKS_AT_ONCE = 50
_letters = lua.load("consumers", "letters")


class LetterPlace(Struct, frozen=True, array_like=True):
    """Behind a letter, in the order in which they are listed: group, partition, name of the stream."""

    group: str
    partition: int
    stream: str

    def __str__(self) -> str:
        return urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> "LetterPlace":
        """Raises InvalidRequest for what no page has given as `next`."""
        try:
            return _decode_place(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest(
                f"the cursor {text[:60]!r} cannot be used", field="cursor", remedy="one that a page has as its next"
            ) from error


_decode_place = msgspec.json.Decoder(LetterPlace).decode


async def scan(
    log: Log,
    groups: Sequence[str],
    where: Where,
    *,
    retrying: bool = False,
    tracebacks: bool = False,
    after: LetterPlace | None = None,
) -> AsyncIterator[list[Letter]]:
    """Pages of letters, each stream once, in order of LetterPlace; none is empty. What fails or is mended meanwhile is
    found or not. Raises Unavailable, LogDamaged."""
    first = (after.group, after.partition) if after else ("", 0)
    for group in groups:
        for partition in range(log.partitions):
            if (group, partition) < first:
                continue
            keys = group_keys(log.keys, group, partition)
            names = [name for name in await failing(log, keys, retrying=retrying) if where.may_match(name)]
            if after and (group, partition) == first:
                names = [name for name in names if name > after.stream]
            size = TRACEBACKS_AT_ONCE if tracebacks else LETTERS_AT_ONCE
            for i in range(0, len(names), size):
                page = await letters_of(log, keys, names[i : i + size], tracebacks=tracebacks)
                wanted = [each for each in page if (retrying or each.is_parked) and where.matches(each)]
                if wanted:
                    yield wanted


async def failing(log: Log, keys: GroupKeys, *, retrying: bool) -> list[str]:
    """The streams of a group in a partition that are parked, and those that are retrying if wanted, in order."""
    found: set[str] = set()
    cursor = b"0"
    while True:
        ((cursor, flat),) = await replies(
            log.redis, keys.detached, ("HSCAN", keys.detached, cursor, "COUNT", ROWS_AT_ONCE)
        )
        for stream, packed in zip(flat[::2], flat[1::2], strict=True):
            if stream and ((state := Row.parse(packed).state) is RowState.PARKED or _is_wanted(state, retrying)):
                found.add(stream.decode())
        if cursor == b"0":
            return sorted(found)


def _is_wanted(state: RowState, retrying: bool) -> bool:
    return retrying and state is RowState.RETRYING


async def letters_of(log: Log, keys: GroupKeys, streams: Sequence[str], *, tracebacks: bool = False) -> list[Letter]:
    """Of these streams those that fail now. Raises Unavailable, LogDamaged."""
    if not streams:
        return []
    indexes = [log.keys.index(keys.partition, stream) for stream in streams]
    now_us, *facts = await ask(log, _letters, [keys.detached, keys.errors, *indexes], [int(tracebacks), *streams])
    found = []
    for stream, packed, failure, version in zip(streams, facts[::3], facts[1::3], facts[2::3], strict=True):
        row = None if packed is None else Row.parse(packed)
        if row is not None and row.state is not RowState.CLEAN:
            why = None if failure is None else Failure.parse(failure)
            found.append(Letter(keys.group, stream, keys.partition, row, why, version, now_us))
    return found


async def groups_of(log: Log, group: str | None) -> list[str]:
    """The group, or all there are. Raises GroupNotFound, which names those that are called alike."""
    if group is None:
        return await group_names(log)
    plain_name(group, "group")
    home = group_keys(log.keys, group, home_of(group, log.partitions))
    (is_there,) = await replies(log.redis, home.control, ("EXISTS", home.control))
    if not is_there:
        near = get_close_matches(group, await group_names(log), n=3)
        raise GroupNotFound(group, f"there is no group {group}, did you mean {' or '.join(near)}?" if near else None)
    return [group]
