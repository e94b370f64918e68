"""Each damage done to scheduled events by raw commands is told by one finding, which says what to do."""

from collections.abc import Callable
from uuid import UUID

import pytest

from consumers.keys import timer_keys
from consumers.timers.calls import schedule_event
from consumers.verify import check_groups
from eventstore import EventStore
from eventstore.verify import Finding, verify
from tests.support.fixtures import server_fixture
from tests.support.logs import stream_in
from tests.support.servers import Server
from tests.support.stores import open_store
from tests.support.timers import noted

pytestmark = pytest.mark.anyio

server = server_fixture(scope="module")
IDS = [str(UUID(int=n, version=4)) for n in range(4)]
PARTITION = 2


class Damage:
    """A partition with three events that wait."""

    def __init__(self, server: Server, store: EventStore) -> None:
        self.admin, self.keys = server.admin, timer_keys(store.log.keys, PARTITION)

    def value(self, n: int) -> bytes:
        found: bytes = self.admin("HGET", self.keys.what, IDS[n])
        return found

    def keep(self, n: int, value: bytes) -> None:
        self.admin("HSET", self.keys.what, IDS[n], value)


DAMAGES: dict[str, tuple[Callable[[Damage], object], str, str]] = {
    "the event is gone": (lambda d: d.admin("HDEL", d.keys.what, IDS[2]), IDS[2], "it waits, and the event is gone"),
    "nothing waits for it": (lambda d: d.admin("ZREM", d.keys.due, IDS[1]), IDS[1], "nothing waits for it: ZADD"),
    "cut off": (lambda d: d.keep(3, d.value(3)[:30]), IDS[3], "it is no event"),
    "another one's": (lambda d: d.keep(1, d.value(2)), IDS[1], f"it waits as another event, {IDS[2]}"),
    "another format": (lambda d: d.keep(1, b"\x07" + d.value(1)[1:]), IDS[1], "it begins with"),
    "another letter": (lambda d: d.keep(1, d.value(1)[:9] + b"X" + d.value(1)[10:]), IDS[1], "it begins with"),
    "another stream": (
        lambda d: d.keep(1, d.value(1).replace(b"order", b"odder")),
        IDS[1],
        "lies in partition",
    ),
    "no id": (lambda d: d.admin("ZADD", d.keys.due, 9, "seven"), "seven", "it waits, and the event is gone"),
    "another type": (lambda d: d.admin("SET", d.keys.due, "x"), "timers", "the timers cannot be read"),
}


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damage_is_told_once(server: Server, name: str) -> None:
    async with open_store(server) as store:
        for n in range(1, 4):
            await schedule_event(store.log, stream_in(PARTITION, 4), noted(n), 4_000_000_000_000_000)
        assert await _findings(store) == []
        damage, where, says = DAMAGES[name]
        damage(Damage(server, store))
        (finding,) = await _findings(store)
        assert (finding.invariant, finding.partition) == (1, PARTITION)
        assert where in finding.where
        assert says in finding.detail


async def test_a_million_strays_are_counted_not_listed(server: Server) -> None:
    async with open_store(server) as store:
        await schedule_event(store.log, stream_in(PARTITION, 4), noted(1), 4_000_000_000_000_000)
        keys = timer_keys(store.log.keys, PARTITION)
        server.admin("HSET", keys.what, *(word for n in range(700) for word in (f"stray-{n}", "x")))
        findings = await _findings(store)
        assert len(findings) == 21
        assert findings[-1].detail == "680 more findings of this kind"


async def _findings(store: EventStore) -> list[Finding]:
    return await verify(store.log, checks=[check_groups])
