"""What handlers returned, on its way: `:out` of the partition where it was returned, and the marks in `:in` of those
that take it."""

import re
import struct
from collections.abc import Sequence

from eventstore.codec import unpack
from eventstore.errors import LogDamaged
from eventstore.log import Log
from eventstore.verify import Findings
from infrastructure.patience import replies

PAGE = 500
_FIELDS = [b"q", b"s", b"e", b"c", b"l"]
_BEGINNING = struct.pack(">BQ", 1, 1) + (1).to_bytes(6, "big")
"""What take.lua puts before a packed event: format, time and version."""
_MARK = re.compile(rb"\d+-\d+")


async def check_returned(log: Log, partition: int, findings: Findings) -> None:
    """Raises Unavailable."""
    key = log.keys.outgoing(partition)
    start = "-"
    while True:
        (page,) = await replies(log.redis, key, ("XRANGE", key, start, "+", "COUNT", PAGE), bearing={"WRONGTYPE"})
        if isinstance(page, Exception):
            findings.add("returned", 1, partition, key, f"it cannot be read: {page}; restore a backup")
            break
        for entry_id, fields in page:
            if wrong := _wrong_with(log, partition, entry_id, fields):
                remedy = "keep a copy of it, and XDEL it: nothing behind it is carried on"
                findings.add("returned", 1, partition, f"{key} {entry_id.decode()}", f"{wrong}; {remedy}")
        if len(page) < PAGE:
            break
        start = "(" + page[-1][0].decode()
    await _check_marks(log, partition, findings)


def _wrong_with(log: Log, partition: int, entry_id: bytes, fields: Sequence[bytes]) -> str | None:
    if fields[::2] != _FIELDS:
        return f"it is no returned event: its fields are {fields[::2]!r}"
    target, stream, packed, cause, letter = fields[1::2]
    if not target.isdigit() or int(target) >= log.partitions:
        return f"it is for partition {target!r}, of {log.partitions}"
    if not cause.isdigit() or letter not in (b".", b"N", b"H", b"C"):
        return f"its cause was recorded at {cause!r}, its priority is {letter!r}"
    try:
        entry = unpack(partition, entry_id, _BEGINNING + packed)
    except LogDamaged as error:
        return error.detail
    return None if entry.stream.encode() == stream else f"it is for {stream!r}, and its event says {entry.stream!r}"


async def _check_marks(log: Log, partition: int, findings: Findings) -> None:
    key = log.keys.incoming(partition)
    sources = [str(source) for source in range(log.partitions)]
    (marks,) = await replies(log.redis, key, ("HMGET", key, *sources), bearing={"WRONGTYPE"})
    if isinstance(marks, Exception):
        findings.add("mark", 1, partition, key, f"it cannot be read: {marks}; restore a backup")
        return
    for source, mark in zip(sources, marks, strict=True):
        if mark is not None and not _MARK.fullmatch(mark):
            remedy = f"look at the end of this log what came from there last, and HSET {key} {source} to its id"
            findings.add(
                "mark", 1, partition, key, f"what it took last from partition {source} reads {mark!r}; {remedy}"
            )
