"""What operators ask of a group in a partition: orders about a stream, a pause, a replay (PROTOCOLS 3 and 4)."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from consumers import order_calls
from consumers.commit_call import rewind
from consumers.errors import GroupNotFound, Stale
from consumers.keys import group_keys
from consumers.lease_calls import Held, acquire, release, renew
from consumers.order_calls import give_order, pause, take_outcomes, withdraw
from consumers.state import Order, Rewind, Row, RowState, Stored
from eventstore import EventStore
from eventstore.errors import Overloaded
from tests.support.holding import LEASE_MS, Holding, everything, fields_of, held, redis_group
from tests.support.logs import fill
from tests.support.servers import Server, redis_server
from tests.support.stores import open_store

pytestmark = pytest.mark.anyio

RETRY = Order("o1", "retry", "order-1", 1)
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=["--enable-debug-command", "yes"]) as server:
        yield server


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server, partitions=1) as store:
        await fill(store, "order-1", 6)
        yield store


def rung_since(server: Server, holding: Holding) -> list[bytes]:
    """Why the bell was rung, if it was, since the lease was taken."""
    found = server.admin("XRANGE", holding.keys.bell, f"({holding.stored.bell}", "+")
    return [why for _, (_, why) in found]


# ---- orders ----


async def test_an_order_wakes_the_holder_and_tells_who_that_is_and_how_the_stream_stands(
    server: Server, store: EventStore
) -> None:
    holding = await held(store)
    row = holding.parked(1, 1)
    await holding.commit(6, {"order-1": row})
    given = await give_order(store.log, holding.keys, RETRY)
    assert given.row == row
    assert given.held == Held("ada", holding.stored.now_ms + LEASE_MS, given.now_ms)
    assert rung_since(server, holding) == [b"order"]
    assert (await give_order(store.log, holding.keys, replace(RETRY, id="o2", stream="order-9"))).row is None


async def test_without_a_holder_an_order_says_so(server: Server, store: EventStore) -> None:
    holding = await held(store)
    assert await release(store.log, holding.keys, holding.token)
    assert (await give_order(store.log, holding.keys, RETRY)).held is None
    holding = await held(store)
    server.admin("HSET", holding.keys.control, "until", 1)
    assert (await give_order(store.log, holding.keys, RETRY)).held is None, "its time is over"
    holding = await held(store)
    server.admin("DEBUG", "CHANGE-REPL-ID")
    assert (await give_order(store.log, holding.keys, RETRY)).held is None, "it was of another server process"


async def test_an_order_that_is_repeated_is_given_once(server: Server, store: EventStore) -> None:
    holding = await held(store)
    for _ in range(2):
        await give_order(store.log, holding.keys, RETRY)
    reply = await holding.commit(taken={"o1": True})
    await give_order(store.log, holding.keys, RETRY)
    assert fields_of(server, holding.keys.orders) == {"o1": f"=done {reply.now_ms}"}, "it has its outcome"
    assert (await holding.commit()).orders == ()


async def test_of_two_orders_for_one_version_the_second_is_too_late_while_the_first_is_open(
    server: Server, store: EventStore
) -> None:
    holding = await held(store)
    await give_order(store.log, holding.keys, RETRY)
    for order_id, kind in (("again", "retry"), ("other", "discard")):
        given = await give_order(store.log, holding.keys, replace(RETRY, id=order_id, kind=kind))
        assert fields_of(server, holding.keys.orders)[order_id] == f"=late {given.now_ms}"
    await give_order(store.log, holding.keys, replace(RETRY, id="later", version=RETRY.version + 1))
    await give_order(store.log, holding.keys, replace(RETRY, id="elsewhere", stream="order-9"))
    assert {order.id for order in (await holding.commit()).orders} == {"o1", "later", "elsewhere"}
    assert await take_outcomes(store.log, holding.keys, ["again", "other"]) == {"again": False, "other": False}
    await holding.commit(taken={"o1": True})
    await give_order(store.log, holding.keys, replace(RETRY, id="afterwards"))
    assert {order.id for order in (await holding.commit()).orders} == {"later", "elsewhere", "afterwards"}


async def test_an_order_that_is_withdrawn_gets_no_outcome(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await give_order(store.log, holding.keys, RETRY)
    await withdraw(store.log, holding.keys, ["o1", "o9"])
    await holding.commit(taken={"o1": True})
    assert fields_of(server, holding.keys.orders) == {}
    assert await take_outcomes(store.log, holding.keys, ["o1"]) == {}


async def test_a_new_lease_knows_the_open_orders(store: EventStore) -> None:
    holding = await held(store)
    for order in (RETRY, replace(RETRY, id="o2", kind="discard", version=RETRY.version + 1)):
        await give_order(store.log, holding.keys, order)
    await holding.commit(taken={"o2": True})
    assert (await held(store)).stored.orders == (RETRY,)


async def test_there_is_a_bound_and_outcomes_that_nobody_fetches_do_not_count_for_ever(
    server: Server, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_calls, "MOST_ORDERS", 3)
    holding = await held(store)
    ids = ["a", "b", "c"]
    for version, order_id in enumerate(ids, 1):
        await give_order(store.log, holding.keys, replace(RETRY, id=order_id, version=version))
    before = everything(server)
    with pytest.raises(Overloaded, match="3 orders"):
        await give_order(store.log, holding.keys, replace(RETRY, id="d"))
    assert everything(server) == before
    await give_order(store.log, holding.keys, replace(RETRY, id="a"))  # which is there
    now_ms = (await holding.commit(taken=dict.fromkeys(ids, True))).now_ms
    server.admin("HSET", holding.keys.orders, "a", f"=done {now_ms - HOUR_MS - 1}", "b", f"=late {now_ms - 60_000}")
    await give_order(store.log, holding.keys, replace(RETRY, id="d"))
    assert [*fields_of(server, holding.keys.orders)] == ["b", "c", "d"]


# ---- pause ----


async def test_a_pause_wakes_the_holder_and_every_call_of_its_lease_tells_of_it(
    server: Server, store: EventStore
) -> None:
    holding = await held(store)
    await pause(store.log, holding.keys, "ada: an outage")
    assert rung_since(server, holding) == [b"paused"]
    assert (await renew(store.log.redis, holding.keys, holding.token, LEASE_MS)).paused == "ada: an outage"
    assert (await holding.commit(1)).paused == "ada: an outage"
    assert (await held(store)).stored.paused == "ada: an outage"
    await pause(store.log, holding.keys, "")
    assert (await held(store)).stored.paused == ""


async def test_what_is_asked_of_no_group_makes_none(server: Server, store: EventStore) -> None:
    keys, before = group_keys(store.log.keys, "none", 0), everything(server)
    with pytest.raises(GroupNotFound):
        await pause(store.log, keys, "why")
    with pytest.raises(GroupNotFound):
        await give_order(store.log, keys, RETRY)
    assert everything(server) == before


# ---- replay ----


async def test_a_replay_moves_the_offset_back_and_ends_the_lease(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(5)
    await rewind(store.log, holding.keys, Rewind(holding.token, holding.place(2), 5))
    assert rung_since(server, holding) == [b"moved"]
    stored = fields_of(server, holding.keys.control)
    assert (stored["owner"], stored["term"]) == ("", str(holding.token.term + 1))
    assert (stored["offset"], stored["fin"]) == (holding.pending(2), holding.pending(5))
    for call in (holding.commit(5), renew(store.log.redis, holding.keys, holding.token, LEASE_MS)):
        with pytest.raises(Stale):
            await call
    again = await held(store, "bob")
    assert again.token.term > holding.token.term + 1
    assert (again.stored.offset, again.stored.fin) == (holding.place(2), 5)
    assert redis_group(server, holding.keys) == {"offset": 2, "lag": 4, "pending": {}}


async def test_what_was_finished_stays_known_through_many_replays(store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(5)
    for position, fin in ((3, 0), (1, 2), (4, 5)):
        holding = await holding.rewound(position, fin=fin)
        assert holding.stored.fin == 5
    assert (await holding.rewound(1, fin=6)).stored.fin == 6, "a skip counts as finished"


async def test_a_jump_ahead_is_finished_up_to_there(store: EventStore) -> None:
    holding = await held(store)
    again = await holding.rewound(4)
    assert (again.stored.offset, again.stored.fin) == (holding.place(4), 4)


async def test_a_cancel_passes_over_what_is_left_without_a_call(store: EventStore) -> None:
    muted = await (await held(store)).rewound(5, mute=True)
    assert muted.stored.mute is True
    assert (await muted.rewound(5)).stored.mute is False


async def test_rows_are_written_as_they_are_sent_and_none_leaves_the_table(server: Server, store: EventStore) -> None:
    holding = await held(store)
    failing = {"order-1": holding.retrying(2, 2), "order-2": holding.parked(1, 1), "order-3": holding.parked(3, 1)}
    await holding.commit(6, failing, failures=dict.fromkeys(failing, b"{}"))
    sent = {"order-1": Row(1, fin=1), "order-2": replace(failing["order-2"], fin=4)}
    again = await holding.rewound(0, rows=sent)
    assert again.stored.rows == {**failing, **sent}
    assert redis_group(server, holding.keys)["pending"] == {1: ("parked", 8), 3: ("parked", 8)}
    assert server.admin("ZRANGE", holding.keys.due, 0, -1) == [b""]
    assert set(fields_of(server, holding.keys.errors)) == {"order-2", "order-3"}


async def test_ten_thousand_rows_go_back_at_once(server: Server, store: EventStore) -> None:
    holding = await held(store)
    rows = {f"lot-{i}": Row(2, RowState.PARKED, 8, 0, 0, holding.pending(1)) for i in range(10_000)}
    await holding.commit(6, rows)
    again = await holding.rewound(0, rows=dict.fromkeys(rows, Row(1, fin=6)))
    assert again.stored.rows == dict.fromkeys(rows, Row(1, fin=6))
    assert redis_group(server, holding.keys) == {"offset": 0, "lag": 6, "pending": {}}


@pytest.mark.parametrize(
    "change", [{"offset": (1, 3)}, {"offset": (0, 3)}, {"fin": 7}], ids=["history", "no epoch", "fin beyond the head"]
)
async def test_a_group_goes_to_no_place_that_the_log_has_not(
    server: Server, store: EventStore, change: dict[str, Any]
) -> None:
    holding = await held(store)
    before = everything(server)
    beyond = {"offset": holding.place(7)}
    for each in (change, beyond):
        with pytest.raises(Stale, match="has no entry"):
            await rewind(store.log, holding.keys, replace(Rewind(holding.token, holding.place(3), 0), **each))
    assert everything(server) == before


async def test_only_who_has_the_lease_moves_the_group(server: Server, store: EventStore) -> None:
    holding = await held(store)
    taken = await acquire(store.log, holding.keys, "bob", LEASE_MS, force=True)
    assert isinstance(taken, Stored)
    before = everything(server)
    with pytest.raises(Stale, match="bob has it"):
        await rewind(store.log, holding.keys, Rewind(holding.token, holding.place(3), 0))
    assert everything(server) == before


async def test_another_replay_under_the_lease_that_the_first_one_ended_is_no_repeat(
    store: EventStore,
) -> None:
    holding = await held(store)
    call = Rewind(holding.token, holding.place(3), 0)
    await rewind(store.log, holding.keys, call)
    for other in (replace(call, offset=holding.place(4)), replace(call, mute=True), replace(call, fin=5)):
        with pytest.raises(Stale, match="nobody has it"):
            await rewind(store.log, holding.keys, other)
    await rewind(store.log, holding.keys, call)
