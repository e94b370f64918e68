"""What the scripts of groups promise, whatever server they run on: one function a promise, on a store that is new, has
one partition, and events 1 to 6 of the stream order-1."""

from collections.abc import Awaitable, Callable
from uuid import UUID

import pytest

from consumers import replay
from consumers.commit_call import rewind
from consumers.deliveries import Deliveries
from consumers.errors import CommitRefused, Stale
from consumers.lease_calls import Held, acquire, release, renew
from consumers.order_calls import give_order, pause, take_outcomes, withdraw
from consumers.state import Effect, Order, Outgoing, Rewind, Row
from consumers.timers.calls import prepare, schedule_event, unschedule
from consumers.timers.firing import fire, look
from consumers.urgent import urgent_beyond
from eventstore import EventStore, Metadata, NewEvent, Priority
from tests.support.holding import LEASE_MS, fields_of, held, redis_group
from tests.support.servers import Server
from tests.support.stores import Noted
from tests.support.timers import assert_sound, noted, waiting

Promise = Callable[[Server, EventStore], Awaitable[None]]


async def one_holds_the_lease_and_who_lost_it_is_told(server: Server, store: EventStore) -> None:
    ada = await held(store, "ada")
    assert isinstance(await acquire(store.log, ada.keys, "bob", LEASE_MS), Held)
    assert (await renew(store.log.redis, ada.keys, ada.token, LEASE_MS)).now_ms >= ada.stored.now_ms
    bob = await held(store, "bob", force=True)
    assert bob.token.term > ada.token.term
    for call in (ada.commit(1), renew(store.log.redis, ada.keys, ada.token, LEASE_MS)):
        with pytest.raises(Stale):
            await call
    assert await release(store.log, bob.keys, bob.token)


async def all_of_a_commit_is_written_once(server: Server, store: EventStore) -> None:
    holding = await held(store)
    call = holding.call(
        4,
        {"order-1": Row(5), "order-2": holding.retrying(2, 1)},
        failures={"order-2": b"{}"},
        out=(Outgoing(0, "mail-1", b"e" * 30, 1, "N"),),
        effects=(holding.counted("n"),),
    )
    for _ in range(2):
        reply = await holding.send(call)
        assert (reply.gone, reply.fin, reply.head) == (frozenset({"order-1"}), 4, 6)
    assert fields_of(server, holding.effect_key("n")) == {"n": "1"}
    assert server.admin("XLEN", holding.keys.out) == 1


