"""Leases are renewed beside the main loop, and are given up in time when that fails, on real servers."""

import signal
import threading
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager

import anyio
import pytest
from structlog.testing import capture_logs

from consumers import lease_calls
from consumers.keys import GroupKeys, group_keys
from consumers.lease import RENEWALS, Lease, OnChange, Renewals, now, renewals
from consumers.lease_calls import Held
from consumers.state import Stored, Token
from eventstore.store import EventStore
from tests.support.servers import Server, redis_cluster, redis_server, tries, until
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio
LEASE_SECONDS = 1.0
NEVER = 1_000.0


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """One for each test, for some stop it."""
    async with redis_server() as one:
        yield one
        one.process.send_signal(signal.SIGCONT)


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as one:
        yield one
        server.process.send_signal(signal.SIGCONT)


class Told:
    """What `on_change` has told of."""

    def __init__(self) -> None:
        self.leases: list[Lease] = []

    def __call__(self, lease: Lease) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.leases.append(lease)


def renewing(
    store: EventStore, told: OnChange | None = None, *, seconds: float = LEASE_SECONDS, hung_after: float = NEVER
) -> AbstractAsyncContextManager[Renewals]:
    settings = store.log.redis.settings
    return renewals(settings, told or Told(), lease_seconds=seconds, hung_after_seconds=hung_after)


async def keys_of(store: EventStore, partition: int) -> GroupKeys:
    keys = group_keys(store.log.keys, "mailer", partition)
    await lease_calls.create(store.log, keys, (0, 0))
    return keys


async def held(store: EventStore, running: Renewals, partition: int = 0, *, late_by: float = 0.0) -> Lease:
    """`late_by` is how long it took to get it."""
    keys, asked_at = await keys_of(store, partition), now() - late_by
    stored = await lease_calls.acquire(store.log, keys, "ada", round(running.lease_seconds * 1_000))
    assert isinstance(stored, Stored)
    token = Token("ada", stored.term, stored.epoch)
    return running.hold(keys, token, asked_at=asked_at, server_ms=stored.now_ms, paused=stored.paused)


async def asks_for(store: EventStore, lease: Lease, member: str, *, force: bool = False) -> Stored | Held:
    return await lease_calls.acquire(store.log, lease.keys, member, round(LEASE_SECONDS * 1_000), force=force)


async def test_a_lease_is_renewed_for_longer_than_its_time(store: EventStore) -> None:
    told = Told()
    async with renewing(store, told) as running:
        leases = [await held(store, running, partition) for partition in range(store.log.partitions)]
        first = max(lease.until for lease in leases)
        await until(lambda: min(lease.until for lease in leases) > first + LEASE_SECONDS)
        for lease in leases:
            assert lease.lost is None
            assert isinstance(await asks_for(store, lease, "bob"), Held)
            assert abs(lease.server_ms - time.time() * 1_000) < 1_000
    assert told.leases == []


async def test_many_leases_are_renewed_in_one_exchange(store: EventStore, server: Server) -> None:
    async with renewing(store) as running:
        leases = [await held(store, running, partition) for partition in range(store.log.partitions)]
        first = max(lease.until for lease in leases)
        await until(lambda: min(lease.until for lease in leases) > first)
        assert len({lease.until for lease in leases}) == 1


async def test_leases_are_renewed_while_the_main_loop_is_blocked(store: EventStore, server: Server) -> None:
    async with renewing(store) as running:
        lease = await held(store, running)
        first = int(server.admin("HGET", lease.keys.control, "until"))
        end = time.monotonic() + 20
        while int(server.admin("HGET", lease.keys.control, "until")) < first + LEASE_SECONDS * 2_000:
            assert time.monotonic() < end
        assert lease.lost is None


async def test_whose_lease_was_taken_is_told(store: EventStore) -> None:
    told = Told()
    async with renewing(store, told) as running:
        lease, other = await held(store, running), await held(store, running, 1)
        await asks_for(store, lease, "bob", force=True)
        await until(lambda: told.leases == [lease])
        assert lease.lost is not None
        assert "bob has it now" in lease.lost
        assert other.lost is None


