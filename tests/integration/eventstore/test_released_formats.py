"""A log that an older release has written opens, on every server; so does a file that it has exported.

tests/support/format_fixture.py tells what the fixtures hold, and how a new format leaves one."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from eventstore import EventStore, Filter, NewEvent, Priority, transfer, wire
from eventstore.log import FORMAT
from eventstore.verify import verify
from tests.support import format_fixture
from tests.support.every_server import EVERY, Promised
from tests.support.format_fixture import NOTED, TYPES, UNICODE, OrderPaid, OrderPlaced, Owed, load, owed
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio
RELEASED = sorted(format_fixture.ROOT.iterdir())


@pytest.fixture(scope="module", params=EVERY, ids=str)
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    promised: Promised = request.param
    async with redis_server(promised.find()) as server:
        yield server


@pytest.fixture(params=RELEASED, ids=lambda folder: f"format {folder.name}")
def released(request: pytest.FixtureRequest) -> Path:
    folder: Path = request.param
    return folder


@pytest.fixture
async def store(server: Server, released: Path) -> AsyncIterator[EventStore]:
    """The log of that release, opened by this one."""
    server.admin("FLUSHALL")
    load(server, (released / "keys.ndjson").read_text("utf-8"))
    async with EventStore.open(settings=format_fixture.settings_of(server), types=TYPES) as store:
        yield store
    server.admin("FLUSHALL")


def test_the_present_format_has_left_its_fixture() -> None:
    assert FORMAT in [folder.name for folder in RELEASED]


async def test_every_event_is_read_as_it_was(store: EventStore, server: Server, released: Path) -> None:
    async with EventStore.open(settings=format_fixture.settings_of(server)) as untyped:
        read = [json.loads(line) async for line in transfer.export_events(untyped)]
    written = [json.loads(line) for line in (released / "export.ndjson").read_bytes().splitlines()]
    assert len(written) > 10
    assert [{name: event.get(name) for name in line} for event, line in zip(read, written, strict=True)] == written


async def test_older_schema_versions_climb_to_the_present_one(store: EventStore) -> None:
    first, second, *_ = [event async for event in store.read("order-1")]
    assert (first.data, second.data) == (OrderPlaced(500), OrderPlaced(700))
    assert second.metadata.priority is Priority.HIGH
    assert second.metadata.headers == {"tenant": "acme", "größe": "1 €"}


async def test_names_and_data_of_any_script_are_whole(store: EventStore) -> None:
    (only,) = [event async for event in store.read(UNICODE)]
    assert (only.type, only.data) == ("Kundin.neu", {"name": "Åsa 🦊", "tags": [None, 1.5, True]})
    assert [event.stream async for event in store.read_all(where=Filter(types=("Kundin.neu",)))] == [UNICODE]


async def test_nothing_contradicts_the_invariants(store: EventStore) -> None:
    assert await verify(store.log) == []
    epochs = {event.epoch async for event in store.read_all(system=True)}
    assert len(epochs) > 1


async def test_it_goes_on_where_it_ended(store: EventStore) -> None:
    heads = (await store.heads()).places
    before = [event async for event in store.read("order-1")]
    receipt = await store.append("order-1", [OrderPaid(1)], expected=len(before))
    assert receipt.version == len(before) + 1
    assert receipt.position == heads[receipt.partition][1] + 1
    assert receipt.epoch > max(event.epoch for event in before)
    assert await verify(store.log) == []


async def test_an_id_that_was_noted_is_known_again(store: EventStore) -> None:
    (noted,) = [event async for event in store.read("order-1") if event.id == NOTED]
    heads = await store.heads()
    receipt = await store.append("order-1", [NewEvent(data=OrderPaid(300), id=NOTED)])
    assert (receipt.version, receipt.position, receipt.epoch) == (noted.version, noted.position, noted.epoch)
    assert receipt.recorded_at == noted.recorded_at
    assert await store.heads() == heads


async def test_a_state_is_that_of_all_events_with_or_without_its_snapshot(store: EventStore, server: Server) -> None:
    expected = Owed(sum(each.cents if isinstance(each, OrderPlaced) else -each.cents for each in await order_1(store)))
    assert server.admin("KEYS", "*snap:order-1")
    assert (await store.load("order-1", owed)).state == expected


async def order_1(store: EventStore) -> list[OrderPlaced | OrderPaid]:
    return [event.data async for event in store.read("order-1")]


async def test_an_exported_file_is_imported_once(server: Server, released: Path) -> None:
    file = released / "export.ndjson"
    async with open_store(server, types=TYPES) as store:
        done = await transfer.import_events(store, file, who="ada")
        again = await transfer.import_events(store, file, who="ada")
        assert (done.appended, again.appended) == (done.events, 0)
        for line in map(wire.strict_json, file.read_bytes().splitlines()):
            (event,) = [e async for e in store.read(line["stream"], from_version=line["version"], limit=1)]
            assert (str(event.id), event.metadata.correlation_id) == (line["id"], line["metadata"]["correlation_id"])
        assert await order_1(store)
        assert await verify(store.log) == []
