"""Commits on a server in trouble: no memory, no replica, no answer, keys that a stranger has taken."""

from collections.abc import AsyncIterator, Awaitable

import pytest
from msgspec.structs import replace
from redis.exceptions import OutOfMemoryError

from consumers.commit_call import rewind
from consumers.errors import Stale, Unavailable
from consumers.keys import GroupKeys
from consumers.lease_calls import acquire, release, renew
from consumers.order_calls import give_order, pause
from consumers.state import Order, Outgoing, Rewind, Row, Stored
from eventstore import EventStore
from eventstore.errors import EventStoreError, LogDamaged
from infrastructure.secrets import SecretUrl
from infrastructure.settings import RedisSettings
from tests.support.holding import LEASE_MS, Holding, everything, fields_of, held
from tests.support.logs import attach, fill
from tests.support.proxy import proxy
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio

EVENT = Outgoing(0, "mail-1", b"e" * 30, 1, "N")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server() as server:
        yield server


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, partitions=1) as store:
        await fill(store, "order-1", 3)
        yield store


# ---- out of memory ----


@pytest.fixture
async def full(server: Server, store: EventStore) -> AsyncIterator[Holding]:
    """A server that refuses whatever needs memory."""
    holding = await held(store)
    await holding.commit(1, {"order-2": holding.retrying(1, 1)}, effects=(holding.counted("n"),), out=(EVENT,))
    server.admin("CONFIG", "SET", "maxmemory", 1)
    try:
        with pytest.raises(OutOfMemoryError):
            server.admin("SET", "other", "x")
        yield holding
    finally:
        server.admin("CONFIG", "SET", "maxmemory", 0)


async def test_without_memory_leases_go_on_and_so_do_the_offset_and_rows(
    server: Server, store: EventStore, full: Holding
) -> None:
    await renew(store.log.redis, full.keys, full.token, LEASE_MS)
    await give_order(store.log, full.keys, Order("o1", "retry", "order-2", 1))
    await pause(store.log, full.keys, "why")
    failing = {"order-1": full.retrying(2, 2), "order-2": Row(1)}
    reply = await full.commit(3, failing, failures={"order-1": b"{}"}, taken={"o1": True})
    assert (reply.gone, reply.fin) == (frozenset({"order-2"}), 3)
    assert await release(store.log, full.keys, full.token) is True
    taken = await acquire(store.log, full.keys, "bob", LEASE_MS)
    assert isinstance(taken, Stored)
    await rewind(store.log, full.keys, Rewind(taken.token("bob"), full.place(1), 0))


async def test_without_memory_what_handlers_brought_is_refused_and_can_be_repeated(
    server: Server, full: Holding
) -> None:
    before = everything(server)
    calls = [full.call(2, effects=(full.counted("n"),)), full.call(2, out=(EVENT,))]
    for call in calls:
        with pytest.raises(Unavailable) as refused:
            await full.send(call)
        assert (refused.value.reason, refused.value.maybe_ran) == ("out-of-memory", False)
    assert everything(server) == before
    server.admin("CONFIG", "SET", "maxmemory", 0)
    await full.send(calls[0])
    assert fields_of(server, full.effect_key("n")) == {"n": "2"}


# ---- strangers ----


def _key(keys: GroupKeys, name: str) -> str:
    return str(getattr(keys, name))


@pytest.mark.parametrize("name", ["control", "detached", "due", "orders", "errors", "out", "head"])
async def test_a_key_of_another_type_ends_no_script_midway(server: Server, store: EventStore, name: str) -> None:
    holding = await held(store)
    await holding.commit(1, {"order-1": holding.retrying(1, 1)})
    await give_order(store.log, holding.keys, Order("o1", "retry", "order-1", 1))
    key = _key(holding.keys, name)
    server.admin("DEL", key)
    server.admin("SET", key, "a stranger's")
    before = everything(server)
    row = {"order-1": holding.parked(1, 1), "order-2": holding.retrying(2, 1)}
    with pytest.raises(LogDamaged):
        await holding.commit(
            3, row, failures={"order-1": b"{}"}, taken={"o1": True}, out=(EVENT,), effects=(holding.counted("n"),)
        )
    assert everything(server) == before


@pytest.mark.parametrize("name", ["control", "detached", "due", "errors", "bell", "head"])
async def test_no_rewind_either(server: Server, store: EventStore, name: str) -> None:
    holding = await held(store)
    await holding.commit(3, {"order-1": holding.retrying(1, 1)})
    key = _key(holding.keys, name)
    server.admin("DEL", key)
    server.admin("SET", key, "a stranger's")
    before = everything(server)
    with pytest.raises(LogDamaged):
        await rewind(store.log, holding.keys, Rewind(holding.token, holding.place(1), 0, rows={"order-1": Row(1)}))
    assert everything(server) == before


