"""Appends that are cancelled, at every await: nobody else is harmed, and repeating tells what became of it."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest

from eventstore import EventStore, Expected, NewEvent, Receipt, StreamAppend, WrongExpectedVersion
from eventstore.expected import ExpectedVersion
from tests.support.accounts import BANK, Deposit, Deposited, Withdrawn
from tests.support.cancelling import WAYS, Way, every_await
from tests.support.connections import connections_are_well
from tests.support.fixtures import server_fixture
from tests.support.recorded import is_at_its_place, recorded
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
EVERY_WAY = pytest.mark.parametrize("way", WAYS)
PARTITIONS = 2


server = server_fixture()


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    types = (Noted, Deposited, Withdrawn)
    async with open_store(server.settings, partitions=PARTITIONS, types=types) as store:
        await store.append("warm-1", [Noted(0)])
        yield store


def appending(
    store: EventStore, stream: str, expected: ExpectedVersion, event_id: UUID | None = None, **options: Any
) -> partial[Any]:
    """An append that can be repeated."""
    return partial(store.append, stream, [NewEvent(data=Noted(1), id=event_id)], expected=expected, **options)


@EVERY_WAY
@pytest.mark.parametrize("expected", [0, Expected.ANY])
async def test_with_its_ids_an_append_is_repeated_and_written_once(
    server: Server, store: EventStore, way: Way, expected: ExpectedVersion
) -> None:
    async for cut in every_await(way):
        stream, event_id = f"order-{cut.n}", uuid4()
        append = appending(store, stream, expected, event_id)
        outcome = await cut(append)
        assert outcome.cancelled == outcome.was_cut
        receipt = await append()
        assert (receipt.version, receipt.ids) == (1, (event_id,))
        assert [e.id for e in recorded(server, store.log) if e.stream == stream] == [event_id]
        await connections_are_well(store, [server])


@EVERY_WAY
async def test_without_ids_an_exact_append_is_written_once(server: Server, store: EventStore, way: Way) -> None:
    async for cut in every_await(way):
        stream = f"order-{cut.n}"
        append = appending(store, stream, 0)
        await cut(append)
        try:
            assert (await append()).version == 1
        except WrongExpectedVersion as conflict:
            assert conflict.actual == 1  # noqa: PT017 - either is right
        assert await store.version(stream) == 1
        await connections_are_well(store, [server])


@EVERY_WAY
@pytest.mark.parametrize("place", [0, 3, 6])
async def test_who_shares_the_call_of_a_cancelled_append_gets_what_is_theirs(
    server: Server, store: EventStore, way: Way, place: int
) -> None:
    """Three before it and three behind it, of one partition and of the other, one of which is refused."""
    async for cut in every_await(way):
        ids = [uuid4() for _ in range(7)]
        all_of_them = [appending(store, f"order-{cut.n}-{i}", Expected.ANY, ids[i]) for i in range(7)]
        all_of_them[5] = appending(store, f"order-{cut.n}-5", 3, ids[5])
        order = [all_of_them[place], *all_of_them[:place], *all_of_them[place + 1 :]]
        outcome = await cut(order[0], beside=[*order[1:]])
        others = [i for i in range(7) if i != place]
        for i, result in zip(others, outcome.beside, strict=True):
            if i == 5:
                assert isinstance(result, WrongExpectedVersion)
            else:
                assert isinstance(result, Receipt), result
                assert (result.stream, result.ids, result.version) == (f"order-{cut.n}-{i}", (ids[i],), 1)
        again = await all_of_them[place]()
        stored = recorded(server, store.log)
        assert is_at_its_place(again, stored)
        assert sorted(e.id for e in stored if e.id in ids) == sorted(ids[:5] + ids[6:])
        await connections_are_well(store, [server])


@EVERY_WAY
async def test_append_many_is_written_whole_or_not_at_all(server: Server, store: EventStore, way: Way) -> None:
    async for cut in every_await(way):
        streams, ids = [f"order-{{{cut.n}}}", f"bill-{{{cut.n}}}"], [uuid4(), uuid4()]
        appends = [StreamAppend(s, [NewEvent(data=Noted(1), id=i)]) for s, i in zip(streams, ids, strict=True)]
        many = partial(store.append_many, appends, checks={f"stock-{{{cut.n}}}": 0})
        await cut(many)
        assert await store.version(streams[0]) == await store.version(streams[1])
        assert [r.version for r in await many()] == [1, 1]
        await connections_are_well(store, [server])


@EVERY_WAY
async def test_a_decision_is_recorded_once_or_not_at_all(server: Server, store: EventStore, way: Way) -> None:
    async for cut in every_await(way):
        stream = f"account-{cut.n}"
        decide = partial(store.decide, stream, BANK, Deposit(5))
        outcome = await cut(decide)
        before = await store.version(stream)
        assert before == 1 if not outcome.cancelled else before <= 1
        assert (await decide()).state.balance == 5 * (before + 1)
        await connections_are_well(store, [server])
