"""A group with many dead letters is rewound while events come and workers run, and put back."""

import os
from collections import Counter
from collections.abc import AsyncIterator

import anyio
import pytest

from consumers import replay
from consumers.dead_letters import retry_selected
from consumers.keys import group_keys
from eventstore import EventStore
from eventstore.wire import rfc3339
from tests.support.letters import until_listed
from tests.support.replays import Seen, Traffic, executed, until_lag_is, until_over
from tests.support.running import running
from tests.support.servers import Server, redis_server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio
SOAK = bool(os.environ.get("EVENTSTORE_SOAK"))
LETTERS = 1_000 if SOAK else 100


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with redis_server() as one:
        yield one


async def letters_of(store: EventStore) -> set[tuple[str, int]]:
    return {(each.stream, each.version) for each in await until_listed(store, LETTERS, "g")}


async def exact_lags(store: EventStore) -> list[tuple[int, int]]:
    """Of each partition what Redis counts, and the events behind the offset, seen in one moment."""
    found = []
    for partition in range(store.log.partitions):
        keys = group_keys(store.log.keys, "g", partition)
        replies = await store.log.redis.run(
            keys.log,
            ("MULTI",),
            ("XINFO", "GROUPS", keys.log),
            ("HGET", keys.control, "offset"),
            ("HGET", keys.head, "pos"),
            ("EXEC",),
        )
        (group,), offset, head = replies[-1]
        facts = dict(zip(group[::2], group[1::2], strict=True))
        found.append((int(facts[b"lag"]), int(head) - int(offset.partition(b"-")[2])))
    return found


async def offsets_of(store: EventStore) -> list[int]:
    found = []
    for partition in range(store.log.partitions):
        control = group_keys(store.log.keys, "g", partition).control
        offset = await store.log.redis.execute(control, "HGET", control, "offset")
        found.append(int(offset.partition(b"-")[2]))
    return found


async def broken(store: EventStore, i: int) -> None:
    """Its second event fails. Between these lie others that do not, or it would be taken for an outage."""
    await store.append(f"broken-{i}", [Noted(n) for n in range(4)])
    await store.append(f"calm-{i}", [Noted(n) for n in range(4)])


@pytest.mark.timeout(120 if not SOAK else 900)
async def test_a_rewind_under_load_loses_no_letter_and_makes_none_a_replay(server: Server) -> None:
    seen = Seen()
    seen.fails = lambda event: event.stream.startswith("broken") and event.version == 2
    async with open_store(server) as store, anyio.create_task_group() as tasks:
        for i in range(LETTERS // 2):  # these are finished below the target: their rows stay as they are
            await broken(store, i)
        middle = (await store.append("healthy-0", [Noted(0)])).recorded_at
        for i in range(LETTERS // 2, LETTERS):  # these above it, up to the letter: they go back with the others
            await broken(store, i)
        traffic = Traffic(store, "healthy")
        tasks.start_soon(traffic.run)
        async with running(store, seen.consumer()), running(store, seen.consumer()):
            letters = await letters_of(store)
            await until(lambda: traffic.appended > 100)
            before = await offsets_of(store)

            begun = await executed(store, rfc3339(middle), rate=500.0)
            assert all(native == events for native, events in await exact_lags(store))
            assert sum(events for _, events in await exact_lags(store)) > begun.total // 2
            cancelled = await replay.cancel(store, begun.job.id, who="ada")
            assert cancelled.job.state == "cancelled"
            assert cancelled.done < cancelled.total
            assert all(now >= was for now, was in zip(await offsets_of(store), before, strict=True))
            assert all(native == events for native, events in await exact_lags(store))
            assert await letters_of(store) == letters

            again = await executed(store, rfc3339(middle))
            assert (await until_over(store, again.job.id)).job.state == "done"
            assert await letters_of(store) == letters

            traffic.stop.set()
            seen.fails = lambda _: False
            await retry_selected(store, "g", who="ada")
            await until_lag_is(store, 0)
            await until(lambda: _real(seen)["broken"] == 3 * LETTERS)
    real = Counter((stream, version) for stream, version, was in seen.calls if not was)
    replayed = {(stream, version) for stream, version, was in seen.calls if was}
    wanted = {(f"broken-{i}", version) for i in range(LETTERS) for version in range(1, 5)}
    assert {each for each in real if each[0].startswith("broken")} == wanted
    assert {each for each in replayed if each[0].startswith("broken")} <= {
        (f"broken-{i}", 1) for i in range(LETTERS // 2, LETTERS)
    }
    assert sum(1 for each in real if each[0].startswith("healthy")) == traffic.appended + 1


def _real(seen: Seen) -> Counter[str]:
    """Events that follow the first of each broken stream, handled for real."""
    return Counter(s.partition("-")[0] for s, v, was in set(seen.calls) if not was and v > 1)
