"""One partition against itself: the log, walked in order, and then what says something about it.

A writer may go on meanwhile. The walk ends at the head seen at its start, and what the others say of positions beyond
that is no damage as long as it is not beyond the head of the moment either.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

from msgspec import Struct

from eventstore import audit, epochs
from eventstore.codec import FIELD, Entry, unpack_at
from eventstore.epochs import Chain
from eventstore.errors import EventsMissing, InvalidEvent, LogDamaged
from eventstore.log import Log
from eventstore.verify.findings import Findings
from eventstore.verify.ids import Ids
from eventstore.verify.indexes import check_duplicates, check_indexes, check_urgent, run
from eventstore.verify.walk import Walk

PAGE_BYTES = 4 << 20
MIN_PAGE, MAX_PAGE = 16, 1_000
RAW_ID = slice(15, 31)  # of a stored value: see codec

Advance = Callable[[int], Awaitable[None]]


class Head(Struct, frozen=True):
    """A partition's `head` as it was at the start of the check. `chain` is None if `epochs` could not be read."""

    number: int
    noted: int
    pos: int
    last: int
    chain: Chain | None
    limit: int


async def read_head(log: Log, partition: int, findings: Findings) -> Head | None:
    """None, and a finding, if there is none that can be read."""
    keys = log.keys
    # The newest entry first: the head read after it is never behind, whoever writes meanwhile.
    newest, values = await run(
        log,
        keys.head(partition),
        ("XREVRANGE", keys.events(partition), "+", "-", "COUNT", 1),
        ("HMGET", keys.head(partition), "number", "noted", "pos", "last", "epochs"),
    )
    try:
        number, noted, pos, last = (int(value) for value in values[:4])
    except (TypeError, ValueError):
        detail = f"the head of this partition is missing or unreadable: {values[:4]!r}"
        findings.add("head", 2, partition, keys.head(partition), detail)
        return None
    at = int(newest[0][0].partition(b"-")[2]) if newest else 0
    if at > pos:
        detail = f"the head says that {pos} is the last position, the log goes on to {at}"
        findings.add("head", 2, partition, keys.head(partition), detail)
    return Head(number, noted, pos, last, _chain(log, partition, values[4], findings), max(at, pos))


def _chain(log: Log, partition: int, text: bytes | None, findings: Findings) -> Chain | None:
    try:
        return epochs.parse(text or b"")
    except LogDamaged as error:
        findings.add("head", 2, partition, log.keys.head(partition), error.detail)
        return None


async def check_partition(log: Log, partition: int, head: Head, ids: Ids, findings: Findings, advance: Advance) -> None:
    """`advance` is told of each page by the number of its entries."""
    walk = Walk(partition, log.partitions, head.limit, findings)
    await _walk(log, walk, ids, advance)
    _check_head(log, walk, head)
    await check_urgent(log, walk)
    await check_duplicates(log, walk)
    await check_indexes(log, walk)
    await _same_history(log, partition, head)


async def _walk(log: Log, walk: Walk, ids: Ids, advance: Advance) -> None:
    chain = audit.Chain()
    async for page in _pages(log, walk):
        for entry_id, fields in page:
            epoch, _, position = entry_id.partition(b"-")
            _one(log, walk, ids, chain, int(epoch), int(position), fields)
        await advance(len(page))
    walk.end()


def _one(
    log: Log, walk: Walk, ids: Ids, chain: audit.Chain, epoch: int, position: int, fields: Sequence[bytes]
) -> None:
    if len(fields) != 2 or fields[0] != FIELD:
        walk.unreadable(epoch, position, f"this entry is no event: its fields are {fields[::2]!r}")
        return
    value = fields[1]
    try:
        entry = unpack_at(walk.partition, epoch, position, value)
    except LogDamaged as error:
        walk.unreadable(epoch, position, error.detail)
        return
    raw_id = value[RAW_ID]
    walk.entry(entry, raw_id)
    ids.add(raw_id, entry.recorded_at, walk.partition, position, entry.metadata.causation_id)
    _check_data(log, walk, chain, entry)


def _check_data(log: Log, walk: Walk, chain: audit.Chain, entry: Entry) -> None:
    try:
        data = log.types.decode(entry.type, entry.schema_version, entry.data)
    except InvalidEvent as error:
        walk.say("data", 1, f"position {entry.position}", error.detail)
        return
    if entry.stream == audit.STREAM:
        broken = chain.add(entry.version, entry.type, data)
        if broken is not None:
            walk.say("audit", 1, f"{audit.STREAM} version {entry.version}", f"the audit entry {broken.detail}")


async def _pages(log: Log, walk: Walk) -> AsyncIterator[list[tuple[bytes, Sequence[bytes]]]]:
    """Entries up to the limit, some 4 MiB at once, of what size they ever are."""
    key, start, count = log.keys.events(walk.partition), "-", MIN_PAGE
    while True:
        (page,) = await run(log, key, ("XRANGE", key, start, "+", "COUNT", count))
        wanted = [entry for entry in page if int(entry[0].partition(b"-")[2]) <= walk.limit]
        if wanted:
            yield wanted
        if len(page) < count or len(wanted) < len(page):
            return
        size = sum(len(value) for _, fields in page for value in fields)
        count = max(MIN_PAGE, min(MAX_PAGE, 2 * count, PAGE_BYTES * len(page) // max(size, 1)))
        start = "(" + page[-1][0].decode()


def _check_head(log: Log, walk: Walk, head: Head) -> None:
    def say(detail: str) -> None:
        walk.say("head", 2, log.keys.head(walk.partition), detail)

    if head.last < walk.newest_at:
        say(f"the head says that the newest event is of {head.last}, the log has one of {walk.newest_at}")
    if head.number < head.noted:
        say(f"the head numbers in epoch {head.number}, below the epoch {head.noted} of its newest entry")
    if head.chain is None:
        return
    if differ := walk.epochs_differ(head.chain):
        say(differ)
    newest = head.chain[-1].epoch if head.chain else 0
    if newest != head.noted:
        say(f"the head says that its newest entry is of epoch {head.noted}, and that the newest epoch is {newest}")


async def _same_history(log: Log, partition: int, head: Head) -> None:
    """A failover that lost events while this ran would look like damage. Raises EventsMissing."""
    if head.chain is None:
        return
    (values,) = await run(log, log.keys.head(partition), ("HMGET", log.keys.head(partition), "pos", "epochs"))
    common = epochs.common_position(head.chain, epochs.parse(values[1] or b""), head.pos, int(values[0] or 0))
    if common < head.pos:
        raise EventsMissing(f"partition {partition}, while it was being verified", common + 1, head.pos)
