"""Appending: places, expectations, ids that come again, causes, and what is said of an event."""

from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest

from eventstore import (
    ClockDrift,
    EventStore,
    Expected,
    IdConflict,
    LogDamaged,
    Metadata,
    NewEvent,
    Priority,
    Receipt,
    RecordedEvent,
    WrongExpectedVersion,
)
from eventstore.verify import verify
from tests.support.fixtures import server_fixture, store_fixture
from tests.support.logs import stream_in
from tests.support.restarts import restart
from tests.support.servers import Server, redis_server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

MINUTE_US = 60_000_000
ANY, EXISTS = Expected.ANY, Expected.EXISTS
A, B, C, D = (UUID(int=n) for n in range(1, 5))


server = server_fixture("--enable-debug-command", "local", scope="module")
store = store_fixture()


@pytest.fixture
async def stored(store: EventStore) -> Receipt:
    """[A, B] in order-2."""
    return await store.append("order-2", events(A, B))


def events(*ids: UUID, **other: int) -> list[NewEvent]:
    """Events with these ids, whose data follows from the id; `other` data on demand."""
    return [NewEvent(id=i, data=Noted(other.get("n", i.int))) for i in ids]


async def read(store: EventStore, stream: str) -> list[RecordedEvent]:
    return [event async for event in store.read(stream)]


def sibling(stream: str) -> str:
    """Another stream of the same partition."""
    return f"x-{{{stream}}}"


async def test_a_receipt_says_where_the_last_event_is(store: EventStore) -> None:
    first = await store.append("order-1", [Noted(1), Noted(2)], expected=0)
    second = await store.append("order-1", [Noted(3)], expected=2)
    recorded = await read(store, "order-1")
    assert (first.version, second.version, second.position) == (2, 3, first.position + 1)
    assert [event.id for event in recorded] == [*first.ids, *second.ids]
    assert [event.version for event in recorded] == [1, 2, 3]
    assert (recorded[2].position, recorded[2].epoch) == (second.position, second.epoch)
    assert [event.recorded_at for event in recorded] == [first.recorded_at, first.recorded_at, second.recorded_at]
    assert second.recorded_at > first.recorded_at


@pytest.mark.parametrize(("expected", "actual"), [(1, 0), (EXISTS, 0), (0, 2), (1, 2), (3, 2)], ids=str)
async def test_an_expectation_that_fails_tells_the_version(
    store: EventStore, server: Server, expected: Expected | int, actual: int
) -> None:
    if actual:
        await store.append("order-1", [Noted(n) for n in range(actual)])
    before = digest(server)
    with pytest.raises(WrongExpectedVersion, match=f"order-1 is at version {actual}") as caught:
        await store.append("order-1", [Noted(9)], expected=expected)
    assert caught.value.facts["actual"] == actual
    assert "eventstore read order-1" in str(caught.value.remedy)
    assert digest(server) == before


async def test_of_concurrent_appends_at_one_version_one_wins(store: EventStore) -> None:
    outcomes: list[Receipt | WrongExpectedVersion] = []

    async def decide(n: int) -> None:
        try:
            outcomes.append(await store.append("order-1", [Noted(n)], expected=0))
        except WrongExpectedVersion as error:
            outcomes.append(error)

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(decide, n)
    assert sum(isinstance(outcome, Receipt) for outcome in outcomes) == 1
    assert await store.version("order-1") == 1


@pytest.mark.parametrize("expected", [ANY, EXISTS, 0, 1, 7], ids=str)
async def test_a_known_id_gives_the_first_receipt_under_every_expectation(
    store: EventStore, server: Server, expected: Expected | int
) -> None:
    """C01: the version fits (expected=1), or does not; the event is there, once."""
    first = await store.append("order-1", events(A))
    before = digest(server)
    assert await store.append("order-1", events(A), expected=expected) == first
    assert (first.version, await store.version("order-1")) == (1, 1)
    assert digest(server) == before


@pytest.mark.parametrize("expected", [ANY, EXISTS, 0, 2, 4], ids=str)
async def test_a_repeated_batch_gives_its_receipt_though_others_wrote_since(
    store: EventStore, stored: Receipt, expected: Expected | int
) -> None:
    await store.append("order-2", [Noted(7)])
    assert await store.append("order-2", events(A, B), expected=expected) == stored
    assert await store.append("order-2", events(A), expected=expected) != stored
    assert await store.version("order-2") == 3


