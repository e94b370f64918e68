"""The calls of a relay, rule by rule (PROTOCOLS 5), and what it does while a part of the servers is away."""

import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from msgspec.structs import replace

from consumers import outbox, relay_calls
from consumers.outbox import START, Call, Outbox, Page, Reading, Waiting
from consumers.relay import relaying
from consumers.relay_calls import forget_outgoing, read_outgoing, take
from consumers.state import Outgoing
from eventstore import EventStore, codec
from eventstore.cursor import Place
from eventstore.errors import EventStoreError, LogDamaged, Unavailable
from eventstore.ids import new_id
from eventstore.partitions import partition_of
from infrastructure.server_program import find_program
from tests.support.cluster import ClusterOfServers, cluster, freeze, thaw
from tests.support.holding import everything
from tests.support.impatient import impatient_store
from tests.support.logs import attach, fill, stream_in
from tests.support.returned import Paid, Placed, Shipped, commit_by_hand, found, pay, placed, waiting
from tests.support.servers import Server, redis_server, tries
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio

TYPES = [Placed, Paid, Shipped]
EPOCH = 1_795_604_542_245_577


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=TYPES, partitions=2) as one:
        yield one


def entry(n: int, target: int = 1, *, letter: str = "N", cause_at: int = 1, epoch: int = EPOCH) -> Waiting:
    stream = stream_in(target, 2, "paid")
    packed = codec.pack(new_id(), stream.encode(), "Paid", 1, b'{"n":%d}' % n, b"")
    return Waiting((epoch, n), Outgoing(target, stream, packed, cause_at, letter))


async def sent(store: EventStore, expect: Place, *entries: Waiting) -> Place:
    return await take(store.log, 0, 1, Call(expect, entries))


async def numbers(store: EventStore) -> list[int]:
    return [event.data.n for event in await found(store, Paid)]


# ---- take ----


async def test_what_follows_is_taken_and_the_last_one_is_told(store: EventStore) -> None:
    assert await sent(store, START) == START
    assert await sent(store, START, entry(0), entry(1)) == (EPOCH, 1)
    assert await sent(store, (EPOCH, 1), entry(4)) == (EPOCH, 4)
    assert await sent(store, START) == (EPOCH, 4)
    assert await numbers(store) == [0, 1, 4]


@pytest.mark.parametrize("expect", [START, (EPOCH, 0), (EPOCH, 2), (EPOCH + 1, 1), (EPOCH - 1, 1)])
async def test_what_does_not_follow_is_not_taken_wherever_it_lies(
    server: Server, store: EventStore, expect: Place
) -> None:
    """Above what was taken last: the partition has gone back by a failover, and what lies between would be lost."""
    await sent(store, START, entry(0), entry(1))
    before = everything(server)
    for first in (entry(0), entry(2), entry(9), entry(3, epoch=EPOCH + 1), entry(3, epoch=EPOCH - 1)):
        assert await sent(store, expect, first) == (EPOCH, 1)
    assert everything(server) == before


async def test_partitions_that_events_come_from_are_told_apart(store: EventStore) -> None:
    await sent(store, START, entry(0))
    assert await take(store.log, 1, 1, Call(START, (entry(7),))) == (EPOCH, 7)
    assert await sent(store, (EPOCH, 0), entry(1)) == (EPOCH, 1)
    assert await numbers(store) == [0, 7, 1]


async def test_a_repeat_and_a_question_write_a_field_or_waiting_for_replicas_would_cover_nothing(
    server: Server, store: EventStore
) -> None:
    await sent(store, START, entry(0))
    for call in (Call(START, (entry(0),)), Call(START, ())):
        before = server.calls_of("hset")
        await take(store.log, 0, 1, call)
        assert server.calls_of("hset") == before + 1


async def test_a_cause_by_a_clock_that_runs_ahead_refuses_nothing(store: EventStore) -> None:
    ahead = 2**52
    await sent(store, START, entry(0), entry(1, cause_at=ahead), entry(2))
    times = [event.recorded_at for event in await found(store, Paid)]
    assert times[0] < ahead < times[1] < times[2]


async def test_what_cannot_be_written_is_not_written_in_part(server: Server, store: EventStore) -> None:
    await sent(store, START, entry(0))
    index = store.log.keys.index(1, stream_in(1, 2, "sent"))
    server.admin("SET", index, "no list")
    other = Outgoing(1, stream_in(1, 2, "sent"), entry(2).event.packed, 1, "N")
    before = everything(server)
    with pytest.raises(LogDamaged):
        await sent(store, (EPOCH, 0), entry(1), Waiting((EPOCH, 2), other))
    assert everything(server) == before
    server.admin("DEL", index)
    log = store.log.keys.events(1)
    last: bytes = server.admin("XREVRANGE", log, "+", "-", "COUNT", 1)[0][0]
    server.admin("XADD", log, last.split(b"-")[0] + b"-99", "x", "of somebody else")
    before = everything(server)
    with pytest.raises(EventStoreError, match="smaller than"):
        await sent(store, (EPOCH, 0), entry(1))
    assert everything(server) == before
    server.admin("XDEL", log, last.split(b"-")[0] + b"-99")


