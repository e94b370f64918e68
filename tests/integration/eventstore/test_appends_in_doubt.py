"""What an append is told at its deadline: in doubt only what a server may have run; else that it was surely not
written."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import anyio
import pytest
from msgspec.structs import replace

from eventstore import EventStore, OutcomeUnknown, Unavailable
from infrastructure.secrets import SecretUrl
from tests.support.black_holes import black_hole, silence
from tests.support.servers import redis_server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

SHORT_SECONDS = 0.8


async def test_an_append_that_too_few_replicas_refuse_was_surely_not_written() -> None:
    """The script is refused at once; the WAIT behind it would wait beyond the deadline, for a write that was not."""
    async with redis_server() as primary, redis_server(args=["--replicaof", "127.0.0.1", str(primary.port)]) as replica:
        await until(lambda: b"state=online" in primary.admin("INFO", "replication"))
        async with open_store(primary, durability="replicas:1") as store:
            await store.append("order-1", [Noted(1)])
            primary.admin("CONFIG", "SET", "min-replicas-to-write", "1")
            replica.process.kill()
            await until(lambda: b"connected_slaves:0" in primary.admin("INFO", "replication"))
            for _ in range(2):
                error = await _refused(store)
                assert (error.reason, error.maybe_ran) == ("no-replicas", False)
            primary.admin("CONFIG", "SET", "min-replicas-to-write", "0")
            assert await store.version("order-1") == 1


@pytest.mark.parametrize("instead", [black_hole, silence])
async def test_an_append_without_a_connection_was_surely_not_written(
    instead: Callable[[int], AbstractContextManager[None]],
) -> None:
    """A connection that is not made, or on which the login is not answered, has carried no append."""
    async with redis_server(args=["--requirepass", "secret"]) as server:
        server.admin("AUTH", "secret")
        settings = replace(server.settings, url=SecretUrl(f"redis://:secret@127.0.0.1:{server.port}"))
        async with open_store(settings) as store:
            await store.append("order-1", [Noted(1)])
            server.process.kill()
            server.process.wait()
            with instead(server.port):
                error = await _refused(store)
    assert (error.reason, error.maybe_ran) == ("timeout", False)


async def test_an_append_that_was_sent_and_not_answered_is_in_doubt() -> None:
    async with redis_server() as server, open_store(server.settings) as store:
        await store.append("order-1", [Noted(1)])
        server.process.kill()
        server.process.wait()
        with silence(server.port), pytest.raises(OutcomeUnknown):  # a login is not needed: the append itself is sent
            await store.append("order-1", [Noted(2)], timeout_seconds=SHORT_SECONDS)


async def test_what_was_surely_not_written_is_not_written_later_either() -> None:
    """Two appends of one call wait for the only connection; one gives up before there is any."""
    async with redis_server() as server:
        settings = replace(server.settings, max_connections=1)
        async with open_store(settings) as store, anyio.create_task_group() as tasks:
            await store.append("order-1", [Noted(1)])
            key = store.log.keys.head(0)
            tasks.start_soon(store.log.redis.execute, key, "BLPOP", "key of none", 0)
            await until(lambda: b"blocked_clients:1" in server.admin("INFO", "clients"))
            tasks.start_soon(store.append, "patient-1", [Noted(3)])
            error = await _refused(store)
            assert error.maybe_ran is False
            server.admin("LPUSH", "key of none", "x")
            assert (await store.append("patient-1", [Noted(4)])).version == 2
            assert await store.version("order-1") == 1


async def test_nothing_is_sent_for_those_who_have_all_given_up() -> None:
    async with (
        redis_server() as server,
        open_store(replace(server.settings, max_connections=1)) as store,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(store.log.redis.execute, store.log.keys.head(0), "BLPOP", "key of none", 0)
        await until(lambda: b"blocked_clients:1" in server.admin("INFO", "clients"))
        await _refused(store)
        server.admin("LPUSH", "key of none", "x")
        assert (await store.append("order-2", [Noted(3)])).position == 1
        assert await store.version("order-1") == 0


async def _refused(store: EventStore) -> Unavailable:
    with pytest.raises(Unavailable) as caught:
        await store.append("order-1", [Noted(2)], timeout_seconds=SHORT_SECONDS)
    return caught.value
