"""Workers share the partitions whose timers they fire, and need nothing while nothing is due."""

from collections.abc import AsyncIterator
from math import inf

import anyio
import pytest

from consumers.keys import home_of, timekeeper_keys, timer_keys
from consumers.timers import bells, schedule
from consumers.timers.calls import schedule_event
from consumers.timers.timekeeper import FAR_SECONDS, NEAR_SECONDS, Clock, Timekeeper, keeping_time, slumber
from eventstore import EventStore
from eventstore.errors import LogDamaged, Unavailable
from infrastructure.settings import RedisSettings
from tests.support.cluster import ClusterOfServers, cluster, freeze, kill, thaw
from tests.support.fixtures import server_fixture, store_fixture
from tests.support.logs import Failover, debuggable_server, numbers, stream_in
from tests.support.servers import Server, tries, until
from tests.support.stores import Noted, open_store
from tests.support.timers import assert_sound, found, noted, two_timekeepers, until_found, waiting

pytestmark = pytest.mark.anyio

server = server_fixture(scope="module")
store = store_fixture()
PARTITIONS = 6
EVERY = frozenset(range(4))


async def until_has(keeper: Timekeeper, partitions: frozenset[int], seconds: float = 20.0) -> None:
    await until(lambda: keeper.partitions == partitions, seconds)


async def test_two_share_and_the_one_that_stays_takes_over_at_once(store: EventStore) -> None:
    async with keeping_time(store.log) as one:
        await until_has(one, EVERY)
        async with keeping_time(store.log) as two:
            await until(lambda: len(one.partitions) == len(two.partitions) == 2)
            assert one.partitions | two.partitions == EVERY
            for n in range(40):
                await schedule(store, f"order-{n}", Noted(n), after="50ms")
            assert sorted(numbers(await until_found(store, 40))) == list(range(40))
            await until(lambda: one.fired + two.fired == 40)
            assert min(one.fired, two.fired) > 0
        await until_has(one, EVERY, 2.0)  # well before the time to live of who has left


async def test_who_falls_silent_is_replaced(server: Server, store: EventStore) -> None:
    listed, bell = timekeeper_keys(store.log.keys, 4)
    async with keeping_time(store.log, lease_seconds=1.5) as keeper:
        await until_has(keeper, EVERY)
        (living,) = [name for name in server.admin("HKEYS", listed) if name]
        server.admin("HSET", listed, "dead", server.admin("HGET", listed, living).replace(living, b"dead"))
        server.admin("XADD", bell, "*", "why", "members")
        await until(lambda: len(keeper.partitions) == 2)
        theirs = next(iter(EVERY - keeper.partitions))
        await schedule(store, stream_in(theirs, 4), Noted(1), after=0)
        await until_has(keeper, EVERY, 5.0)
        assert numbers(await until_found(store, 1)) == [1]


async def test_two_who_fire_the_same_fire_it_once(store: EventStore) -> None:
    stream = stream_in(3, 4)
    for n in range(1, 2_001):
        await schedule_event(store.log, stream, noted(n), n * 1_000)
    async with anyio.create_task_group() as tasks:
        for _ in range(3):
            tasks.start_soon(Clock(store.log, 3, lambda fired: None).run)
        assert numbers(await until_found(store, 2_000)) == list(range(1, 2_001))
        tasks.cancel_scope.cancel()
    assert await waiting(store) == []
    await assert_sound(store)


async def test_who_waits_asks_for_nothing(server: Server, store: EventStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "BLOCK_SECONDS", 0.2)
    for n in range(2_000):
        await schedule_event(store.log, f"order-{n}", noted(n), 4_000_000_000_000_000 + n)
    async with keeping_time(store.log, lease_seconds=120.0) as keeper:
        await until_has(keeper, EVERY)
        await _blocks(server, 2)  # it has heard its own coming, and looked
        before = server.calls_of("zrange"), server.calls_of("evalsha")
        await _blocks(server, 6)
        assert (server.calls_of("zrange"), server.calls_of("evalsha")) == before


async def _blocks(server: Server, count: int) -> None:
    """Until it has begun to listen so many times more."""
    begun = server.calls_of("xread")
    await until(lambda: server.calls_of("xread") >= begun + count)