@pytest.mark.parametrize("field", ["until", "number", "offset", "fin"])
async def test_a_number_that_is_none_is_told_and_nothing_is_written(
    server: Server, store: EventStore, field: str
) -> None:
    holding = await held(store)
    for damage in (("HSET", holding.keys.control, field, "x"), ("HDEL", holding.keys.control, field)):
        server.admin(*damage)
        before = everything(server)
        calls: list[Awaitable[object]] = [
            rewind(store.log, holding.keys, Rewind(holding.token, holding.place(1), 0)),
            give_order(store.log, holding.keys, Order("o1", "retry", "order-1", 1)),
            acquire(store.log, holding.keys, "bob", LEASE_MS, force=True),
        ]
        if field != "until":  # which no commit asks for
            calls.append(holding.commit(3, {"order-1": holding.retrying(1, 1)}))
        for call in calls:
            with pytest.raises(LogDamaged, match="number"):
                await call
        assert everything(server) == before


async def test_an_index_of_another_type_refuses_the_commit_that_asks_it(server: Server, store: EventStore) -> None:
    holding = await held(store)
    server.admin("SET", store.log.keys.index(0, "order-9"), "a stranger's")
    before = everything(server)
    with pytest.raises(LogDamaged):
        await holding.commit(3, {"order-9": Row(1)}, effects=(holding.counted("n"),))
    assert everything(server) == before


async def test_a_group_that_was_deleted_takes_no_commit(server: Server, store: EventStore) -> None:
    holding = await held(store)
    server.admin("DEL", *holding.keys.all)
    before = everything(server)
    with pytest.raises(Stale, match="the group is gone"):
        await holding.commit(3, {"order-1": holding.retrying(1, 1)})
    assert everything(server) == before


# ---- answers that do not come ----


async def test_after_a_lost_answer_the_same_commit_is_acknowledged_and_nothing_is_written_twice(
    server: Server, store: EventStore
) -> None:
    async with proxy(server.port) as between:
        where = RedisSettings(url=SecretUrl(f"redis://127.0.0.1:{between.port}"))
        async with open_store(where, partitions=1, prefix=store.log.settings.prefix) as elsewhere:
            holding = await held(elsewhere)
            await holding.commit(1)
            call = holding.call(2, {"order-1": Row(3)}, effects=(holding.counted("n"),), out=(EVENT,))
            between.cut_at_next_reply()
            with pytest.raises(Unavailable) as lost:
                await holding.send(call)
            assert lost.value.maybe_ran
            between.pass_on()
            assert (await holding.send(call)).gone == {"order-1"}
            assert fields_of(server, holding.effect_key("n")) == {"n": "1"}
            assert server.admin("XLEN", holding.keys.out) == 1


async def test_after_a_lost_answer_the_same_rewind_is_acknowledged_also_when_somebody_has_the_lease_by_then(
    server: Server, store: EventStore
) -> None:
    holding = await held(store)
    await holding.commit(3)
    call = Rewind(holding.token, holding.place(1), 0)
    await rewind(store.log, holding.keys, call)
    other = await held(store, "bob")
    await other.commit(2)
    await rewind(store.log, holding.keys, call)
    assert fields_of(server, holding.keys.control)["offset"] == holding.pending(2)
    await other.commit(3)


async def test_a_commit_counts_when_the_replicas_have_it() -> None:
    async with redis_server() as primary, redis_server() as replica:
        await attach(replica, primary)
        async with open_store(
            RedisSettings(url=primary.settings.url, socket_timeout_seconds=2), partitions=1, durability="replicas:1"
        ) as store:
            await fill(store, "order-1", 3)
            holding = await held(store)
            await holding.commit(1)
            replica.admin("REPLICAOF", "NO", "ONE")
            call = holding.call(2, effects=(holding.counted("n"),))
            for _ in range(2):
                with pytest.raises(Unavailable, match="replicas:1 was not reached") as missed:
                    await holding.send(call)
                assert (missed.value.reason, missed.value.maybe_ran) == ("no-replicas", True)
            await attach(replica, primary)
            await holding.send(call)
            assert fields_of(replica, holding.effect_key("n")) == {"n": "1"}


async def test_a_replica_takes_no_commit(server: Server) -> None:
    async with redis_server() as demoted, open_store(demoted.settings, partitions=1) as store:
        await fill(store, "order-1", 3)
        holding = await held(store)
        demoted.admin("REPLICAOF", "127.0.0.1", 1)
        before = everything(demoted)
        with pytest.raises(EventStoreError) as refused:
            await holding.commit(2)
        assert isinstance(refused.value, Stale) or refused.value.facts["reason"] == "read-only"
        assert everything(demoted) == before


async def test_a_script_that_the_server_has_forgotten_is_sent_again(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(1)
    server.admin("SCRIPT", "FLUSH")
    await holding.send(replace(holding.call(2), effects=(holding.counted("n"),)))
    assert fields_of(server, holding.effect_key("n")) == {"n": "1"}