@pytest.mark.parametrize("expected", [ANY, EXISTS, 0, 1, 2, 5], ids=str)
@pytest.mark.parametrize(
    ("batch", "stream", "named", "at"),
    [
        (events(B, C), "order-2", B, 2),
        (events(A, B, C), "order-2", A, 1),
        (events(B, A), "order-2", B, 2),
        (events(A, C), "order-2", A, 1),
        (events(C, A), "order-2", A, 1),
        (events(A, n=99), "order-2", A, 1),
        (events(A, B, n=1), "order-2", B, 2),
        (events(A), sibling("order-2"), A, 1),
        (events(C, A), sibling("order-2"), A, 1),
    ],
    ids=[
        "half-known",
        "more",
        "reversed",
        "skipped",
        "known-last",
        "other-data",
        "other-data-later",
        "elsewhere",
        "split",
    ],
)
async def test_ids_that_are_known_otherwise_are_refused(
    store: EventStore,
    server: Server,
    stored: Receipt,
    batch: list[NewEvent],
    stream: str,
    named: UUID,
    at: int,
    expected: Expected | int,
) -> None:
    """C02: the error names the id and where it is; nothing is written."""
    before = digest(server)
    with pytest.raises(IdConflict) as caught:
        await store.append(stream, batch, expected=expected)
    error = caught.value
    assert (error.event_id, error.stream, error.version) == (named, "order-2", at)
    assert (error.partition, error.position) == (stored.partition, stored.position - 2 + at)
    assert str(named) in error.detail
    assert f"version {at} of order-2" in error.detail
    assert digest(server) == before


@pytest.mark.parametrize("expected", [ANY, EXISTS, 0, 2], ids=str)
async def test_an_id_twice_in_one_call_is_refused(
    store: EventStore, server: Server, stored: Receipt, expected: Expected | int
) -> None:
    """C02, [D, D]."""
    before = digest(server)
    with pytest.raises(IdConflict, match=f"{D}: stands twice in one call"):
        await store.append("order-2", events(D, D), expected=expected)
    assert digest(server) == before


async def test_metadata_is_not_compared(store: EventStore, stored: Receipt) -> None:
    assert await store.append("order-2", events(A, B), metadata=Metadata(actor="somebody else")) == stored


async def test_a_receipt_is_the_same_after_a_restart_and_the_epoch_is_another() -> None:
    args = ["--enable-debug-command", "local", "--appendonly", "yes", "--appendfsync", "always"]
    async with redis_server(args=args) as server, open_store(server) as store:
        first = await store.append("order-1", events(A))
        await restart(server)
        assert await store.append("order-1", events(A), expected=0) == first
        second = await store.append("order-1", events(B))
        assert (second.version, second.position) == (2, first.position + 1)
        assert second.epoch > first.epoch
        assert await verify(store.log) == []


async def test_an_append_larger_than_a_lua_call_may_have_words_lands_whole(server: Server) -> None:
    async with open_store(server, partitions=1, max_call_events=10_000) as store:
        batch = [NewEvent(id=uuid4(), data=Noted(n)) for n in range(9_000)]
        receipt = await store.append("order-1", batch)
        assert (receipt.version, receipt.position) == (9_000, 9_000)
        assert await store.append("order-1", batch) == receipt
        assert await verify(store.log) == []


async def test_an_effect_is_recorded_above_its_causes(store: EventStore) -> None:
    """Also in another partition, and when the cause is ahead of the server's clock."""
    ahead = now(await store.append("order-1", [Noted(1)])) + 30 * MINUTE_US
    cause = receipt_at(ahead)
    chain = [cause]
    for n in range(4):
        chain.append(await store.append(stream_in(n, 4), [Noted(n)], causes=chain[-1:]))
    assert all(effect.recorded_at > cause.recorded_at for cause, effect in pairwise(chain))
    # and the partition's clock never goes back
    later = await store.append(stream_in(0, 4), [Noted(9)])
    assert later.recorded_at > chain[1].recorded_at


