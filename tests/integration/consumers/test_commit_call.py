"""The commit of a group in a partition, rule by rule (PROTOCOLS 2)."""

from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace

from consumers.errors import Stale
from consumers.keys import GroupKeys
from consumers.order_calls import give_order, pause, take_outcomes
from consumers.state import Order, Outgoing, Row, RowState
from eventstore import EventStore
from tests.support.holding import everything, fields_of, held, redis_group
from tests.support.logs import fill
from tests.support.servers import Server, redis_server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

EVENT = Outgoing(2, "mail-1", b"\x00packed event \xff" * 5, 1_795_604_542_245_577, "H")


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[Server]:
    async with redis_server(args=["--enable-debug-command", "yes"]) as server:
        yield server


@pytest.fixture
async def store(server: Server) -> AsyncIterator[EventStore]:
    """Positions 1 to 6 are order-1 (1, 3, 5) and order-2 (2, 4, 6)."""
    async with open_store(server, partitions=1) as store:
        for version in range(1, 4):
            await fill(store, "order-1", 1, first=version)
            await fill(store, "order-2", 1, first=version)
        yield store


# ---- the offset and its number ----


async def test_the_offset_moves_and_what_lies_behind_it_is_finished(server: Server, store: EventStore) -> None:
    holding = await held(store)
    reply = await holding.commit(4)
    assert (reply.fin, reply.head, reply.gone, reply.orders, reply.paused) == (4, 6, frozenset(), (), "")
    stored = fields_of(server, holding.keys.control)
    assert (stored["offset"], stored["fin"], stored["number"]) == (holding.pending(4), holding.pending(4), "1")


