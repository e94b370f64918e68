"""The audit stream on a real server: one chain, whoever writes."""

from typing import Any
from uuid import uuid4

import anyio
import pytest

from eventstore import audit
from eventstore.audit import BEGINNING, AuditRecorded
from eventstore.envelope import NewEvent, Receipt, Untyped
from eventstore.epochs import LostEvents
from eventstore.errors import IdConflict, InvalidEvent
from eventstore.partitions import partition_of
from eventstore.store import EventStore
from infrastructure.settings import Settings
from tests.support.fixtures import server_fixture, store_fixture
from tests.support.servers import Server
from tests.support.stores import rewrite, settings_of

pytestmark = pytest.mark.anyio


server = server_fixture(scope="module")
store = store_fixture()


async def contents(store: EventStore) -> list[AuditRecorded]:
    return [entry.data async for entry in audit.entries(store)]


async def test_an_entry_says_who_did_what_and_why(store: EventStore) -> None:
    receipt = await audit.record(store, "ada", "pause", "deploy", {"group": "mailer"})
    (entry,) = await contents(store)
    assert (entry.who, entry.what, entry.why, entry.facts) == ("ada", "pause", "deploy", {"group": "mailer"})
    assert entry.previous == BEGINNING
    assert (receipt.stream, receipt.version) == ("$audit", 1)


async def test_each_entry_names_the_digest_of_the_one_before(store: EventStore) -> None:
    for what in ("pause", "resume", "replay"):
        await audit.record(store, "ada", what)
    first, second, third = await contents(store)
    assert (second.previous, third.previous) == (first.digest, second.digest)
    assert await audit.check_chain(store) is None


async def test_the_chain_holds_for_every_kind_of_fact(store: EventStore) -> None:
    facts: dict[Any, Any] = {
        "float": 1e22,
        "big": 2**60,
        "nested": {"b": [1, 2.0, None], "a": "ä"},
        3: (1, 2),
        "id": uuid4(),
    }
    await audit.record(store, "ada", "strange", "ünïcode", facts)
    await audit.record(store, "ada", "next")
    assert await audit.check_chain(store) is None
    assert (await contents(store))[0].facts["3"] == [1, 2]


@pytest.mark.parametrize("facts", [{"a": float("nan")}, {"a": "\ud800"}, {"a": object()}])
async def test_facts_that_json_cannot_hold_are_refused_and_nothing_is_written(
    store: EventStore, facts: dict[str, object]
) -> None:
    with pytest.raises(InvalidEvent):
        await audit.record(store, "ada", "strange", None, facts)
    assert await contents(store) == []


async def test_many_writers_make_one_chain(server: Server, store: EventStore) -> None:
    async with EventStore.open(settings=same_log(server, store)) as other, anyio.create_task_group() as tasks:
        for number in range(30):
            tasks.start_soon(audit.record, (store, other)[number % 2], "ada", f"change {number}")
    assert {entry.what for entry in await contents(store)} == {f"change {number}" for number in range(30)}
    assert await audit.check_chain(store) is None


async def test_an_entry_with_an_id_is_written_once(store: EventStore) -> None:
    event_id = uuid4()
    first = await audit.record(store, "ada", "pause", id=event_id)
    await audit.record(store, "bob", "resume")
    assert await audit.record(store, "ada", "pause", id=event_id) == first
    assert len(await contents(store)) == 2


async def test_an_entry_with_an_id_is_written_once_by_many_at_once(server: Server, store: EventStore) -> None:
    event_id = uuid4()
    receipts: list[Receipt] = []

    async def write(where: EventStore) -> None:
        receipts.append(await audit.record(where, "ada", "pause", id=event_id))

    async with EventStore.open(settings=same_log(server, store)) as other, anyio.create_task_group() as tasks:
        for number in range(10):
            tasks.start_soon(write, (store, other)[number % 2])
    assert len(receipts) == 10
    assert all(receipt == receipts[0] for receipt in receipts)
    assert len(await contents(store)) == 1


async def test_an_entry_with_an_id_is_written_once_also_after_the_duplicate_window(
    server: Server, store: EventStore
) -> None:
    event_id = uuid4()
    await audit.record(store, "ada", "pause", id=event_id)
    partition = partition_of("$audit", 4)
    for key in store.log.keys.duplicates(partition):
        server.admin("DEL", key)
        server.admin("HSET", key, "", "")
    await audit.record(store, "ada", "pause", id=event_id)
    assert len(await contents(store)) == 1


async def test_an_id_of_another_stream_is_refused(store: EventStore) -> None:
    event_id = uuid4()
    neighbour = next(s for s in (f"order-{n}" for n in range(99)) if partition_of(s, 4) == partition_of("$audit", 4))
    await store.append(neighbour, [NewEvent(data=Untyped("OrderPlaced", {}), id=event_id)])
    with pytest.raises(IdConflict):
        await audit.record(store, "ada", "pause", id=event_id)


async def test_the_same_loss_reported_twice_is_one_entry(store: EventStore) -> None:
    lost = LostEvents(observer="totals", partition=2, epoch=17, first=41, last=57)
    first = await audit.record_lost(store, lost)
    assert await audit.record_lost(store, lost) == first
    (entry,) = await contents(store)
    assert (entry.who, entry.what) == ("totals", "LostEvents")
    assert entry.facts == {"partition": 2, "epoch": 17, "first": 41, "last": 57}
    await audit.record_lost(store, LostEvents(observer="totals", partition=2, epoch=17, first=42, last=57))
    assert len(await contents(store)) == 2


async def test_a_process_that_never_wrote_one_reads_entries(server: Server, store: EventStore) -> None:
    await audit.record(store, "ada", "pause")
    async with EventStore.open(settings=same_log(server, store)) as reader:
        assert [entry.who for entry in await contents(reader)] == ["ada"]
        assert await audit.check_chain(reader) is None


async def test_a_forged_entry_is_found(server: Server, store: EventStore) -> None:
    for what in ("pause", "resume", "replay"):
        await audit.record(store, "ada", what)
    events = store.log.keys.events(partition_of("$audit", 4))
    rewrite(server, events, lambda _, value: value.replace(b'"resume"', b'"delete"'))
    broken = await audit.check_chain(store)
    assert broken is not None
    assert broken.version == 2


def same_log(server: Server, store: EventStore) -> Settings:
    return settings_of(server, prefix=store.log.settings.prefix)