async def test_a_cause_far_ahead_of_the_clock_is_refused_unless_the_log_is_there_already(
    store: EventStore, server: Server
) -> None:
    first = await store.append("order-1", [Noted(1)])
    before = digest(server)
    with pytest.raises(ClockDrift, match=r"7,2.. s ahead") as caught:
        await store.append("order-1", [Noted(2)], causes=[receipt_at(now(first) + 121 * MINUTE_US)])
    assert caught.value.facts["cause_at"] == now(first) + 121 * MINUTE_US
    assert digest(server) == before
    edge = await store.append("order-1", [Noted(2)], causes=[receipt_at(now(first) + 59 * MINUTE_US)])
    ahead = now(first) + 200 * MINUTE_US
    server.admin("HSET", store.log.keys.head(edge.partition), "last", ahead)
    assert (await store.append("order-1", [Noted(3)], causes=[receipt_at(ahead)])).recorded_at == ahead + 1


def receipt_at(time_us: int) -> Receipt:
    return Receipt("elsewhere", 1, 0, 1, 1, time_us, (uuid4(),))


def now(receipt: Receipt) -> int:
    return receipt.recorded_at


async def test_a_correlation_id_is_the_causes_else_the_first_events_own(store: EventStore) -> None:
    first = await store.append("order-1", [Noted(1), Noted(2)])
    one, two = await read(store, "order-1")
    assert [event.metadata.correlation_id for event in (one, two)] == [str(first.ids[0])] * 2
    assert one.metadata.causation_id is None

    await store.append("effect-1", [Noted(3)], causes=[two])
    await store.append("effect-1", [Noted(4)], causes=[two, first])
    await store.append("effect-1", [Noted(5)], causes=[two], metadata=Metadata(correlation_id="mine", causation_id="x"))
    await store.append("effect-1", [Noted(6)], causes=[first])
    about = [event.metadata for event in await read(store, "effect-1")]
    assert [each.correlation_id for each in about[:3]] == [str(one.id), str(one.id), "mine"]
    assert [each.causation_id for each in about] == [str(two.id), str(two.id), "x", str(first.ids[-1])]


async def test_an_events_own_metadata_goes_before_the_calls(store: EventStore) -> None:
    call = Metadata(correlation_id="call", actor="anna", priority=Priority.LOW, headers={"k": "v"})
    own = Metadata(actor="bert", traceparent="00-1-1-01", priority=Priority.CRITICAL)
    await store.append("order-1", [Noted(1), NewEvent(data=Noted(2), metadata=own)], metadata=call)
    first, second = (event.metadata for event in await read(store, "order-1"))
    assert first == call
    assert (second.correlation_id, second.actor, second.priority, second.headers) == (
        "call",
        "bert",
        Priority.CRITICAL,
        {},
    )


async def test_high_and_critical_events_are_in_the_index_of_urgent_ones(store: EventStore, server: Server) -> None:
    batch = [NewEvent(data=Noted(n), metadata=Metadata(priority=each)) for n, each in enumerate(Priority)]
    receipt = await store.append("order-1", batch)
    await store.append("order-1", [Noted(9)], metadata=Metadata(priority=Priority.HIGH))
    urgent = server.admin("XRANGE", store.log.keys.urgent(receipt.partition), "-", "+")
    ids = [f"{receipt.epoch}-{receipt.position + n}".encode() for n in (-1, 0, 1)]
    assert [(entry_id, fields[1]) for entry_id, fields in urgent] == list(zip(ids, [b"H", b"C", b"H"], strict=True))


async def test_an_index_key_taken_by_a_stranger_fails_its_own_append_only(store: EventStore, server: Server) -> None:
    taken, free = "order-9", sibling("order-9")
    partition = (await store.append(free, [Noted(1)])).partition
    server.admin("SET", store.log.keys.index(partition, taken), "x")
    outcomes: dict[str, Any] = {}

    async def attempt(stream: str) -> None:
        try:
            outcomes[stream] = await store.append(stream, [Noted(2)])
        except LogDamaged as error:
            outcomes[stream] = error

    calls = server.calls_of("evalsha")
    async with anyio.create_task_group() as tasks:
        for stream in (taken, free):
            tasks.start_soon(attempt, stream)
    assert server.calls_of("evalsha") - calls <= 2
    assert isinstance(outcomes[taken], LogDamaged)
    assert "order-9" in outcomes[taken].detail
    assert "WRONGTYPE" in outcomes[taken].detail
    assert outcomes[free].version == 2


def digest(server: Server) -> Any:
    """Of all that the server holds."""
    return server.admin("DEBUG", "DIGEST")
