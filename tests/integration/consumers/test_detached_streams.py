"""Streams that left the main pass, and come back to it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from uuid import uuid4

import anyio
import anyio.lowlevel
import pytest
from msgspec import Struct

from consumers import Context, Park, consumer
from consumers.dead_letters import LetterShape, discard, retry
from consumers.errors import GroupNotFound
from consumers.groups import GroupShape, describe_group
from consumers.holder import Holder
from consumers.state import Row, Stored, Token
from consumers.workers import SLOW_SECONDS
from eventstore import EventStore, Metadata, RecordedEvent
from tests.support.handling import block
from tests.support.letters import listed
from tests.support.running import running
from tests.support.servers import Server, redis_server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio


class Wanted(Struct, frozen=True):
    pass


class Other(Struct, frozen=True):
    pass


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, types=[Wanted, Other], partitions=1) as one:
        yield one


@pytest.mark.parametrize("events", [[Wanted(), Other()], [Wanted(), Other(), Wanted()]], ids=["last", "between"])
async def test_a_slow_stream_comes_back_though_not_all_of_its_events_are_wanted(
    store: EventStore, events: list[Struct]
) -> None:
    await store.append("order-1", events)
    handled: list[int] = []
    may_go_on = anyio.Event()

    @consumer("slow")
    async def slow(event: Wanted, ctx: Context) -> None:
        handled.append(ctx.event.version)
        await may_go_on.wait()

    async def shape() -> GroupShape:
        return await describe_group(store, "slow")

    async with running(store, slow):
        await until(lambda: bool(handled))
        async for _ in tries():
            if (await shape()).partitions[0].detached:
                break
        may_go_on.set()
        async for _ in tries(20):
            now = await shape()
            if not (now.partitions[0].detached or now.lag):
                break
    assert handled == [version for version, event in enumerate(events, 1) if isinstance(event, Wanted)]


async def test_who_passes_over_an_event_of_a_lane_says_that_there_is_something_to_commit() -> None:
    """Nothing else would: the row stood in the table until some other event came."""
    stored = Stored(1, 1, (1, 2), 2, False, "", {"order-1": Row(2, fin=2)}, (), 0, 2, b"1:1", None)
    holder = Holder(stored, Token("ada", 1, 1), lambda event: event.type == "Wanted")
    assert holder.take(lambda: 0) is None
    assert holder.wanting(1) == [("order-1", 2)]
    other = RecordedEvent(uuid4(), "order-1", 2, 0, 1, 2, 0, "Other", 1, None, Metadata())
    holder.read("order-1", [other], 2)
    assert not holder.has_passed_over
    assert holder.take(lambda: 0) is None
    assert holder.has_passed_over
    call = holder.prepare()
    assert call is not None
    assert call.rows == {"order-1": Row(3, fin=2)}


async def test_handlers_that_get_no_turn_of_the_loop_leave_their_streams_where_they_are(
    store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for long, but nothing would go faster without them."""
    left: list[RecordedEvent] = []
    longest: list[float] = []
    detach = Holder.detach

    def told(holder: Holder, event: RecordedEvent) -> bool:
        left.append(event)
        return detach(holder, event)

    @consumer("starved")
    async def handle(event: Wanted) -> None:
        began_at = time.monotonic()
        block(0.03)
        await anyio.lowlevel.checkpoint()
        longest.append(time.monotonic() - began_at)

    monkeypatch.setattr(Holder, "detach", told)
    for stream in range(64):
        await store.append(f"order-{stream}", [Wanted()])
    async with running(store, handle):
        await until(lambda: len(longest) == 64)
    assert max(longest) > 2 * SLOW_SECONDS
    assert left == []


async def test_what_follows_a_discarded_event_failed_first_when_it_did(store: EventStore) -> None:
    @consumer("strict", retry=Park())
    async def strict(event: Wanted) -> None:
        raise ValueError("no")

    await store.append("order-1", [Wanted(), Wanted()])
    async with running(store, strict):
        first = await parked(store, lambda letter: letter.version == 1)
        await retry(store, "strict", ["order-1"], who="ada")
        again = await parked(store, lambda letter: letter.failed_at != first.failed_at)
        assert again.first_failed_at == first.first_failed_at
        await discard(store, "strict", ["order-1"], who="ada", why="a test")
        second = await parked(store, lambda letter: letter.version == 2)
    assert second.first_failed_at == second.failed_at != first.failed_at


async def parked(store: EventStore, is_it: Callable[[LetterShape], bool]) -> LetterShape:
    async for _ in tries():
        with suppress(GroupNotFound):
            for letter in await listed(store, "strict"):
                if is_it(letter):
                    return letter
    raise AssertionError
