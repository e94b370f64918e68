"""A load for worker processes: appends that are repeated until they are acknowledged, some of which workers return
events for, and what must be true of the log and of the workers' notes when all has been handled."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from uuid import UUID, uuid4

import anyio

from consumers.groups import describe_group
from consumers.keys import group_keys
from consumers.verify import check_groups
from eventstore import DurabilityNotReached, EventStore, NewEvent, OutcomeUnknown, RecordedEvent, Unavailable
from eventstore.partitions import partition_of
from eventstore.verify import CHECKS, verify
from tests.support.consumer_worker import COUNTS, GROUP, Note, Work
from tests.support.running import counted
from tests.support.servers import Server, tries, until
from tests.support.workers import Workers, assert_in_order

WRITERS, STREAMS = 4, 10
APPEND_SECONDS = 1.0


class WorkedLoad:
    """`acknowledged` are the ids of all events that are in the log, or were; `refused` counts what writers met."""

    def __init__(self, store: EventStore, *, returns: bool = True) -> None:
        self.store = store
        self._returns = returns
        self.acknowledged: list[UUID] = []
        self.refused: Counter[str] = Counter()
        self.stop = False

    async def wrote(self, more: int) -> None:
        """Until so many more events have been acknowledged."""
        wanted = len(self.acknowledged) + more
        await until(lambda: len(self.acknowledged) >= wanted, 60)

    async def write(self, writer: int) -> None:
        """To streams of its own in turn. One event in eight fails once, one in four is returned elsewhere."""
        n = 0
        while not self.stop:
            n += 1
            stream = f"order-{writer}-{n % STREAMS}"
            returns = f"echo-{n % 5}-{stream}" if self._returns and n % 4 == 1 else ""
            work = Work(failures=int(n % 8 == 0), returns=returns)
            event = NewEvent(id=uuid4(), data=work)
            await self._append(stream, event)
            await anyio.sleep(0.01)

    async def _append(self, stream: str, event: NewEvent) -> None:
        async for _ in tries(60):
            try:
                receipt = await self.store.append(stream, [event], timeout_seconds=APPEND_SECONDS)
            except (OutcomeUnknown, Unavailable, DurabilityNotReached) as error:
                self.refused[type(error).__name__] += 1
            else:
                self.acknowledged += receipt.ids
                return

    # ---- what must be true ----

    async def check(self, workers: Workers) -> int:
        """When everything that the log has is handled: once, in order, by effects and by what was returned. Returns how
        many events were acknowledged and are not there."""
        await self._until_handled()
        events = [event async for event in self.store.read_all()]
        versions = {event.stream: event.version for event in events}
        notes = workers.read()
        assert_in_order(notes)
        assert await counted(self.store, GROUP, COUNTS) == versions
        ended = {(note.stream, note.version) for note in notes if note.what == "ended"}
        assert {(event.stream, event.version) for event in events} <= ended
        assert _echoes(events) == {stream: n for stream, n in versions.items() if stream.startswith("echo-")}
        assert await verify(self.store.log, checks=[*CHECKS, check_groups]) == []
        return len(set(self.acknowledged) - {event.id for event in events})

    async def _until_handled(self) -> None:
        async for _ in tries(60):
            with suppress(Unavailable):
                shape = await describe_group(self.store, GROUP)
                detached = sum(partition.detached for partition in shape.partitions)
                if shape.lag == detached == await self._on_their_way() == 0:
                    return

    async def _on_their_way(self) -> int:
        log = self.store.log
        keys = [log.keys.outgoing(partition) for partition in range(log.partitions)]
        return sum([await log.redis.execute(key, "XLEN", key) for key in keys])


@asynccontextmanager
async def under_load(load: WorkedLoad) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        for writer in range(WRITERS):
            tasks.start_soon(load.write, writer)
        yield
        load.stop = True


def terms(notes: Sequence[Note], partitions: int) -> dict[int, int]:
    """The newest lease of each partition that is known from notes."""
    found: dict[int, int] = {}
    for note in notes:
        partition = partition_of(note.stream, partitions)
        found[partition] = max(found.get(partition, 0), note.term)
    return found


async def takeover_seconds(workers: Workers, partitions: Sequence[int], of: int, since: float) -> float:
    """Until events of all these partitions (`of` so many) are handled under a lease newer than at that time: how long
    it took."""
    before = terms([note for note in workers.read() if note.at <= since], of)
    first: dict[int, float] = {}

    def are_taken() -> bool:
        for note in workers.read():
            partition = partition_of(note.stream, of)
            if note.what == "ended" and note.term > before.get(partition, 0):
                first.setdefault(partition, note.at)
        return set(partitions) <= first.keys()

    await until(are_taken, 60)
    return max(first[partition] for partition in partitions) - since


async def until_handled_beyond(store: EventStore, server: Server, partitions: Sequence[int]) -> None:
    """Until more is appended and handled, on this server, than the log has now."""
    keys = [group_keys(store.log.keys, GROUP, partition) for partition in partitions]
    heads = [int(server.admin("HGET", each.head, "pos")) for each in keys]

    def offsets() -> list[int]:
        return [int(server.admin("HGET", each.control, "offset").partition(b"-")[2]) for each in keys]

    await until(lambda: all(offset > head for offset, head in zip(offsets(), heads, strict=True)))


def _echoes(events: Sequence[RecordedEvent]) -> dict[str, int]:
    """How many events were returned to each stream."""
    return dict(Counter(event.data.returns for event in events if event.data.returns))
