"""A new release reads what older ones have stored: renamed types, older schema versions, data that no longer fit."""

from collections.abc import AsyncIterator
from contextlib import aclosing

import anyio
import pytest
from msgspec import Struct

from eventstore import EventStore, Filter, InvalidEvent, StreamAppend, audit, event, wire
from eventstore.errors import EventTypeError
from tests.support.accounts import ACCOUNT, Deposit, Deposited
from tests.support.fixtures import server_fixture
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio


@event(name="OrderCreated")
class OrderCreated(Struct, frozen=True):
    total: int


@event(
    name="OrderPlaced",
    version=2,
    formerly=("OrderCreated",),
    upcasters={1: lambda old: {"cents": old["total"] * 100}},
)
class OrderPlaced(Struct, frozen=True):
    cents: int


@event(name="OrderPaid", formerly=("OrderPlaced",))
class Contradicting(Struct):
    n: int


server = server_fixture()


@pytest.fixture
async def newer(server: Server) -> AsyncIterator[EventStore]:
    """The store of a release that has renamed OrderCreated and counts in cents, on a log of the one before."""
    async with open_store(server.settings, types=[OrderCreated]) as older:
        await older.append("order-1", [OrderCreated(5)])
    async with open_store(server.settings, types=[OrderPlaced]) as newer:
        await newer.append("order-1", [OrderPlaced(700)])
        yield newer


async def test_a_reader_meets_only_the_present_name_version_and_form(newer: EventStore) -> None:
    found = [event async for event in newer.read("order-1")]
    assert [(e.type, e.schema_version, e.data) for e in found] == [
        ("OrderPlaced", 2, OrderPlaced(500)),
        ("OrderPlaced", 2, OrderPlaced(700)),
    ]


async def test_what_is_stored_stays_as_it_is(newer: EventStore, server: Server) -> None:
    async with open_store(server.settings, types=()) as without:
        found = [(e.type, e.schema_version, e.data) async for e in without.read("order-1")]
    assert found == [("OrderCreated", 1, {"total": 5}), ("OrderPlaced", 2, {"cents": 700})]


@pytest.mark.parametrize("name", ["OrderPlaced", "OrderCreated"])
async def test_a_filter_by_any_name_of_the_type_finds_all_its_events(newer: EventStore, name: str) -> None:
    where = Filter(types=(name,))
    assert [e.version async for e in newer.read_all(where=where)] == [1, 2]
    assert [e.version async for e in newer.read_all(order="total", where=where)] == [1, 2]
    partition = (await anext(newer.read("order-1"))).partition
    assert [e.version async for e in newer.read_partition(partition, where=where)] == [1, 2]
    with anyio.fail_after(10):
        async with aclosing(newer.subscribe(where=where)) as events:
            assert [(await anext(events)).version, (await anext(events)).version] == [1, 2]


async def test_an_event_that_was_read_can_be_moved_as_it_was_read(newer: EventStore) -> None:
    """Type, schema version and data of an envelope belong together, or the import would upcast what is new already."""
    read = wire.envelope(await anext(newer.read("order-1")))
    incoming = wire.from_envelope(wire.strict_json(wire.encode(read)))
    await newer.append("copy-1", [incoming.event.data])
    assert (await anext(newer.read("copy-1"))).data == OrderPlaced(500)


async def test_data_that_no_longer_fit_are_named_with_their_place(server: Server) -> None:
    @event(name="OrderCreated", version=2, upcasters={1: lambda old: {"sum": old["sum"]}})
    class Broken(Struct):
        sum: int

    async with open_store(server.settings, types=[OrderCreated]) as older:
        await older.append("order-1", [OrderCreated(5)])
    async with open_store(server.settings, types=[Broken]) as newer:
        with pytest.raises(InvalidEvent) as caught:
            await anext(newer.read("order-1"))
    assert "OrderCreated: the upcaster from version 1 failed: KeyError: 'sum'" in caught.value.detail
    assert "order-1 version 1, partition" in caught.value.detail
    assert caught.value.facts["stream"] == "order-1"


async def test_types_that_contradict_each_other_are_an_error_at_start(server: Server) -> None:
    with pytest.raises(EventTypeError, match="is the name of one type and a former name of another"):
        async with open_store(server.settings, types=[OrderPlaced, Contradicting]):
            pass


async def test_a_strict_store_appends_no_struct_that_it_was_not_given(server: Server) -> None:
    """The class of a command is a Struct, too: it would be stored for ever, and read by nobody."""
    async with open_store(server, types=[Noted], strict_types=True) as store:
        command = [Deposit(1)]
        for append in (
            lambda: store.append("account-1", command),
            lambda: store.append_many([StreamAppend("account-1", command)]),
        ):
            with pytest.raises(InvalidEvent, match="Deposit is not a known type, and strict_types is set"):
                await append()
        async with store.writing("account-1", ACCOUNT) as writing:
            with pytest.raises(InvalidEvent, match="Deposit is not a known type"):
                writing.append(*command)
            writing.append(Deposited(5))  # the fold names it
        await store.append("account-1", [Noted(1)])
        assert await store.version("account-1") == 2
        await audit.record(store, "ada", "look")  # what the packages keep themselves
        assert await store.version("$audit") == 1
