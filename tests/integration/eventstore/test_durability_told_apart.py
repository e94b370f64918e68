"""What each level of durability promises, on servers that cannot keep it at that moment (`replicas`, `fsync`)."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from uuid import uuid4

import anyio
import pytest

from eventstore import DurabilityNotReached, EventStore, NewEvent, Receipt, Unavailable, audit
from eventstore.subscribe import promise
from infrastructure.server_program import find_program
from tests.support.impatient import impatient_store
from tests.support.logs import all_replicated, attach
from tests.support.recorded import is_at_its_place, recorded
from tests.support.servers import Server, newer_servers, redis_server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

SHORT_SECONDS = 0.6
NEWER = [find_program(), *newer_servers()]


@asynccontextmanager
async def replicated(replicas: int, binary: str = "redis-server") -> AsyncIterator[list[Server]]:
    """A primary and its replicas, in this order."""
    async with AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(redis_server(binary)) for _ in range(replicas + 1)]
        for replica in servers[1:]:
            await attach(replica, servers[0])
        yield servers


@asynccontextmanager
async def frozen(server: Server) -> AsyncIterator[None]:
    """The process stands still, and its connections stay open."""
    os.kill(server.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.process.pid, signal.SIGCONT)


@pytest.mark.parametrize("binary", ["redis-server", find_program()])
async def test_a_frozen_replica_withholds_the_receipt_from_every_repeat_until_it_goes_on(binary: str) -> None:
    event = [NewEvent(id=uuid4(), data=Noted(1))]
    async with (
        replicated(1, binary) as (primary, replica),
        impatient_store(primary.port, SHORT_SECONDS, durability="replicas:1") as store,
    ):
        async with frozen(replica):
            told = []
            for _ in range(3):
                with pytest.raises(DurabilityNotReached, match="written, but replicas:1 was not reached") as caught:
                    await store.append("order-1", event, expected=0)
                told.append(caught.value.receipt)
        receipt = await _reached(store, event)
        assert told == [receipt] * 3
        assert is_at_its_place(receipt, recorded(replica, store.log))
        assert len(recorded(primary, store.log)) == 1


async def _reached(store: EventStore, event: list[NewEvent]) -> Receipt:
    """Repeats the append until it is acknowledged."""
    with anyio.fail_after(20):
        while True:
            try:
                return await store.append("order-1", event, expected=0)
            except DurabilityNotReached:
                continue


async def test_a_promise_and_an_audit_entry_are_as_durable_as_an_append() -> None:
    entry = uuid4()
    async with (
        replicated(1) as (primary, replica),
        impatient_store(primary.port, SHORT_SECONDS, durability="replicas:1") as store,
    ):
        assert await promise(store.log, 0, 5) == ((0, 0), 5)
        async with frozen(replica):
            with pytest.raises(Unavailable, match="has not reached replicas:1") as caught:
                await promise(store.log, 0, 7)
            assert caught.value.reason == "no-replicas"
            told = []
            for _ in range(2):  # the second finds the entry of the first
                with pytest.raises(DurabilityNotReached) as unreached:
                    await audit.record(store, "ada", "replay", id=entry)
                told.append(unreached.value.receipt)
        await all_replicated(primary, replica)
        assert told == [await audit.record(store, "ada", "replay", id=entry)] * 2
        assert await audit.check_chain(store) is None


async def test_more_replicas_than_there_are_refuse_the_start() -> None:
    async with replicated(1) as (primary, _):
        with pytest.raises(Unavailable, match="replicas:2 asked for, 1 replicas connected") as refused:
            async with open_store(primary, durability="replicas:2"):
                pass
        assert refused.value.reason == "unsupported"
        assert "EVENTSTORE_DURABILITY" in str(refused.value.remedy)
        assert primary.admin("DBSIZE") == 0


async def test_one_replica_of_two_is_not_enough_and_both_are() -> None:
    event = [NewEvent(id=uuid4(), data=Noted(1))]
    async with (
        replicated(2) as (primary, one, other),
        impatient_store(primary.port, SHORT_SECONDS, durability="replicas:2") as store,
    ):
        async with frozen(other):
            with pytest.raises(DurabilityNotReached, match="replicas:2") as caught:
                await store.append("order-1", event, expected=0)
            assert len(recorded(one, store.log)) == 1
        assert await _reached(store, event) == caught.value.receipt
        assert len(recorded(other, store.log)) == 1


async def test_what_a_replica_has_acknowledged_outlives_the_primary() -> None:
    acknowledged: list[Receipt] = []
    async with replicated(1) as (primary, replica):
        async with open_store(primary.settings, durability="replicas:1", append_timeout_seconds=1) as store:
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(_append_on_and_on, store, f"order-{number}", acknowledged)
                await until(lambda: len(acknowledged) >= 200)
                primary.process.kill()
            before = len(acknowledged)
        replica.admin("REPLICAOF", "NO", "ONE")
        async with open_store(replica.settings) as store:
            entries = recorded(replica, store.log)
            assert [r for r in acknowledged if not is_at_its_place(r, entries)] == []
            assert len(entries) >= before >= 200
            assert (await store.append("order-0", [Noted(0)])).epoch > max(r.epoch for r in acknowledged)


async def _append_on_and_on(store: EventStore, stream: str, acknowledged: list[Receipt]) -> None:
    n = 0
    while True:
        try:
            acknowledged.append(await store.append(stream, [Noted(n)]))
        except Unavailable:
            return
        except Exception as error:
            if getattr(error, "code", "") != "outcome-unknown":
                raise
            return
        n += 1


@pytest.mark.parametrize(
    ("binary", "fsync", "off", "on"),
    [
        ("redis-server", "always", "appendonly no", "appendonly yes"),
        ("redis-server", "always", "appendfsync everysec", "appendfsync always"),
        *((binary, "always", "appendonly no", "appendonly yes") for binary in NEWER),
        *((binary, "everysec", "appendonly no", "appendonly yes") for binary in NEWER),
    ],
)
async def test_fsync_is_not_claimed_when_the_server_was_told_to_sync_less(
    binary: str, fsync: str, off: str, on: str
) -> None:
    event = [NewEvent(id=uuid4(), data=Noted(1))]
    async with (
        redis_server(binary, ["--appendonly", "yes", "--appendfsync", fsync]) as server,
        open_store(server.settings, durability="fsync") as store,
    ):
        assert (await store.append("order-2", [Noted(0)])).version == 1
        server.admin("CONFIG", "SET", *off.split())
        for _ in range(2):
            with pytest.raises(DurabilityNotReached, match="fsync was not reached") as caught:
                await store.append("order-1", event, expected=0)
        server.admin("CONFIG", "SET", *on.split())
        await until(lambda: b"aof_rewrite_in_progress:0" in server.admin("INFO", "persistence"))
        assert await _reached(store, event) == caught.value.receipt
