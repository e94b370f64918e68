"""Events that handlers return: causes, what waits, and the steps of a worker that dies in between, made by hand."""

from msgspec import Struct

from consumers.commit_call import commit
from consumers.consumer import Consumer, consumer
from consumers.context import To
from consumers.creation import ensure_group
from consumers.keys import group_keys
from consumers.lease_calls import acquire, release
from consumers.outbox import Call, Outbox
from consumers.relay_calls import read_outgoing, take
from consumers.returned import events_of, outgoing
from consumers.state import Commit, Outgoing, Stored
from eventstore import EventStore, Metadata, NewEvent, RecordedEvent


class Placed(Struct, frozen=True):
    n: int


class Paid(Struct, frozen=True):
    n: int


class Shipped(Struct, frozen=True):
    n: int


@consumer("pay")
async def pay(event: Placed) -> To:
    return To(f"payment-{7 * event.n}", Paid(event.n))


async def placed(store: EventStore, number: int, metadata: Metadata | None = None) -> None:
    """The causes: one in each of so many streams."""
    for n in range(number):
        await store.append(f"order-{n}", [NewEvent(data=Placed(n), metadata=metadata)])


async def found(store: EventStore, kind: type[Struct]) -> list[RecordedEvent]:
    return [event async for event in store.read_all() if isinstance(event.data, kind)]


async def waiting(store: EventStore) -> int:
    """How many returned events have not been taken, or not been removed."""
    keys = [store.log.keys.outgoing(p) for p in range(store.log.partitions)]
    return sum([int(await store.log.redis.execute(key, "XLEN", key)) for key in keys])


async def commit_by_hand(store: EventStore, group: str, handling: Consumer) -> None:
    """What a worker does up to its commit, and no further: all causes are handled, all that they bring about waits."""
    await ensure_group(store.log, group, handling.start)
    for partition in range(store.log.partitions):
        keys = group_keys(store.log.keys, group, partition)
        stored = await acquire(store.log, keys, "by-hand", 60_000)
        assert isinstance(stored, Stored)
        token, number, last = stored.token("by-hand"), 0, None
        out: list[Outgoing] = []
        async for event in store.read_partition(partition):
            if not isinstance(event.data, Placed):
                continue
            out += await _returned(store, group, handling, event)
            last = event
        if last is not None:
            for first in range(0, len(out), 500):
                number += 1
                offset = (last.epoch, last.position) if first + 500 >= len(out) else stored.offset
                some = tuple(out[first : first + 500])
                await commit(store.log, keys, Commit(token, number, offset, out=some))
        await release(store.log, keys, token)


async def relayed(store: EventStore, number: int) -> None:
    """What a relay of each partition does until so many events have been taken, and no removal."""
    for partition in range(store.log.partitions):
        box = Outbox()
        box.tell()
        call: Call | None = None
        while call is None or not call.entries:
            while reading := box.next_reading():
                box.read(reading, await read_outgoing(store.log, partition, reading))
            flow = next(flow for flow in box.flows.values() if flow.call is not None)
            call = flow.call
            assert call is not None
            call = Call(call.expect, call.entries[:number])
            box.answered(flow, await take(store.log, partition, flow.target, call))


async def _returned(store: EventStore, group: str, handling: Consumer, event: RecordedEvent) -> tuple[Outgoing, ...]:
    handler = handling.handlers[0]
    events = events_of(await handling(event.data), event, handler.name)
    log = store.log
    return outgoing(events, event, group, handler.name, log.types, log.settings, log.partitions)