async def test_what_was_due_while_nobody_worked_is_caught_up(server: Server) -> None:
    async with debuggable_server() as own, open_store(own) as store:
        failover = Failover(own)
        for n in range(1, 301):
            await schedule_event(store.log, f"order-{n % 7}", noted(n), n * 1_000)
        failover.replicated()
        async with keeping_time(store.log):
            before = await until_found(store, 300)
        failover.happen()  # what was fired is lost, and waits again
        assert await found(store) == []
        assert len(await waiting(store)) == 300
        async with keeping_time(store.log):
            after = await until_found(store, 300)
        assert [(event.stream, event.version, event.id) for event in sorted(after, key=lambda e: e.data.n)] == [
            (event.stream, event.version, event.id) for event in sorted(before, key=lambda e: e.data.n)
        ]
        await assert_sound(store)


async def test_a_failover_under_way_is_waited_for_and_what_waits_fires(server: Server) -> None:
    async with debuggable_server() as own, open_store(own) as store:
        failover = Failover(own)
        await schedule(store, "order-1", Noted(1), after="1h")
        failover.replicated()
        async with keeping_time(store.log, lease_seconds=2.0) as keeper:
            await until_has(keeper, EVERY)
            failover.happen()
            await schedule(store, "order-1", Noted(2), after="100ms")
            assert numbers(await until_found(store, 1)) == [2]
            own.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await schedule(store, "order-1", Noted(3), after="100ms")
            assert numbers(await until_found(store, 2)) == [2, 3]
            own.admin("FLUSHALL")
            async for _ in tries():
                if own.admin("EXISTS", timer_keys(store.log.keys, home_of("timers", 4)).what):
                    break


async def test_what_cannot_be_read_ends_the_worker(server: Server, store: EventStore) -> None:
    made = await schedule(store, "order-1", Noted(1), after="100ms")
    server.admin("HSET", timer_keys(store.log.keys, made.partition).what, str(made.id), "broken")
    with pytest.raises(LogDamaged, match=str(made.id)):
        async with keeping_time(store.log):
            await anyio.sleep_forever()


async def test_a_user_without_the_rights_is_told_which(server: Server, store: EventStore) -> None:
    server.admin("ACL", "SETUSER", "some", "on", "nopass", "~*", "&*", "+@all", "-zscore")
    settings = RedisSettings(host="127.0.0.1", port=server.port, username="some")
    async with open_store(settings, prefix=store.log.settings.prefix) as theirs:
        with pytest.raises(Unavailable, match="zscore"):
            async with keeping_time(theirs.log):
                await anyio.sleep_forever()


@pytest.fixture
async def nodes() -> AsyncIterator[ClusterOfServers]:
    async with cluster(replicas=False, args=["--cluster-require-full-coverage", "no"]) as nodes:
        yield nodes


@pytest.mark.parametrize("is_frozen", [False, True])
async def test_without_the_master_of_the_list_all_fire_what_they_can(nodes: ClusterOfServers, is_frozen: bool) -> None:
    where = RedisSettings(nodes=tuple(node.address for node in nodes.nodes), cluster=True, socket_timeout_seconds=1.0)
    async with open_store(where, partitions=PARTITIONS) as store:
        home = nodes.owner(timer_keys(store.log.keys, home_of("timers", PARTITIONS)).due)
        there = [p for p in range(PARTITIONS) if nodes.owner(store.log.keys.head(p)) is not home]
        async with two_timekeepers(store, lease_seconds=2.0):
            if is_frozen:
                freeze(home)
            else:
                await kill(home)
            for n, p in enumerate(there):
                await schedule(store, stream_in(p, PARTITIONS), Noted(n), after="100ms")
            async for _ in tries():
                if [await store.version(stream_in(p, PARTITIONS)) for p in there] == [1] * len(there):
                    break
        async with keeping_time(store.log, lease_seconds=2.0):  # one that knows of nobody
            for n, p in enumerate(there):
                await schedule(store, stream_in(p, PARTITIONS), Noted(n), after="100ms")
            async for _ in tries():
                if [await store.version(stream_in(p, PARTITIONS)) for p in there] == [2] * len(there):
                    break
        if is_frozen:
            thaw(home)


def test_far_ahead_another_look_is_taken_on_the_way() -> None:
    assert [slumber(seconds) for seconds in (0, 0.001, NEAR_SECONDS, inf)] == [0, 0.001, NEAR_SECONDS, inf]
    assert slumber(100) == pytest.approx(90)
    assert slumber(86_400 * 365) == FAR_SECONDS
