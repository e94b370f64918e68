"""Verify: walk the whole log and check its invariants (DESIGN.md section 8, those that the log alone shows).

    1  written once: each id once, the duplicate buckets point to the events that have the ids; every entry decodes;
       the audit chain is whole
    2  positions without a gap, epochs as the head tells them, `recorded_at` never back; versions without a gap, the
       index lists equal to the log; the index of urgent events too; snapshots of events that the log has; causes before
       effects; streams where they belong

It reads everything once (8 us of CPU an event) and may run beside writers: it checks what the log held at
its start. The floors above add their checks: `verify(log, checks=[*CHECKS, check_groups])`.
"""

from collections.abc import Awaitable, Callable, Sequence

from eventstore.log import Log
from eventstore.verify.findings import Finding, Findings
from eventstore.verify.ids import Ids
from eventstore.verify.partition import check_partition, read_head

OnProgress = Callable[[int, int], Awaitable[None]]
"""Told (done, total), in events."""
Check = Callable[[Log, Findings, OnProgress], Awaitable[None]]


async def check_log(log: Log, findings: Findings, on_progress: OnProgress) -> None:
    """The log itself: invariants 1 and 2."""
    heads = [await read_head(log, partition, findings) for partition in range(log.partitions)]
    total, done = sum(head.limit for head in heads if head), 0
    ids = Ids(findings)

    async def advance(entries: int) -> None:
        nonlocal done
        done += entries
        await on_progress(min(done, total), total)

    for partition, head in enumerate(heads):
        if head is not None:
            await check_partition(log, partition, head, ids, findings, advance)
    ids.end()
    await on_progress(total, total)


CHECKS: tuple[Check, ...] = (check_log,)


async def verify(log: Log, on_progress: OnProgress | None = None, checks: Sequence[Check] = CHECKS) -> list[Finding]:
    """What is wrong with the log; nothing if all is well. Of one kind at most 20 a partition are told, then their
    number. Memory: about 155 bytes for each event of the log, and 32 for each of the largest partition. Raises
    Unavailable, and EventsMissing if the log lost events to a failover while it ran."""
    findings = Findings()
    for check in checks:
        await check(log, findings, on_progress or _silent)
    return findings.all()


async def _silent(done: int, total: int) -> None:
    """Nobody wants to know."""