async def test_a_member_fences_itself_when_the_server_does_not_answer(store: EventStore, server: Server) -> None:
    told = Told()
    async with renewing(store, told) as running:
        lease = await held(store, running)
        first = lease.until
        await until(lambda: lease.until > first)
        server.process.send_signal(signal.SIGSTOP)
        stopped_at = now()
        await until(lambda: told.leases == [lease])
        assert lease.lost == "it was not renewed in time"
        assert lease.until <= stopped_at + LEASE_SECONDS
        server.process.send_signal(signal.SIGCONT)


async def test_the_time_of_a_lease_counts_from_before_its_renewal_was_sent(store: EventStore, server: Server) -> None:
    seconds = LEASE_SECONDS * 6
    async with renewing(store, seconds=seconds) as running:
        lease = await held(store, running, late_by=seconds / 2)
        got = lease.until
        await until(lambda: lease.until > got)
        first = lease.until
        server.process.send_signal(signal.SIGSTOP)
        sent_at = first - seconds + seconds / RENEWALS
        await until(lambda: now() > sent_at + LEASE_SECONDS)
        answered_at = now()
        server.process.send_signal(signal.SIGCONT)
        await until(lambda: lease.until > first)
        assert lease.until < answered_at + seconds


async def test_a_lease_is_lost_at_its_time_also_for_who_only_looks(store: EventStore, server: Server) -> None:
    async with renewing(store) as running:
        lease = await held(store, running)
        running.drop(lease)
    end = time.monotonic() + 20
    while lease.lost is None:  # neither a thread nor a loop runs meanwhile
        assert time.monotonic() < end
    assert now() >= lease.until


async def test_renewals_go_on_when_their_connection_was_lost(store: EventStore, server: Server) -> None:
    async with renewing(store) as running:
        lease = await held(store, running)
        for _ in range(3):
            before = lease.until
            server.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await until(lambda: lease.until > before)  # noqa: B023 - awaited in the loop
        assert lease.lost is None