async def test_a_repeated_commit_is_answered_and_writes_nothing_twice(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await give_order(store.log, holding.keys, Order("o1", "retry", "order-1", 1))
    await give_order(store.log, holding.keys, Order("o2", "retry", "order-9", 1))
    rows = {"order-1": Row(3), "order-2": holding.retrying(4, 2)}
    effect = holding.counted("hits")
    call = holding.call(4, rows, taken={"o1": True}, out=(EVENT,), effects=(effect,), failures={"order-2": b"{}"})
    first = await holding.send(call)
    before = everything(server)
    again = await holding.send(call)
    assert replace(again, now_ms=0) == replace(first, now_ms=0)
    assert (first.gone, [order.id for order in first.orders]) == (frozenset({"order-1"}), ["o2"])
    assert everything(server) == before
    assert server.admin("XLEN", holding.keys.out) == 1
    assert fields_of(server, effect.key) == {"n": "1"}


async def test_a_repeat_writes_a_field_or_waiting_for_replicas_would_cover_nothing(
    server: Server, store: EventStore
) -> None:
    holding = await held(store)
    call = holding.call(4)
    await holding.send(call)
    before = server.calls_of("hset")
    await holding.send(call)
    assert server.calls_of("hset") == before + 1


@pytest.mark.parametrize("ahead", [-1, 2, 3])
async def test_a_commit_under_another_number_than_the_next_is_stale(
    server: Server, store: EventStore, ahead: int
) -> None:
    holding = await held(store)
    await holding.commit(1)
    await holding.commit(2)
    before = everything(server)
    with pytest.raises(Stale, match="does not follow 2"):
        await holding.send(replace(holding.call(3), number=2 + ahead))
    assert everything(server) == before


async def test_within_a_lease_the_offset_never_goes_back_nor_beyond_the_head(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(3)
    before = everything(server)
    for position in (2, 7):
        with pytest.raises(Stale, match="has no entry"):
            await holding.commit(position)
    assert everything(server) == before


async def test_a_member_of_a_history_that_was_cut_off_passes_no_events_that_it_never_saw(
    server: Server, store: EventStore
) -> None:
    first = await held(store)
    server.admin("DEBUG", "CHANGE-REPL-ID")
    await fill(store, "order-1", 2, first=4)
    holding = await held(store, "ada")
    before = everything(server)
    for offset in ((holding.token.epoch, 6), (first.token.epoch, 7), (0, 1), (holding.token.epoch, 0)):
        with pytest.raises(Stale, match="has no entry"):
            await holding.send(replace(holding.call(), offset=offset))
    assert everything(server) == before
    await holding.send(replace(holding.call(), offset=(first.token.epoch, 6)))
    await holding.send(replace(holding.call(), offset=(holding.token.epoch, 7)))


# ---- rows ----


async def test_a_row_is_kept_as_it_was_sent_with_its_failure_and_the_time_it_is_due(
    server: Server, store: EventStore
) -> None:
    holding = await held(store)
    retrying, parked = holding.retrying(1, 1, due_ms=2**52), holding.parked(2, 1)
    reply = await holding.commit(
        6, {"order-1": retrying, "order-2": parked}, failures={"order-1": b'{"a":1}', "order-2": b"{}"}
    )
    assert reply.gone == frozenset()
    assert fields_of(server, holding.keys.detached) == {"order-1": retrying.pack(), "order-2": parked.pack()}
    assert fields_of(server, holding.keys.errors) == {"order-1": '{"a":1}', "order-2": "{}"}
    assert server.admin("ZRANGE", holding.keys.due, 0, 0, "WITHSCORES") == [b"order-1", b"4503599627370496"]
    await holding.commit(6, {"order-1": holding.retrying(1, 1, attempts=2)})
    assert fields_of(server, holding.keys.errors)["order-1"] == '{"a":1}', "nothing new was said"
    await holding.commit(6, {"order-1": holding.parked(1, 1), "order-2": Row(2)})
    assert server.admin("ZRANGE", holding.keys.due, 0, -1) == [b""]
    assert [*fields_of(server, holding.keys.errors)] == ["order-1"]


ORDER_1 = (0, 1, 3, 5)  # positions of its versions


@pytest.mark.parametrize(
    ("offset", "row", "leaves"),
    [
        (6, Row(4), True),  # all that there is of it is finished
        (4, Row(3), True),  # its next event is the first that the main pass has not passed
        (3, Row(3), True),
        (2, Row(3), False),  # ahead: the main pass would handle version 2 again
        (5, Row(3), False),  # its next event was passed over
        (6, Row(2), False),
        (0, Row(1), True),
        (1, Row(1), False),
        (6, Row(5), False),  # the version before is none
        (4, Row(3, RowState.RETRYING, 1, 0, 0, "-"), False),
        (4, Row(3, RowState.PARKED, 1, 0, 0, "-"), False),
        (4, Row(3, fin=5), False),  # a replay for the row, and for the main pass it would be none
        (4, Row(3, fin=4), True),
    ],
)
async def test_a_stream_comes_back_where_the_main_pass_goes_on_with_it(
    server: Server, store: EventStore, offset: int, row: Row, leaves: bool
) -> None:
    holding = await held(store)
    reply = await holding.commit(offset, {"order-1": replace(row, pending="")})
    assert reply.gone == (frozenset({"order-1"}) if leaves else frozenset())
    assert ("order-1" in fields_of(server, holding.keys.detached)) is not leaves


@pytest.mark.parametrize(
    ("row_fin", "leaves"),
    [(6, True), (5, False), (0, False), (4, False)],
    ids=["same fin", "replay for both, fins differ", "not for the row", "lower"],
)
async def test_in_a_replay_it_comes_back_only_if_its_fin_is_that_of_the_group(
    store: EventStore, row_fin: int, leaves: bool
) -> None:
    holding = await held(store)
    await holding.commit(6)
    replaying = await holding.rewound(2)
    reply = await replaying.commit(4, {"order-1": Row(3, fin=row_fin)})
    assert reply.fin == 6
    assert bool(reply.gone) is leaves


async def test_rows_are_judged_by_the_new_offset(store: EventStore) -> None:
    holding = await held(store)
    assert not (await holding.commit(0, {"order-1": Row(3)})).gone
    assert (await holding.commit(4, {"order-1": Row(3)})).gone == {"order-1"}


async def test_only_rows_that_are_sent_are_judged(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(0, {"order-1": Row(3)})
    assert (await holding.commit(4)).gone == frozenset()
    assert [*fields_of(server, holding.keys.detached)] == ["order-1"]


async def test_a_stream_whose_events_before_are_archived_comes_back_behind_the_border(
    server: Server, store: EventStore
) -> None:
    holding = await held(store)
    _archive_up_to(server, store, border=3)  # versions 1 and 2 of order-1
    assert not (await holding.commit(2, {"order-1": Row(3)})).gone, "an archived event may not be passed yet"
    assert not (await holding.commit(3, {"order-1": Row(2)})).gone, "the next event is archived"
    assert not (await holding.commit(3, {"order-1": Row(1)})).gone
    assert (await holding.commit(3, {"order-1": Row(3)})).gone == {"order-1"}


async def test_a_stream_of_which_all_is_archived_comes_back(server: Server, store: EventStore) -> None:
    holding = await held(store)
    _archive_up_to(server, store, border=6)
    assert not (await holding.commit(5, {"order-1": Row(4)})).gone
    assert not (await holding.commit(6, {"order-1": Row(5)})).gone
    assert (await holding.commit(6, {"order-1": Row(4)})).gone == {"order-1"}


def _archive_up_to(server: Server, store: EventStore, border: int) -> None:
    log = store.log.keys
    for stream, first in (("order-1", 1), ("order-2", 2)):
        positions = [position for position in range(first, 7, 2) if position > border]
        server.admin("DEL", log.index(0, stream))
        server.admin("RPUSH", log.index(0, stream), 3 - len(positions), *positions)
    epoch = server.admin("XREVRANGE", log.events(0), "+", "-", "COUNT", 1)[0][0].decode().partition("-")[0]
    server.admin("XTRIM", log.events(0), "MINID", f"{epoch}-{border + 1}")


async def test_ten_thousand_rows_go_into_one_commit(server: Server, store: EventStore) -> None:
    holding = await held(store)
    rows = {f"lot-{i}": holding.retrying(1, 1, attempts=i % 7 + 1) for i in range(10_000)}
    failures = dict.fromkeys(rows, b"{}")
    await holding.commit(6, rows, failures=failures)
    assert _sizes(server, holding.keys) == (10_001, 10_001, 10_001)
    await holding.commit(6, {stream: Row(1) for stream in rows})
    assert _sizes(server, holding.keys) == (1, 1, 1), "streams without events have nothing to wait for"


def _sizes(server: Server, keys: GroupKeys) -> tuple[int, int, int]:
    return server.admin("HLEN", keys.detached), server.admin("ZCARD", keys.due), server.admin("HLEN", keys.errors)


# ---- orders ----


async def test_an_order_is_seen_until_it_is_carried_out_and_then_its_outcome(server: Server, store: EventStore) -> None:
    holding = await held(store)
    retry, discard = Order("o1", "retry", "order-1", 1), Order("o2", "discard", "läger {é} 1", 2**40)
    for order in (retry, discard):
        await give_order(store.log, holding.keys, order)
    assert set((await holding.commit(0)).orders) == {retry, discard}
    reply = await holding.commit(0, taken={"o1": True})
    assert reply.orders == (discard,)
    reply = await holding.commit(0, taken={"o2": False, "o3": True})
    assert reply.orders == ()
    assert fields_of(server, holding.keys.orders)["o2"] == f"=late {reply.now_ms}"
    assert await take_outcomes(store.log, holding.keys, ["o1", "o2", "o3"]) == {"o1": True, "o2": False}
    assert fields_of(server, holding.keys.orders) == {}


async def test_a_commit_tells_that_the_group_is_paused(store: EventStore) -> None:
    holding = await held(store)
    await pause(store.log, holding.keys, '{"who": "ada"}')
    assert (await holding.commit(1)).paused == '{"who": "ada"}'
    await pause(store.log, holding.keys, "")
    assert (await holding.commit(2)).paused == ""


# ---- returned events ----


async def test_returned_events_are_numbered_within_the_epoch_of_the_lease(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(1, out=(EVENT, EVENT))
    await holding.commit(2, out=(EVENT,))
    server.admin("XTRIM", holding.keys.out, "MAXLEN", 0)  # all were taken
    await holding.commit(3, out=(EVENT,))
    server.admin("DEBUG", "CHANGE-REPL-ID")
    second = await held(store, "bob")
    await second.commit(out=(EVENT,))
    found = server.admin("XRANGE", holding.keys.out, "-", "+")
    fields = [b"q", b"2", b"s", b"mail-1", b"e", EVENT.packed, b"c", b"1795604542245577", b"l", b"H"]
    assert found == [[f"{holding.token.epoch}-3".encode(), fields], [f"{second.token.epoch}-0".encode(), fields]]


# ---- the mirror ----


async def test_lag_is_exact_at_every_offset_and_as_the_log_grows(server: Server, store: EventStore) -> None:
    holding = await held(store)
    for position in range(7):
        await holding.commit(position)
        assert redis_group(server, holding.keys) == {"offset": position, "lag": 6 - position, "pending": {}}
    await store.append("order-1", [Noted(4)] * 5)
    assert redis_group(server, holding.keys)["lag"] == 5
    for position in (5, 0, 3):
        holding = await holding.rewound(position)
        assert redis_group(server, holding.keys) == {"offset": position, "lag": 11 - position, "pending": {}}


async def test_the_pending_list_shows_exactly_the_failures(server: Server, store: EventStore) -> None:
    holding = await held(store)

    async def shows(pending: dict[int, tuple[str, int]], **rows: Row) -> None:
        await holding.commit(6, {name.replace("_", "-"): row for name, row in rows.items()})
        assert redis_group(server, holding.keys)["pending"] == pending

    await shows({1: ("retrying", 2)}, order_1=holding.retrying(1, 1, 2), order_2=Row(2))
    await shows({1: ("retrying", 5)}, order_1=holding.retrying(1, 1, 5))
    await shows({1: ("parked", 8), 2: ("retrying", 1)}, order_1=holding.parked(1, 1), order_2=holding.retrying(2, 1))
    await shows({3: ("retrying", 1), 2: ("retrying", 1)}, order_1=holding.retrying(3, 2))
    await shows({2: ("retrying", 1)}, order_1=Row(3))
    await shows({2: ("retrying", 0)}, order_2=holding.retrying(2, 1, 0))
    await shows({}, order_1=Row(4), order_2=Row(4))


async def test_a_destroyed_redis_group_is_made_anew_at_its_offset_with_its_failures(
    server: Server, store: EventStore
) -> None:
    holding = await held(store)
    await holding.commit(4, {"order-1": holding.parked(1, 1), "order-2": holding.retrying(2, 1, 3)})
    before = redis_group(server, holding.keys)
    server.admin("XGROUP", "DESTROY", holding.keys.log, "g")
    await holding.commit(4)
    assert redis_group(server, holding.keys) == before
    server.admin("XGROUP", "DESTROY", holding.keys.log, "g")
    await held(store, "bob", force=True)
    assert (
        redis_group(server, holding.keys)
        == before
        == {
            "offset": 4,
            "lag": 2,
            "pending": {1: ("parked", 8), 2: ("retrying", 3)},
        }
    )


async def test_what_an_outsider_moves_is_mended_by_the_next_commit(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(2)
    server.admin("XREADGROUP", "GROUP", "g", "outsider", "NOACK", "STREAMS", holding.keys.log, ">")
    assert redis_group(server, holding.keys)["offset"] == 6
    await holding.commit(3)
    assert redis_group(server, holding.keys) == {"offset": 3, "lag": 3, "pending": {}}


async def test_a_failure_whose_entry_was_trimmed_is_kept_in_the_table(server: Server, store: EventStore) -> None:
    holding = await held(store)
    await holding.commit(6, {"order-1": holding.retrying(1, 1)})
    server.admin("XTRIM", holding.keys.log, "MINID", holding.pending(4))
    row = holding.parked(1, 1)
    await holding.commit(6, {"order-1": row})
    assert fields_of(server, holding.keys.detached) == {"order-1": row.pack()}
    assert redis_group(server, holding.keys) == {"offset": 6, "lag": 0, "pending": {}}
