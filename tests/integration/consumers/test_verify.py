"""Each damage done to what is stored of a group, by raw commands, is told by one finding that names the group, the
place and what to do; a group in use has none."""

from collections.abc import AsyncIterator, Callable
from time import time
from uuid import UUID

import anyio
import pytest

from consumers import Context, Fixed, To, consumer
from consumers.creation import ensure_group
from consumers.dead_letters import list_letters, retry
from consumers.failure import Failure
from consumers.keys import group_keys, home_of
from consumers.order_calls import give_order
from consumers.start import Start
from consumers.state import Order, Outgoing, Row
from consumers.verify import check_groups
from eventstore import EventStore, RecordedEvent
from eventstore.codec import pack
from eventstore.verify import CHECKS, Finding, verify
from tests.support.fixtures import server_fixture
from tests.support.holding import Holding, held
from tests.support.logs import fill
from tests.support.running import running
from tests.support.servers import Server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

server = server_fixture(scope="module")
FAILURE = Failure(
    type="ValueError",
    message="no",
    traceback="",
    where="a.py:1",
    event_type="Noted",
    event_id=UUID(int=1),
    correlation_id=None,
    version=1,
    position=1,
    first_failed_us=1,
    failed_us=1,
    parked=False,
    member="ada",
).pack()


class Damage:
    """A log of one partition with three events each of order-1, order-2 and order-3, and the group `g`, which has come
    to position 8: order-1 is retrying at version 2, order-2 parked at version 1, order-3 clean at version 2; an event
    for mail-1 is on its way."""

    def __init__(self, server: Server, store: EventStore, holding: Holding) -> None:
        self.admin, self.store, self.keys = server.admin, store, holding.keys
        self.epoch = holding.token.epoch
        self.out, self.marks = store.log.keys.outgoing(0), store.log.keys.incoming(0)

    def at(self, position: int) -> str:
        return f"{self.epoch}-{position}"

    def control(self, *pairs: str) -> object:
        return self.admin("HSET", self.keys.control, *pairs)

    def row(self, stream: str, packed: str) -> object:
        return self.admin("HSET", self.keys.detached, stream, packed)

    async def findings(self) -> list[Finding]:
        return await verify(self.store.log, checks=[*CHECKS, check_groups])


@pytest.fixture
async def group(server: Server) -> AsyncIterator[Damage]:
    async with open_store(server, partitions=1) as store:
        for stream in ("order-1", "order-2", "order-3"):
            await fill(store, stream, 3)
        holding = await held(store)
        packed = pack(UUID(int=7), b"mail-1", "Noted", 1, b'{"n":1}', b"")
        await holding.commit(
            8,
            {"order-1": holding.retrying(2, 2, 3), "order-2": holding.parked(4, 1), "order-3": Row(2)},
            failures={"order-1": FAILURE, "order-2": FAILURE},
            out=(Outgoing(0, "mail-1", packed, 1, "N"),),
        )
        await give_order(store.log, holding.keys, Order("o1", "discard", "order-2", 1))
        damage = Damage(server, store, holding)
        assert await damage.findings() == []
        yield damage


