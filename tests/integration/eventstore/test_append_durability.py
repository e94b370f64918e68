"""What an acknowledgement has reached: disk or replicas; and what is said when it has not."""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from uuid import uuid4

import pytest

from eventstore import DurabilityNotReached, InvalidRequest, NewEvent, Unavailable
from eventstore.subscribe import promise
from eventstore.verify import verify
from infrastructure.server_program import find_program
from tests.support.impatient import impatient_store
from tests.support.recorded import recorded
from tests.support.servers import Server, newer_servers, redis_server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

SHORT_SECONDS = 1.0
SYNCED_LATE = ["--appendonly", "yes", "--appendfsync", "everysec"]
NEWER = [find_program(), *newer_servers()]


@asynccontextmanager
async def persistent(binary: str, fsync: str) -> AsyncIterator[Server]:
    async with redis_server(binary, ["--appendonly", "yes", "--appendfsync", fsync]) as server:
        yield server


@pytest.mark.parametrize("binary", ["redis-server", *NEWER])
async def test_fsync_needs_no_waiting_where_every_write_is_synced(binary: str) -> None:
    async with persistent(binary, "always") as server, open_store(server, durability="fsync") as store:
        await store.append("order-1", [Noted(1)])
        assert store.log.durability.level == "fsync"
        assert server.calls_of("waitaof") == 0


@pytest.mark.parametrize("binary", NEWER)
async def test_fsync_waits_for_the_disk_where_the_server_can_tell(binary: str) -> None:
    async with persistent(binary, "everysec") as server, open_store(server, durability="fsync") as store:
        receipt = await store.append("order-1", [Noted(1)])
        assert server.calls_of("waitaof") >= 1
        assert b"aof_pending_bio_fsync:0" in server.admin("INFO", "persistence")
        assert recorded(server, store.log)[0].position == receipt.position


@pytest.mark.parametrize(
    ("binary", "appendonly", "fsync", "says"),
    [
        ("redis-server", "yes", "everysec", "appendfsync is everysec and the server has no WAITAOF"),
        ("redis-server", "yes", "no", "appendfsync is no"),
        ("redis-server", "no", "always", "appendonly is no"),
        (find_program(), "yes", "no", "appendfsync is no"),
        (find_program(), "no", "everysec", "appendonly is no"),
    ],
)
async def test_fsync_is_refused_at_start_where_the_server_cannot_give_it(
    binary: str, appendonly: str, fsync: str, says: str
) -> None:
    async with redis_server(binary, ["--appendonly", appendonly, "--appendfsync", fsync]) as server:
        with pytest.raises(Unavailable, match=says) as caught:
            async with open_store(server, durability="fsync"):
                pass
        assert caught.value.reason == "unsupported"
        assert "CONFIG SET" in str(caught.value.remedy)
        assert server.admin("DBSIZE") == 0


@pytest.mark.parametrize("wanted", ["replicas:x", "replicas:0", "replicas:", "1", "disk"])
async def test_a_level_that_is_none_is_refused_at_start(wanted: str) -> None:
    async with redis_server() as server:
        with pytest.raises(InvalidRequest, match="is unknown") as caught:
            async with open_store(server.settings, durability=wanted):
                pass
        assert "replicas:N" in str(caught.value.remedy)


async def test_without_a_wish_the_level_is_what_the_server_gives() -> None:
    async with persistent("redis-server", "everysec") as server:
        async with open_store(server) as store:
            assert store.log.durability.level == "memory"
        server.admin("CONFIG", "SET", "appendfsync", "always")
        async with open_store(server) as store:
            assert store.log.durability.level == "fsync"


@asynccontextmanager
async def a_pair(binary: str) -> AsyncIterator[tuple[Server, Server]]:
    async with redis_server(binary) as primary, redis_server(binary) as replica:
        replica.admin("REPLICAOF", "127.0.0.1", primary.port)
        await until(lambda: b"state=online" in primary.admin("INFO", "replication"))
        yield primary, replica


@pytest.mark.parametrize("binary", ["redis-server", find_program()])
async def test_an_acknowledged_append_is_on_the_replica(binary: str) -> None:
    async with a_pair(binary) as (primary, replica), open_store(primary.settings, durability="replicas:1") as store:
        receipt = await store.append("order-1", [Noted(1)])
        assert [entry.id for entry in recorded(replica, store.log)] == list(receipt.ids)


@pytest.mark.parametrize("binary", ["redis-server", find_program()])
async def test_an_append_that_no_replica_has_is_told_with_its_receipt_and_so_is_its_repeat(binary: str) -> None:
    event = [NewEvent(id=uuid4(), data=Noted(1))]
    async with a_pair(binary) as (primary, replica):
        async with impatient_store(primary.port, SHORT_SECONDS, durability="replicas:1") as store:
            os.kill(replica.process.pid, signal.SIGSTOP)
            errors = []
            for _ in range(2):
                with pytest.raises(DurabilityNotReached, match=r"replicas:1 was not reached") as caught:
                    await store.append("order-1", event)
                errors.append(caught.value)
        assert errors[0].receipt == errors[1].receipt
        async with impatient_store(
            primary.port, SHORT_SECONDS, durability="replicas:1"
        ) as other:  # whose connection wrote nothing
            with pytest.raises(DurabilityNotReached):
                await other.append("order-1", event)
            os.kill(replica.process.pid, signal.SIGCONT)
            await until(lambda: len(recorded(replica, other.log)) == 1)
            assert await other.append("order-1", event) == errors[0].receipt
            assert len(recorded(primary, other.log)) == len(recorded(replica, other.log)) == 1


async def test_a_user_who_may_not_wait_is_refused_at_start() -> None:
    async with redis_server() as server, redis_server() as replica:
        replica.admin("REPLICAOF", "127.0.0.1", server.port)
        await until(lambda: b"state=online" in server.admin("INFO", "replication"))
        server.admin("ACL", "SETUSER", "default", "-wait")
        with pytest.raises(Unavailable, match="wait") as refused:
            async with open_store(server, durability="replicas:1"):
                pass
    assert refused.value.reason == "permission"


@pytest.mark.parametrize(
    ("durability", "args"),
    [("replicas:1", []), ("replicas:1", ["--min-replicas-to-write", "1"]), ("fsync", []), ("fsync", SYNCED_LATE)],
)
async def test_who_only_reads_needs_no_durability(durability: str, args: list[str]) -> None:
    """C07: while the replica is away, or the disk does not keep what appends are to be promised."""
    async with redis_server() as server, open_store(server.settings) as writer:
        receipt = await writer.append("order-1", [Noted(1)])
        for name, value in zip(args[::2], args[1::2], strict=True):
            server.admin("CONFIG", "SET", name.removeprefix("--"), value)
        with pytest.raises(Unavailable, match="durability"):
            async with open_store(server.settings, durability=durability):
                pass
        async with open_store(server.settings, durability=durability, read_only=True) as reader:
            assert [event.data for event in [e async for e in reader.read("order-1")]] == [Noted(1)]
            assert await verify(reader.log) == []
            async with aclosing(reader.subscribe()) as events:
                assert (await anext(events)).id == receipt.ids[0]
            with pytest.raises(Unavailable, match="read_only=True") as caught:
                await reader.append("order-1", [Noted(2)])
            assert (caught.value.reason, caught.value.maybe_ran) == ("permission", False)
            with pytest.raises(Unavailable, match=r"has not reached|NOREPLICAS"):  # it would be less than an append
                await promise(reader.log, receipt.partition, 0)
