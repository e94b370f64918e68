"""What somebody else has broken: the log says so, and neither writes on over it nor gives a receipt for what no reader
would find."""

from collections.abc import AsyncIterator, Callable, Sequence
from uuid import UUID

import anyio
import pytest

from eventstore import EventStore, EventStoreError, LogDamaged, Metadata, NewEvent, Priority, Unavailable
from eventstore.subscribe import promise
from tests.support.fixtures import server_fixture
from tests.support.logs import stream_in
from tests.support.recorded import is_at_its_place, recorded
from tests.support.servers import Server
from tests.support.stores import Noted, open_store, rewrite, settings_of

pytestmark = pytest.mark.anyio

HIGH = Metadata(priority=Priority.HIGH)


server = server_fixture(scope="module")


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, partitions=1) as store:
        await store.append("order-1", [Noted(1), Noted(2)])
        yield store


async def test_what_is_appended_after_the_log_was_deleted_is_where_its_receipt_says(
    store: EventStore, server: Server
) -> None:
    server.admin("DEL", store.log.keys.events(0))
    receipt = await store.append("order-1", [Noted(3), Noted(4)])
    assert is_at_its_place(receipt, recorded(server, store.log))
    assert [event.data.n async for event in store.read("order-1", from_version=3)] == [3, 4]


async def test_an_entry_of_a_strangers_stops_the_log_before_anything_is_written(
    store: EventStore, server: Server
) -> None:
    before = recorded(server, store.log)
    stranger = server.admin("XADD", store.log.keys.events(0), f"{before[-1].epoch}-*", "a", "b")
    with pytest.raises(EventStoreError, match="XADD"):
        await store.append("order-1", [Noted(3)])
    server.admin("XDEL", store.log.keys.events(0), stranger)
    assert recorded(server, store.log) == before
    assert await store.version("order-1") == 2


@pytest.mark.parametrize("kind", ["another type", "an entry ahead"])
async def test_a_broken_index_of_urgent_events_fails_urgent_appends_only(
    store: EventStore, server: Server, kind: str
) -> None:
    key = store.log.keys.urgent(0)
    if kind == "another type":
        server.admin("DEL", key)
        server.admin("SET", key, "x")
    else:
        server.admin("XADD", key, f"{recorded(server, store.log)[-1].epoch}-3", "p", "H")
    with pytest.raises(LogDamaged, match=r"urgent|WRONGTYPE"):
        await store.append("order-1", [Noted(0), Noted(0)], metadata=HIGH)
    receipt = await store.append("order-1", [Noted(3)])
    assert (receipt.version, receipt.position) == (3, 3)
    assert [event.data.n async for event in store.read("order-1")] == [1, 2, 3]


async def test_a_log_without_its_head_is_not_begun_anew_over_its_events(server: Server) -> None:
    settings = settings_of(server, partitions=1)
    async with EventStore.open(settings=settings, types=[Noted]) as store:
        await store.append("order-1", [Noted(1)])
    server.admin("DEL", store.log.keys.head(0))
    async with EventStore.open(settings=settings, types=[Noted]) as store:
        with pytest.raises(LogDamaged, match="head does not exist"):
            await store.append("order-1", [Noted(2)])
    assert len(recorded(server, store.log)) == 1


@pytest.mark.parametrize("field", ["replid", "number", "noted", "pos", "last", "bucket", "age", "at"])
async def test_a_head_that_lacks_something_stops_the_log_before_anything_is_written(
    store: EventStore, server: Server, field: str
) -> None:
    before, key = recorded(server, store.log), store.log.keys.head(0)
    kept = server.admin("HGET", key, field)
    server.admin("HDEL", key, field)
    with pytest.raises(LogDamaged, match="head"):
        await store.append("order-1", [Noted(3)])
    assert recorded(server, store.log) == before
    server.admin("HSET", key, field, kept)
    assert (await store.append("order-1", [Noted(3)])).version == 3


@pytest.mark.parametrize("field", ["number", "noted", "pos", "last", "bucket", "age", "at"])
async def test_a_head_that_holds_no_number_stops_the_log_and_names_the_field(
    store: EventStore, server: Server, field: str
) -> None:
    before, key = recorded(server, store.log), store.log.keys.head(0)
    kept = server.admin("HGET", key, field)
    server.admin("HSET", key, field, "7x")
    with pytest.raises(LogDamaged, match=rf"head: {field} is") as caught:
        await store.append("order-1", [Noted(3)])
    assert "backup" in str(caught.value.remedy)
    assert recorded(server, store.log) == before
    server.admin("HSET", key, field, kept)
    assert (await store.append("order-1", [Noted(3)])).version == 3


@pytest.mark.parametrize(
    ("field", "read"),
    [
        ("pos", lambda store: store.read("order-1")),
        ("noted", lambda store: store.read("order-1")),
        ("pos", lambda store: store.read_all()),
        ("noted", lambda store: store.read_all()),
        ("largest", lambda store: store.read_partition(0)),
        ("epochs", lambda store: store.read_all()),
    ],
)
async def test_who_reads_is_told_which_field_of_the_head_is_damaged(
    store: EventStore, server: Server, field: str, read: Callable[[EventStore], AsyncIterator[object]]
) -> None:
    server.admin("HSET", store.log.keys.head(0), field, "7x")
    with pytest.raises(LogDamaged, match=field):
        _ = [event async for event in read(store)]