async def test_a_renewal_that_fails_is_told_only_when_half_of_the_time_is_gone_and_once() -> None:
    async with redis_server() as server, open_store(server) as store:
        with capture_logs() as logs:
            async with renewing(store, seconds=3.0) as running:
                lease, other = await held(store, running), await held(store, running, 1)
                for _ in range(3):  # a moment is no matter
                    before = lease.until
                    server.admin("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                    await until(lambda: lease.until > before)  # noqa: B023 - awaited in the loop
                assert logs == []
                server.process.send_signal(signal.SIGSTOP)
                await until(lambda: lease.lost is not None and other.lost is not None)
                server.process.send_signal(signal.SIGCONT)
        assert [each["event"] for each in logs] == ["leases_not_renewed"]
        assert 0 < logs[0]["lost_in_seconds"] < 1.5
        assert logs[0]["leases"] == 2


async def test_a_restarted_server_has_another_epoch_and_ends_every_lease() -> None:
    told = Told()
    async with (
        redis_server(args=["--appendonly", "yes", "--appendfsync", "always"]) as server,
        open_store(server) as store,
        renewing(store, told, seconds=LEASE_SECONDS * 5) as running,
    ):
        lease = await held(store, running)
        assert server.start is not None
        server.process.kill()
        server.process.wait()
        server.process = server.start()
        await until(lambda: told.leases == [lease])
        assert lease.lost == "another server process has begun an epoch"


async def test_a_member_that_hangs_loses_its_leases_on_purpose(store: EventStore) -> None:
    told = Told()
    with capture_logs() as logs:
        async with renewing(store, told, hung_after=0.5) as running:
            lease = await held(store, running)
            async for _ in tries():
                if isinstance(await asks_for(store, lease, "bob"), Stored):
                    break
            await until(lambda: told.leases == [lease])
    hangs = [each for each in logs if each["event"] == "member_hangs"]
    assert len(hangs) == 1
    assert "blocks its event loop" in hangs[0]["remedy"]


async def test_a_member_that_beats_again_in_time_keeps_its_leases(store: EventStore) -> None:
    with capture_logs() as logs:
        async with renewing(store, Told(), seconds=LEASE_SECONDS * 5, hung_after=0.2) as running:
            lease = await held(store, running)
            await until(lambda: any(each["event"] == "member_hangs" for each in logs))
            before = lease.until

            def renewed() -> bool:
                running.beat()
                return lease.until > before

            await until(renewed)
            assert lease.lost is None
    assert [each["event"] for each in logs if each["event"].startswith("member_")] == ["member_hangs", "member_goes_on"]


async def test_a_pause_and_its_end_are_passed_on(store: EventStore, server: Server) -> None:
    told = Told()
    async with renewing(store, told) as running:
        lease = await held(store, running)
        server.admin("HSET", lease.keys.control, "paused", "by ada")
        await until(lambda: told.leases == [lease])
        assert (lease.paused, lease.lost) == ("by ada", None)
        server.admin("HSET", lease.keys.control, "paused", "")
        await until(lambda: told.leases == [lease, lease])
        assert lease.paused == ""


async def test_an_older_answer_tells_nothing_of_a_pause(store: EventStore) -> None:
    async with renewing(store, seconds=60.0) as running:
        lease = await held(store, running)
        at_ms = lease.server_ms + 1_000
        assert lease.tell_paused("by ada", at_ms)
        assert not lease.tell_paused("", at_ms - 500)  # that of a renewal, which was given before she did
        assert lease.paused == "by ada"
        assert not lease.tell_paused("by ada", at_ms + 1)
        assert lease.tell_paused("", at_ms + 2)
        assert lease.tell_paused("by bob", at_ms - 3_600_000)  # the server's clock was set back
        assert lease.paused == "by bob"


async def test_what_is_dropped_is_renewed_and_told_of_no_more(store: EventStore) -> None:
    told = Told()
    async with renewing(store, told) as running:
        lease, other = await held(store, running), await held(store, running, 1)
        running.drop(lease)
        assert await lease_calls.release(store.log, lease.keys, lease.token)
        taken = await asks_for(store, lease, "bob")
        assert isinstance(taken, Stored)
        await asks_for(store, other, "bob", force=True)
        await until(lambda: told.leases == [other])


async def test_a_lease_that_took_long_to_get_is_renewed_before_the_others_are_due(store: EventStore) -> None:
    seconds = LEASE_SECONDS * 3
    async with renewing(store, seconds=seconds) as running:
        other = await held(store, running)
        first = other.until
        await until(lambda: other.until > first)
        lease = await held(store, running, 1, late_by=seconds * 0.8)
        got = lease.until
        await until(lambda: lease.until > got)
        assert lease.lost is None


async def test_leaving_ends_the_thread_and_its_connections(store: EventStore, server: Server) -> None:
    await store.heads()
    before = len(server.clients())
    async with renewing(store) as running:
        lease = await held(store, running)
        first = lease.until
        await until(lambda: lease.until > first)
        assert len(server.clients()) == before + 1
        with anyio.CancelScope() as scope:  # also when the block is cancelled
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert [thread for thread in threading.enumerate() if thread.name == "leases"] == []
    await until(lambda: len(server.clients()) == before)


async def test_a_thread_that_dies_loses_every_lease_and_says_why(store: EventStore) -> None:
    told = Told()
    with capture_logs() as logs, pytest.raises(ExceptionGroup) as raised:  # noqa: PT012 - at the end of the block
        async with renewals(None, told, hung_after_seconds=NEVER) as running:  # type: ignore[arg-type] # kills it
            lease = await held(store, running)
            await until(lambda: told.leases == [lease])
            assert lease.lost == "the thread that renews it has died"
    assert raised.group_contains(AttributeError)
    assert [each["event"] for each in logs] == ["lease_thread_died"]


async def test_a_dead_node_of_a_cluster_costs_the_leases_of_its_partitions_alone() -> None:
    async with redis_cluster() as nodes:
        for node in nodes:
            node.admin("CONFIG", "SET", "cluster-require-full-coverage", "no")
        where = nodes[0].settings.__class__(url=nodes[0].settings.url, cluster=True)
        told = Told()
        async with (
            open_store(where, partitions=3) as store,
            renewing(store, told, seconds=LEASE_SECONDS * 2) as running,
        ):
            leases = [await held(store, running, partition) for partition in range(3)]
            first = max(lease.until for lease in leases)
            await until(lambda: min(lease.until for lease in leases) > first)
            nodes[2].process.send_signal(signal.SIGSTOP)
            await until(lambda: told.leases == [leases[2]])
            seen = leases[2].until
            await until(lambda: min(lease.until for lease in leases[:2]) > seen + LEASE_SECONDS * 2)
            assert [lease.lost is None for lease in leases] == [True, True, False]
            nodes[2].process.send_signal(signal.SIGCONT)