Do = Callable[[Damage], object]
FIELDS = ("q", "0", "s", "mail-1", "e", "x" * 60, "c", "1", "l", "N")
NOW_MS = str(round(time() * 1_000))
# what is done | invariant | where, behind "group g, " or on its own | part of what is said of it
DAMAGES: dict[str, tuple[Do, int, str, str]] = {
    "offset beyond the head": (
        lambda g: g.control("offset", g.at(12), "fin", g.at(12)), 3, "offset", "the log ends at 9"
    ),
    "offset of no place": (
        lambda g: g.control("offset", "here"), 3, "offset", "no place of a log"
    ),
    "offset of an epoch": (
        lambda g: g.control("offset", "7-8"), 3, "offset", "it is 7-8, and the log has"
    ),
    "fin behind the offset": (
        lambda g: g.control("fin", g.at(3)), 3, "fin", "it had come to 3 before"
    ),
    "term that is none": (
        lambda g: g.control("term", "soon"), 3, "term", "'soon', which is no number"
    ),
    "replay that is none": (
        lambda g: g.control("replay", "{"), 3, "replay", "HSET"
    ),
    "key that is gone": (
        lambda g: g.admin("DEL", g.keys.bell), 3, ":bell", "does not exist"
    ),
    "key of another type": (
        lambda g: g.admin("SET", g.keys.orders, "x"), 3, ":orders", "WRONGTYPE"
    ),
    "hash of another type": (
        lambda g: g.admin("SET", g.keys.control, "x"), 3, ":g:g", "WRONGTYPE"
    ),
    "member that is none": (
        lambda g: g.admin("HSET", g.keys.control + ":members", "m", f"{NOW_MS} 99999 x"), 3, "members", "HDEL it from"
    ),
    "row that is none": (
        lambda g: g.row("order-3", "2 x"), 6, "order-3", "has the row '2 x'"
    ),
    "row beyond its stream": (
        lambda g: g.row("order-3", "5 c 0 0 0 -"), 6, "order-3", "version 5, and the stream has 3"
    ),
    "row before its stream": (
        lambda g: g.row("order-3", "0 c 0 0 0 -"), 6, "order-3", "version 0, and the stream has 3"
    ),
    "row that had come beyond the head": (
        lambda g: g.row("order-3", "2 c 0 0 99 -"), 6, "order-3", "position 99"
    ),
    "clean row with an entry": (
        lambda g: g.row("order-3", f"2 c 0 0 0 {g.at(8)}"), 6, "order-3", "its row is clean"
    ),
    "due for nothing": (
        lambda g: g.admin("ZADD", g.keys.due, 5, "order-3"), 6, "order-3", "it is not retrying, and :due has 5"
    ),
    "not due": (
        lambda g: g.admin("ZREM", g.keys.due, "order-1"), 6, "order-1", "due at 1000, and :due does not have it"
    ),
    "due at another time": (
        lambda g: g.admin("ZADD", g.keys.due, 5, "order-1"), 6, "order-1", "ZADD"
    ),
    "failure of nothing": (
        lambda g: g.admin("HSET", g.keys.errors, "order-3", FAILURE), 6, "order-3", "and it does not; HDEL"
    ),
    "failure that is none": (
        lambda g: g.admin("HSET", g.keys.errors, "order-1", "{"), 6, "order-1", "a failure of a group"
    ),
    "order that is none": (
        lambda g: g.admin("HSET", g.keys.orders, "o2", "burn 1 x"), 6, "order o2", "HDEL"
    ),
    "outcome that is none": (
        lambda g: g.admin("HSET", g.keys.orders, "o2", "=done soon"), 6, "order o2", "HDEL"
    ),
    "entry that is not shown": (
        lambda g: g.admin("XACK", g.keys.log, "g", g.at(4)), 6, "order-2", "the pending list lacks its entry"
    ),
    "entry that is shown and fails nowhere": (
        lambda g: g.admin("XCLAIM", g.keys.log, "g", "ada", 0, g.at(7), "FORCE"), 6, "entry ", "nothing fails there"
    ),
    "entry that is shown otherwise": (
        lambda g: g.admin("XCLAIM", g.keys.log, "g", "parked", 0, g.at(2), "RETRYCOUNT", 9),
        6, "order-1", "as parked, 9 times",
    ),
    "offset that is shown otherwise": (
        lambda g: g.admin("XGROUP", "SETID", g.keys.log, "g", g.at(3), "ENTRIESREAD", 3), 3, "offset", "a worker mends"
    ),
    "group that Redis has lost": (
        lambda g: g.admin("XGROUP", "DESTROY", g.keys.log, "g"), 3, ":log", "no Redis group of its name"
    ),
    "what was returned and is none": (
        lambda g: g.admin("XADD", g.out, "*", "a", "b"), 1, ":out ", "no returned event"
    ),
    "what was returned to nowhere": (
        lambda g: g.admin("XADD", g.out, "*", "q", "4", *FIELDS[2:]), 1, ":out ", "for partition b'4', of 1"
    ),
    "what was returned and is no event": (
        lambda g: g.admin("XADD", g.out, "*", *FIELDS), 1, ":out ", "not an event"
    ),
    "mark that is none": (
        lambda g: g.admin("HSET", g.marks, "0", "far"), 1, ":in", "from partition 0 reads b'far'"
    ),
    "what was returned, of another type": (
        lambda g: (g.admin("DEL", g.out), g.admin("SET", g.out, "x")), 1, ":out", "WRONGTYPE"
    ),
}  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_told_with_its_place_and_the_remedy(group: Damage, damage: str) -> None:
    do, invariant, where, said = DAMAGES[damage]
    do(group)
    first, *more = await group.findings()
    assert (first.invariant, first.partition) == (invariant, 0)
    assert where in first.where
    assert first.where.startswith("group g, ") == (invariant != 1)
    assert said in first.detail
    assert "; " in first.detail
    # that what shows an offset differs from it is told too
    others = {"group g, offset", "group g, fin"} if damage.startswith("offset") else set()
    assert {finding.where for finding in more} <= others


async def test_a_part_that_is_lost_is_told(server: Server) -> None:
    async with open_store(server) as store:
        await ensure_group(store.log, "g", Start("earliest"))
        home, other = home_of("g", 4), (home_of("g", 4) + 1) % 4
        server.admin("DEL", *group_keys(store.log.keys, "g", other).all)
        (finding,) = await verify(store.log, checks=[check_groups])
        assert (finding.invariant, finding.partition) == (3, other)
        assert "groups delete g" in finding.detail
        server.admin("DEL", *group_keys(store.log.keys, "g", home).all)
        assert await verify(store.log, checks=[check_groups]) == [], "it is just being made, or deleted"


async def test_a_group_in_full_use_has_no_finding(server: Server) -> None:
    seen = 0

    @consumer("busy", retry=Fixed("20ms", attempts=3, immediate=1))
    async def handle(event: RecordedEvent, ctx: Context) -> To | None:
        nonlocal seen
        seen += 1
        if event.version % 5 == 0 and event.stream.startswith("order-1"):
            raise ValueError("now and then, for ever")
        ctx.effects.hincrby("n", event.stream)
        return None if event.stream.startswith("mail") else To(f"mail-{event.version % 9}", event.data)

    async with open_store(server) as store:
        going = True

        async def write() -> None:
            n = 0
            while going:
                n += 1
                await store.append(f"order-{n % 40}", [Noted(n), Noted(n)])

        async with running(store, handle), anyio.create_task_group() as tasks:
            tasks.start_soon(write)
            for turn in range(12):
                await until(lambda turn=turn: seen > 300 * turn)  # type: ignore[misc]
                assert await verify(store.log, checks=[check_groups]) == []
                if turn == 6:
                    letters = [letter.stream async for letter in list_letters(store, "busy")]
                    await retry(store, "busy", letters[:3], who="ada")
            going = False
        assert await verify(store.log, checks=[*CHECKS, check_groups]) == []
