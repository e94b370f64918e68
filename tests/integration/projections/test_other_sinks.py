"""Read models in Redis, and in a sink of one's own: exactly once, rebuilt, rolled back and dropped like any other."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest

from consumers.dead_letters import retry
from consumers.errors import InvalidConsumer
from consumers.retry import Park
from eventstore import EventStore, RecordedEvent
from projections import Projection, Rows, projection, redis
from projections.home import home_of
from projections.operate import drop, rebuild, rollback
from projections.status import describe_projection
from tests.support.letters import until_listed
from tests.support.logs import fill
from tests.support.projected import until_read
from tests.support.running import counted, running
from tests.support.servers import Server, tries
from tests.support.sinks import Toy
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as store:
        yield store


def in_redis(weight: int = 1, **options: Any) -> Projection:
    @projection("sums", sink=redis(), **options)
    def add(event: RecordedEvent, rows: Rows) -> None:
        rows.effects.hincrby("sums", event.stream, weight * event.data.n)

    return add


async def test_redis_has_the_fold_through_restarts_rebuild_rollback_and_drop(store: EventStore) -> None:
    for first in (1, 51):
        await fill(store, "order-1", 50, first=first)
        await fill(store, "order-2", 50, first=first)
        async with running(store, in_redis()):
            await _until_sums(store, 1, await _sums(store))
    heavy = in_redis(weight=10, version=2)
    async with running(store, in_redis()), home_of(store, heavy.sink) as home:
        async with running(store, heavy):
            await until_read(store, heavy, 2)
            await fill(store, "order-3", 10)
            await _until_sums(store, 2, {name: 10 * n for name, n in (await _sums(store)).items()})
            await _until_sums(store, 1, await _sums(store))
            assert (await rollback(store, home, "sums", who="ada")).number == 1
        await drop(store, home, "sums", 2, who="ada")
        assert await counted(store, "projection.sums.2", "sums") == {}
        begun = await rebuild(store, home, "sums", who="ada")
        assert begun.number == 3
        await until_read(store, heavy, 3)
        await _until_sums(store, 3, await _sums(store))
        shape = await describe_projection(store, home, "sums")
        assert {each.generation: each.state for each in shape.generations} == {1: "kept", 3: "live"}


async def test_a_command_that_redis_refuses_fails_its_event_alone(store: EventStore) -> None:
    @projection("sums", sink=redis(), retry=Park())
    def add(event: RecordedEvent, rows: Rows) -> None:
        if (event.stream, event.version) == ("order-1", 3):
            rows.effects.hset("sums", "order-1", "no number")
        rows.effects.hincrby("sums", event.stream, event.data.n)

    await fill(store, "order-1", 5)
    await fill(store, "order-2", 5)
    async with running(store, add):
        (letter,) = await until_listed(store, 1, "projection.sums.1")
        assert (letter.stream, letter.version) == ("order-1", 3)
        await _until_sums(store, 1, {"order-1": 3, "order-2": 15})


def in_toy(toy: Toy, fails: list[int] | None = None) -> Projection:
    @projection("toys", sink=toy, retry=Park())
    def add(event: RecordedEvent, rows: Rows) -> None:
        if event.data.n in (fails or []):
            rows.note("count", event.stream, "no number")
        rows.note("count", event.stream, event.data.n)

    return add


async def test_a_sink_of_ones_own_has_the_fold(store: EventStore) -> None:
    toy = Toy()
    bad = [7]
    count = in_toy(toy, bad)
    for first in (1, 51):
        await fill(store, "order-1", 50, first=first)
        await fill(store, "order-2", 50, first=first + 1_000)
        async with running(store, count):
            (letter,) = await until_listed(store, 1, "projection.toys.1")
            assert letter.version == 7
            await _until_counts(toy, 1, (await _sums(store)) | {"order-1": sum(range(1, 7))})
    assert toy.opened
    async with running(store, count), home_of(store, toy) as home:
        bad.clear()
        await retry(store, "projection.toys.1", ["order-1"], who="ada")
        await _until_counts(toy, 1, await _sums(store))
        await rebuild(store, home, "toys", who="ada")
        await until_read(store, count, 2)
        await _until_counts(toy, 2, await _sums(store))
        await drop(store, home, "toys", 1, who="ada")
    assert all(each.is_closed for each in toy.opened)
    assert {number for number, _ in toy.shelf.counts} == {2}


async def test_what_opens_nothing_is_no_sink() -> None:
    for wrong in ("sqlite", 3, Toy, None):
        with pytest.raises(InvalidConsumer) as raised:
            projection("toys", sink=wrong)  # type: ignore[arg-type]
        assert raised.value.field == "sink"


async def _sums(store: EventStore) -> dict[str, int]:
    sums: dict[str, int] = {}
    async for event in store.read_all():
        if not event.stream.startswith("$"):
            sums[event.stream] = sums.get(event.stream, 0) + event.data.n
    return sums


async def _until_sums(store: EventStore, generation: int, wanted: dict[str, int]) -> None:
    found: dict[str, int] = {}
    with anyio.fail_after(20):
        while found != wanted:
            await anyio.lowlevel.checkpoint()
            found = await counted(store, f"projection.sums.{generation}", "sums")


async def _until_counts(toy: Toy, generation: int, wanted: dict[str, int]) -> None:
    found: dict[str, int] = {}
    async for _ in tries():
        found = {name: n for (number, name), n in dict(toy.shelf.counts).items() if number == generation}
        if found == wanted:
            return