@pytest.mark.parametrize("field", ["pos", "last", "number", "noted", "largest", "epochs"])
async def test_a_head_that_is_damaged_takes_nothing_and_is_named(server: Server, store: EventStore, field: str) -> None:
    head = store.log.keys.head(1)
    server.admin("HSET", head, field, "7x", "replid", "of another process")
    before = everything(server)
    with pytest.raises(LogDamaged, match="epochs" if field == "epochs" else f"{field} is no number"):
        await sent(store, START, entry(0))
    assert everything(server) == before


async def test_an_urgent_event_is_in_the_index_of_those(server: Server, store: EventStore) -> None:
    receipt = await fill(store, stream_in(1, 2, "order"), 3)
    await sent(store, START, entry(0, letter="C"), entry(1), entry(2, letter="H"))
    urgent = server.admin("XRANGE", store.log.keys.urgent(1), "-", "+")
    assert urgent == [
        [b"%d-4" % receipt.epoch, [b"p", b"C"]],
        [b"%d-6" % receipt.epoch, [b"p", b"H"]],
    ]


async def test_when_memory_is_full_nothing_is_taken_but_all_else_goes_on(server: Server, store: EventStore) -> None:
    await sent(store, START, entry(0))
    await placed(store, 4)
    await commit_by_hand(store, "pay", pay)
    source = next(p for p in (0, 1) if server.admin("XLEN", store.log.keys.outgoing(p)))
    server.admin("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(Unavailable) as refused:
            await sent(store, (EPOCH, 0), entry(1))
        assert refused.value.reason == "out-of-memory"
        assert await sent(store, START) == (EPOCH, 0)
        page = await read_outgoing(store.log, source, Reading(START, (), 0))
        ids = [each.id for each in page.entries]
        assert await forget_outgoing(store.log, source, page.process, ids) == page.process
    finally:
        server.admin("CONFIG", "SET", "maxmemory", 0)
    assert server.admin("XLEN", store.log.keys.outgoing(source)) == 0
    assert await numbers(store) == [0]


# ---- read and forget ----


async def test_a_page_ends_by_its_bytes_and_the_next_goes_on_behind_it(server: Server, store: EventStore) -> None:
    out = store.log.keys.outgoing(0)
    for n in range(40):
        server.admin("XADD", out, f"{EPOCH}-{n}", "q", 1, "s", "paid-1", "e", b"e" * 100_000, "c", 1, "l", "N")
    pages: list[Page] = []
    while not pages or pages[-1].more:
        after = pages[-1].entries[-1].id if pages else START
        pages.append(await read_outgoing(store.log, 0, Reading(after, (), 0)))
    assert [each.id for page in pages for each in page.entries] == [(EPOCH, n) for n in range(40)]
    assert [len(page.entries) for page in pages] == [16, 16, 8]


async def test_what_another_process_has_shown_is_not_removed(server: Server, store: EventStore) -> None:
    out = store.log.keys.outgoing(0)
    server.admin("XADD", out, f"{EPOCH}-0", "q", 1, "s", "paid-1", "e", "e", "c", 1, "l", "N")
    process = await forget_outgoing(store.log, 0, b"f" * 40, [(EPOCH, 0)])
    assert (len(process), server.admin("XLEN", out)) == (40, 1)
    assert await forget_outgoing(store.log, 0, process, [(EPOCH, 0)]) == process
    assert server.admin("XLEN", out) == 0


async def test_a_replica_is_not_believed(server: Server) -> None:
    async with redis_server() as demoted, open_store(demoted.settings, types=TYPES, partitions=2) as store:
        demoted.admin("REPLICAOF", "127.0.0.1", server.port)
        with pytest.raises(Unavailable) as refused:
            await read_outgoing(store.log, 0, Reading(START, (), 0))
        assert refused.value.reason == "read-only"


# ---- durability ----


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("binary", ["redis-server", find_program()])
async def test_nothing_counts_before_it_is_as_durable_as_the_log_promises(binary: str) -> None:
    """What is read, and what is taken: an answer before would lose an event, or double one, in a failover."""
    options: dict[str, Any] = {"types": TYPES, "partitions": 2, "durability": "replicas:1"}
    async with redis_server(binary) as primary, redis_server(binary) as replica:
        await attach(replica, primary)
        async with impatient_store(primary.port, 0.6, **options) as store:
            await placed(store, 10)
            await commit_by_hand(store, "pay", pay)
            source = next(p for p in (0, 1) if primary.admin("XLEN", store.log.keys.outgoing(p)))
            reading = Reading(START, (), 0)
            with stopped(replica), pytest.raises(Unavailable, match="replicas:1 was not reached"):
                await read_outgoing(store.log, source, reading)
            page = await _patiently(lambda: read_outgoing(store.log, source, reading))
            first = page.entries[0]
            call = Call(START, (first,))
            for _ in range(2):
                with stopped(replica), pytest.raises(Unavailable, match="replicas:1 was not reached"):
                    await take(store.log, source, first.event.partition, call)
            assert await _patiently(lambda: take(store.log, source, first.event.partition, call)) == first.id
            assert len(await found(store, Paid)) == 1


async def until_nothing_waits(store: EventStore) -> None:
    async for _ in tries():
        if not await waiting(store):
            return


async def _patiently(call: Any) -> Any:
    async for _ in tries():
        try:
            return await call()
        except Unavailable:
            pass
    raise AssertionError


# ---- the end of a worker, and a part of the servers away ----


async def test_who_leaves_carries_on_what_there_is(store: EventStore) -> None:
    await placed(store, 300)
    await commit_by_hand(store, "pay", pay)
    async with relaying(store.log, leave_seconds=20) as relay:
        for partition in (0, 1):
            relay.notify(partition)
    assert await waiting(store) == 0
    assert sorted(await numbers(store)) == list(range(300))


async def test_who_leaves_does_not_wait_for_ever(server: Server, store: EventStore) -> None:
    await placed(store, 10)
    await commit_by_hand(store, "pay", pay)
    server.admin("CONFIG", "SET", "maxmemory", 1)
    try:
        with anyio.fail_after(5):
            async with relaying(store.log, leave_seconds=0.1) as relay:
                for partition in (0, 1):
                    relay.notify(partition)
    finally:
        server.admin("CONFIG", "SET", "maxmemory", 0)
    assert await waiting(store) == 10


async def test_what_is_for_a_node_that_does_not_answer_holds_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor for as long as a call to it may take, when all the room for it is full."""
    monkeypatch.setattr(outbox, "QUEUE_EVENTS", 4)
    monkeypatch.setattr(relay_calls, "PAGE_EVENTS", 4)
    async with cluster(replicas=False, node_timeout_ms=60_000) as nodes:
        patient = replace(nodes.settings, socket_timeout_seconds=20.0)
        async with open_store(patient, types=TYPES, partitions=6) as store:
            await _without_a_node(nodes, store)


async def _without_a_node(nodes: ClusterOfServers, store: EventStore) -> None:
    keys, away = store.log.keys, nodes.masters()[-1]
    cut = {p for p in range(6) if nodes.owner(keys.head(p)) is away}
    near = {p: nodes.owner(keys.events(p)) for p in range(6) if p not in cut}
    await placed(store, 120)
    ways = [(event.partition, _target(event.data.n)) for event in await found(store, Placed)]
    arriving = sum(target in near for _, target in ways) + sum(set(way) <= set(near) for way in ways)
    assert len(near) == 4
    assert 100 < arriving < 200
    try:
        async with relaying(store.log, leave_seconds=0.1) as relay:
            for group in ("before", "meanwhile"):
                await commit_by_hand(store, group, pay)
                if group == "meanwhile":
                    freeze(away)
                for p in range(6):
                    relay.notify(p)
                if group == "before":
                    await until_nothing_waits(store)
            async for _ in tries(10):
                if _paid_in(near, store) == arriving:
                    break
            thaw(away)
            await until_nothing_waits(store)
    finally:
        thaw(away)
    assert sorted(await numbers(store)) == sorted(2 * [*range(120)])


def _paid_in(near: dict[int, Server], store: EventStore) -> int:
    values = [
        codec.unpack(p, entry_id, fields[1])
        for p, node in near.items()
        for entry_id, fields in node.admin("XRANGE", store.log.keys.events(p), "-", "+")
    ]
    return sum(each.type == "Paid" for each in values)


def _target(n: int) -> int:
    return partition_of(f"payment-{7 * n}", 6)


async def test_a_page_that_was_asked_for_does_not_hide_what_is_told_of_meanwhile(store: EventStore) -> None:
    box = Outbox()
    box.tell()
    reading = box.next_reading()
    assert reading is not None
    page = await read_outgoing(store.log, 0, reading)
    box.tell()
    box.read(reading, page)
    assert box.next_reading() is not None