@pytest.mark.parametrize("field", ["pos", "last", "noted"])
async def test_who_asks_for_the_position_of_a_time_is_told_which_field_is_damaged(
    store: EventStore, server: Server, field: str
) -> None:
    server.admin("HSET", store.log.keys.head(0), field, "7x")
    with pytest.raises(LogDamaged, match=field):
        await store.position_at(1)


@pytest.mark.parametrize("field", ["number", "pos", "last", "noted"])
async def test_no_promise_is_made_by_a_damaged_head(store: EventStore, server: Server, field: str) -> None:
    key = store.log.keys.head(0)
    server.admin("HSET", key, field, "7x")
    before = server.admin("HGETALL", key)
    with pytest.raises(LogDamaged, match=field):
        await promise(store.log, 0, 1)
    assert server.admin("HGETALL", key) == before


async def test_an_append_whose_repeat_is_looked_for_by_unreadable_epochs_is_told_so(
    store: EventStore, server: Server
) -> None:
    server.admin("HSET", store.log.keys.head(0), "epochs", "7x")
    with pytest.raises(LogDamaged, match=r"^order-1 cannot be appended to: the epochs of a partition are unreadable"):
        await store.append("order-1", [Noted(1)], expected=0)


async def test_epochs_that_are_none_are_not_written_over(store: EventStore, server: Server) -> None:
    """A new epoch is noted behind those before it."""
    key, before = store.log.keys.head(0), recorded(server, store.log)
    server.admin("HSET", key, "replid", "another", "epochs", "7x")
    with pytest.raises(LogDamaged, match="epochs"):
        await store.append("order-1", [Noted(3)])
    assert recorded(server, store.log) == before
    assert server.admin("HGET", key, "epochs") == b"7x"


@pytest.mark.parametrize(
    ("field", "value"),
    [("format", "x"), ("partitions", "4.5"), ("partitions", "0"), ("duplicate_window_us", "ten minutes")],
)
async def test_a_log_whose_fixed_numbers_are_none_is_not_opened(server: Server, field: str, value: str) -> None:
    settings = settings_of(server)
    async with EventStore.open(settings=settings):
        pass
    keys = server.admin("DBSIZE")
    server.admin("HSET", f"{settings.eventstore.prefix}:log", field, value)
    with pytest.raises(LogDamaged, match=rf":log: {field} "):
        async with EventStore.open(settings=settings):
            pass
    assert server.admin("DBSIZE") == keys


async def test_an_unreadable_name_of_a_stream_is_told_to_whom_it_concerns_alone(server: Server) -> None:
    """Who gives the id of an event that somebody has written over is told of a conflict with it."""
    event, outcomes = NewEvent(id=UUID(int=1), data=Noted(1)), dict[str, object]()

    async def append(store: EventStore, stream: str, events: Sequence[object]) -> None:
        try:
            outcomes[stream] = (await store.append(stream, events)).version
        except EventStoreError as error:
            outcomes[stream] = error.code

    async with open_store(server) as store:
        mine, same, another = (stream_in(0, 4, name) for name in ("mine", "same", "another"))
        beside = stream_in(2, 4)  # whose appends go to the server together with those of partition 0
        await store.append(mine, [event])
        rewrite(server, store.log.keys.events(0), lambda _, value: value.replace(mine.encode(), b"\xff" * len(mine)))
        async with anyio.create_task_group() as tasks:
            for stream, events in ((same, [event]), (another, [Noted(2)]), (beside, [Noted(3)])):
                tasks.start_soon(append, store, stream, events)
    assert outcomes == {same: "id-conflict", another: 1, beside: 1}


async def test_a_log_that_was_flushed_says_so_to_those_who_have_it_open(store: EventStore, server: Server) -> None:
    server.admin("FLUSHALL")
    with pytest.raises(LogDamaged, match="head does not exist") as caught:
        await store.append("order-1", [Noted(3)])
    assert "open" in str(caught.value.remedy)
    with pytest.raises(LogDamaged, match="head does not exist"):
        _ = [event async for event in store.read_all()]
    assert server.admin("DBSIZE") == 0


@pytest.mark.parametrize("command", [("HSET", "field", "value"), ("SET", "value")])
async def test_a_key_of_another_program_is_no_log(server: Server, command: tuple[str, ...]) -> None:
    settings = settings_of(server)
    name, *rest = command
    server.admin(name, f"{settings.eventstore.prefix}:log", *rest)
    with pytest.raises(LogDamaged, match="is no log") as caught:
        async with EventStore.open(settings=settings):
            pass
    assert "EVENTSTORE_PREFIX" in str(caught.value.remedy)


async def test_a_half_made_log_on_a_full_server_is_refused_by_one_plain_error(server: Server) -> None:
    settings = settings_of(server, partitions=3)
    async with EventStore.open(settings=settings) as store:
        pass
    for partition in range(3):
        server.admin("DEL", store.log.keys.head(partition), store.log.keys.outgoing(partition))
    server.admin("CONFIG", "SET", "maxmemory", "1")
    try:
        with pytest.raises(Unavailable) as caught:
            async with EventStore.open(settings=settings):
                pass
        assert caught.value.reason == "out-of-memory"
    finally:
        server.admin("CONFIG", "SET", "maxmemory", "0")
    async with EventStore.open(settings=settings):
        pass