async def the_redis_group_shows_offset_lag_and_failures(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(4, {"order-1": holding.retrying(1, 1, 2), "order-2": holding.parked(2, 1)})
    shown = {"offset": 4, "lag": 2, "pending": {1: ("retrying", 2), 2: ("parked", 8)}}
    assert redis_group(server, holding.keys) == shown
    server.admin("XGROUP", "DESTROY", holding.keys.log, "g")
    await holding.commit(4)
    assert redis_group(server, holding.keys) == shown
    await holding.rewound(1)
    assert redis_group(server, holding.keys) == {**shown, "offset": 1, "lag": 5}


async def what_cannot_be_carried_out_refuses_the_whole_commit(server: Server, store: EventStore) -> None:
    holding = await held(store)
    key = holding.effect_key("n")
    await holding.commit(1, effects=(Effect("SET", key, ("text",)),))
    for wrong in (Effect("INCRBY", key, (1,)), Effect("ZADD", key, (1.5, "a")), Effect("HSET", key, ("a", 1))):
        with pytest.raises(CommitRefused):
            await holding.commit(2, {"order-1": holding.parked(2, 2)}, effects=(wrong,))
    numbers = (Effect("DEL", key), Effect("INCRBY", key, (2**53 + 1,)), Effect("INCRBY", key, (1,)))
    await holding.commit(2, effects=numbers)
    assert server.admin("GET", key) == str(2**53 + 2).encode()
    assert fields_of(server, holding.keys.detached) == {}


async def orders_and_pauses_reach_the_holder(server: Server, store: EventStore) -> None:
    holding = await held(store)
    order = Order("o1", "discard", "order-1", 2)
    assert (await give_order(store.log, holding.keys, order)).held is not None
    await pause(store.log, holding.keys, "why")
    reply = await holding.commit(1)
    assert (reply.orders, reply.paused) == ((order,), "why")
    await holding.commit(1, taken={"o1": True})
    assert await take_outcomes(store.log, holding.keys, ["o1"]) == {"o1": True}
    await give_order(store.log, holding.keys, order)
    await withdraw(store.log, holding.keys, ["o1"])
    assert (await holding.commit(1)).orders == ()


async def a_replay_goes_back_once(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(5)
    for _ in range(2):
        await rewind(store.log, holding.keys, Rewind(holding.token, holding.place(2), 5, rows={"order-1": Row(2)}))
    stored = (await held(store, "bob")).stored
    assert (stored.offset, stored.fin, stored.rows) == (holding.place(2), 5, {"order-1": Row(2)})


async def a_replay_is_a_job_that_moves_rows_along_and_puts_them_back(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await store.append("order-2", [Noted(1)])
    await holding.commit(7, {"order-1": holding.parked(5, 5)}, failures={"order-1": b"{}"})
    begun = await replay.execute(store, replay.Request("g", replay.parse_target("0:3")), who="ada")
    stored = (await held(store, "bob")).stored
    assert (stored.offset, stored.fin) == (holding.place(3), 7)
    assert stored.rows == {"order-1": Row(4, fin=4)}
    assert (await replay.cancel(store, begun.job.id, who="ada")).job.state == "cancelled"
    stored = (await held(store, "bob")).stored
    assert (stored.offset, stored.mute, stored.rows) == (holding.place(7), True, {"order-1": Row(4, fin=4)})


async def without_memory_leases_and_offsets_go_on(server: Server, store: EventStore) -> None:
    holding = await held(store)
    server.admin("CONFIG", "SET", "maxmemory", 1)
    try:
        await renew(store.log.redis, holding.keys, holding.token, LEASE_MS)
        await holding.commit(3, {"order-1": holding.retrying(1, 1)}, failures={"order-1": b"{}"})
        with pytest.raises(Exception, match="OOM"):
            await holding.commit(4, effects=(holding.counted("n"),))
        assert await release(store.log, holding.keys, holding.token)
    finally:
        server.admin("CONFIG", "SET", "maxmemory", 0)
    assert server.admin("EXISTS", holding.effect_key("n")) == 0


async def what_is_scheduled_is_appended_once_it_is_due(server: Server, store: EventStore) -> None:
    await prepare(store.log, 0)
    first, second, third = [noted(n) for n in range(1, 4)]
    for n, event in ((1, first), (2, second), (3, third)):
        assert await schedule_event(store.log, f"order-{n}", event, n * 1_000)
        assert not await schedule_event(store.log, f"order-{n}", event, 9_000)
    assert await unschedule(store.log, "order-2", UUID(int=2, version=4))
    assert not await unschedule(store.log, "order-2", UUID(int=2, version=4))
    seen = await look(store.log, 0, now_ms=1)
    assert ([each.stream for each in seen.told], (await waiting(store))[1].stream) == (
        ["order-1", "order-3"],
        "order-3",
    )
    for fired in (1, 0):
        due = await fire(store.log, 0, seen.told, now_ms=1)
        assert (due.fired, due.next_ms) == (fired, 3)
    assert not await schedule_event(store.log, "order-1", first, 9_000)
    assert [event.data.n async for event in store.read("order-1", from_version=7)] == [1]
    await assert_sound(store)


async def what_is_urgent_is_found_with_what_precedes_it(server: Server, store: EventStore) -> None:
    urgent = NewEvent(data=Noted(7), metadata=Metadata(priority=Priority.CRITICAL))
    await store.append("order-1", [urgent])
    found, after = await urgent_beyond(store.log, 0, "0-0", 4, Deliveries(store.log, None))
    assert [(each.stream, each.first, each.position, each.version) for each in found] == [("order-1", 5, 5, 7)]
    assert (await urgent_beyond(store.log, 0, after, 4, Deliveries(store.log, None))) == ([], after)


CONTRACT: tuple[Promise, ...] = (
    what_is_urgent_is_found_with_what_precedes_it,
    what_is_scheduled_is_appended_once_it_is_due,
    one_holds_the_lease_and_who_lost_it_is_told,
    all_of_a_commit_is_written_once,
    the_redis_group_shows_offset_lag_and_failures,
    what_cannot_be_carried_out_refuses_the_whole_commit,
    orders_and_pauses_reach_the_holder,
    a_replay_goes_back_once,
    a_replay_is_a_job_that_moves_rows_along_and_puts_them_back,
    without_memory_leases_and_offsets_go_on,
)
