"""Where a replay goes to: each way of saying it, as a position in each partition."""

from collections.abc import AsyncIterator

import pytest

from consumers.creation import ensure_group
from consumers.errors import GroupNotFound, InvalidRequest, StreamNotFound
from consumers.keys import group_keys
from consumers.lease_calls import create
from consumers.start import Start
from consumers.state import RowState
from eventstore import EventStore
from eventstore.partitions import partition_of
from eventstore.wire import rfc3339
from tests.support.holding import Holding, everything, held
from tests.support.replays import planned
from tests.support.servers import Server, redis_server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, partitions=3) as one:
        yield one


async def streams_of(store: EventStore) -> list[str]:
    """One that lies in each partition."""
    found: dict[int, str] = {}
    number = 0
    while len(found) < store.log.partitions:
        found.setdefault(partition_of(f"order-{number}", store.log.partitions), f"order-{number}")
        number += 1
    return [found[partition] for partition in range(store.log.partitions)]


async def moves(store: EventStore, to: str) -> list[tuple[int, int, int, int]]:
    """Partition, position to go to, events, skipped."""
    plan = await planned(store, to)
    return [(each.partition, each.to, each.events, each.skipped) for each in plan.partitions]


async def test_a_time_beyond_the_ends_means_the_ends_also_of_what_is_empty(store: EventStore) -> None:
    """C18: three partitions, one of them empty."""
    first, second, _ = await streams_of(store)
    before = (await store.append(first, [Noted(1)])).recorded_at - 1
    for n in range(4):
        await store.append(first, [Noted(n)])
    middle = (await store.append(second, [Noted(1)])).recorded_at + 1
    last = await store.append(second, [Noted(2)])
    await ensure_group(store.log, "g", Start("latest"))
    assert await moves(store, rfc3339(last.recorded_at + 60_000_000)) == [(0, 5, 0, 0), (1, 2, 0, 0), (2, 0, 0, 0)]
    assert await moves(store, rfc3339(before)) == [(0, 0, 5, 0), (1, 0, 2, 0), (2, 0, 0, 0)]
    assert await moves(store, "1970-01-01T00:00:00Z") == [(0, 0, 5, 0), (1, 0, 2, 0), (2, 0, 0, 0)]
    # nothing of the first lies behind this time: it stays at its head
    assert await moves(store, rfc3339(max(middle, last.recorded_at))) == [(0, 5, 0, 0), (1, 1, 1, 0), (2, 0, 0, 0)]
    assert await moves(store, rfc3339(last.recorded_at)) == [(0, 5, 0, 0), (1, 1, 1, 0), (2, 0, 0, 0)]
    assert await moves(store, "-15m") == [(0, 0, 5, 0), (1, 0, 2, 0), (2, 0, 0, 0)]


async def test_ends_positions_and_numbers_of_events(store: EventStore) -> None:
    first, second, _ = await streams_of(store)
    await store.append(first, [Noted(n) for n in range(6)])
    await store.append(second, [Noted(n) for n in range(2)])
    await create_at(store, [4, 2, 0])
    assert await moves(store, "earliest") == [(0, 0, 4, 0), (1, 0, 2, 0), (2, 0, 0, 0)]
    assert await moves(store, "latest") == [(0, 6, 0, 2), (1, 2, 0, 0), (2, 0, 0, 0)]
    assert await moves(store, "0:3") == [(0, 3, 1, 0)]
    assert await moves(store, "0:6,1:0") == [(0, 6, 0, 2), (1, 0, 2, 0)]
    assert await moves(store, "-3") == [(0, 1, 3, 0), (1, 0, 2, 0), (2, 0, 0, 0)]
    assert await moves(store, "+1") == [(0, 5, 0, 1), (1, 2, 0, 0), (2, 0, 0, 0)]


async def create_at(store: EventStore, positions: list[int]) -> None:
    epoch = {p: e for p, (e, _) in enumerate((await store.heads()).places)}
    for partition, position in enumerate(positions):
        keys = group_keys(store.log.keys, "g", partition)
        await create(store.log, keys, (epoch[partition] if position else 0, position))


@pytest.mark.parametrize(
    ("to", "says"),
    [
        ("0:7", "position 7 of partition 0 is beyond its head, which is at 6"),
        ("2:1", "position 1 of partition 2 is beyond its head, which is at 0"),
        ("3:1", "there is no partition 3"),
        ("0:17-3", "has no entry 17-3: it is of another history"),
        ("0:1,0:2", "names a partition twice"),
        ("yesterday", "is no place to go to"),
        ("2026-11-23T08:00", "is no place to go to"),
        ("-15x", "is no place to go to"),
        ("FIRST@8", "is at version 6, there is no version 8"),
        ("FIRST@0", "is at version 6, there is no version 0"),
    ],
)
async def test_a_place_that_there_is_not_is_refused_and_nothing_is_changed(
    server: Server, store: EventStore, to: str, says: str
) -> None:
    first, *_ = await streams_of(store)
    await store.append(first, [Noted(n) for n in range(6)])
    await ensure_group(store.log, "g", Start("latest"))
    before = everything(server)
    with pytest.raises(InvalidRequest, match=says) as raised:
        await planned(store, to.replace("FIRST", first))
    assert raised.value.field == "to"
    assert raised.value.remedy
    assert everything(server) == before


@pytest.mark.parametrize(("to", "streams", "field"), [("nobody@1", (), "to"), ("-5", ("nobody",), "stream")])
async def test_a_stream_that_there_is_not_is_refused_by_what_named_it(
    store: EventStore, to: str, streams: tuple[str, ...], field: str
) -> None:
    await ensure_group(store.log, "g", Start("latest"))
    with pytest.raises(StreamNotFound, match="there is no stream nobody") as missing:
        await planned(store, to, streams=streams)
    assert missing.value.field == field


async def test_a_group_that_there_is_not_is_refused(store: EventStore) -> None:
    with pytest.raises(GroupNotFound):
        await planned(store, "earliest")


async def test_a_plan_changes_nothing_and_tells_what_fails(server: Server) -> None:
    async with open_store(server, partitions=1) as store:
        for version in range(5):
            for stream in ("a", "b", "c"):
                await store.append(stream, [Noted(version)])  # a 1 4 7 10 13, b 2 5 .., c 3 6 ..
        holding = await held(store)
        rows = {
            "a": holding.parked(1, 1),
            "b": holding.retrying(8, 3, fin=2),
            "c": holding.retrying(12, 4, state=RowState.RETRYING),
        }
        await holding.commit(12, rows, failures=dict.fromkeys(rows, b"{}"))
        before = everything(server)
        plan = await planned(store, "0:6")
        assert (plan.retrying, plan.parked, plan.tried_again) == (2, 1, 1)  # c is finished up to 9, and goes back
        assert [(each.from_, each.to, each.events) for each in plan.partitions] == [(12, 6, 6)]
        assert (plan.seconds, plan.runs, plan.muted) == (None, (), ())
        assert (await planned(store, "0:6", rate=3.0)).seconds == 2.0
        assert everything(server) == before
        assert plan.plan == (await planned(store, "0:6")).plan
        assert plan.plan != (await planned(store, "0:7")).plan
        await Holding.rewound(holding, 3)
        assert plan.plan != (await planned(store, "0:6")).plan
