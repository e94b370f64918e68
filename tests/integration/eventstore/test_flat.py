"""A long log costs no more than a short one: the server does the same work for an append and for the read of a stream.

What that takes of its processor, up to 10,000,000 events in 1,000,000 streams, `python -m benchmarks.flat` measures.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import pytest
from msgspec import Struct

from eventstore import EventStore, Expected, NewEvent
from tests.support.fixtures import server_fixture
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

EVENTS_OF_A_STREAM = 10
MORE_STREAMS = 3_000

Step = Callable[[EventStore], Awaitable[object]]


class Work(Struct, frozen=True):
    """What the server did: its own calls by command, those of scripts included, and the bytes that it sent."""

    calls: dict[str, int]
    sent: int


server = server_fixture()


async def test_a_longer_log_makes_no_operation_longer(server: Server) -> None:
    async with open_store(server) as store:
        await _fill(store, first=0, streams=10)
        for step in STEPS.values():
            await step(store)  # from now on the server knows all scripts
        few = {name: await _measured(server, store, step) for name, step in STEPS.items()}
        await _fill(store, first=10, streams=MORE_STREAMS)
        many = {name: await _measured(server, store, step) for name, step in STEPS.items()}
    assert {name: work.calls for name, work in many.items()} == {name: work.calls for name, work in few.items()}
    assert {name: many[name].sent for name in STEPS if many[name].sent > 1.2 * few[name].sent + 100} == {}


async def test_a_stream_that_grows_long_makes_no_append_to_it_and_no_page_of_it_longer(server: Server) -> None:
    long = "order-7"
    steps: dict[str, Step] = {
        "append": partial(_append, stream=long),
        "the last ten": partial(_read, stream=long, backwards=True, limit=10),
        "the first ten": partial(_read, stream=long, limit=10),
    }
    async with open_store(server) as store:
        await _fill(store, first=0, streams=10)
        for step in steps.values():
            await step(store)
        few = {name: (await _measured(server, store, step)).calls for name, step in steps.items()}
        for _ in range(20):
            await store.append(long, [Noted(n) for n in range(1_000)])
        many = {name: (await _measured(server, store, step)).calls for name, step in steps.items()}
    # fewer: its last ten lie side by side, those of a short stream in two places
    assert {name: calls for name, calls in many.items() if Counter(calls) - Counter(few[name])} == {}


# ---- the operations, each on streams of ten events ----


async def _append(store: EventStore, stream: str, expected: int | Expected = Expected.ANY) -> object:
    return await store.append(stream, [Noted(-1)], expected=expected)


async def _append_new(store: EventStore) -> object:
    return await _append(store, f"new-{uuid4().hex}", 0)


async def _append_exact(store: EventStore) -> object:
    return await _append(store, "order-3", await store.version("order-3"))


async def _append_ids_twice(store: EventStore) -> object:
    events = [NewEvent(id=uuid4(), data=Noted(n)) for n in range(3)]
    return [await store.append("order-4", events) for _ in range(2)]


async def _read(store: EventStore, stream: str, **how: Any) -> object:
    found = [event async for event in store.read(stream, **how)]
    assert len(found) == EVENTS_OF_A_STREAM
    return found


STEPS: dict[str, Step] = {
    "append to a new stream": _append_new,
    "append to any version": partial(_append, stream="order-2"),
    "append to the exact version": _append_exact,
    "append ids of the caller's, and repeat it": _append_ids_twice,
    "read a stream": partial(_read, stream="order-5"),
    "read a stream backwards": partial(_read, stream="order-6", backwards=True),
    "ask for a version": partial(EventStore.version, stream="order-5"),
}


# ---- around them ----


async def _fill(store: EventStore, first: int, streams: int) -> None:
    """Twice five events to each stream: a stream's events lie in two places of the log."""
    for _ in range(2):
        async with anyio.create_task_group() as tasks:
            for i in range(first, first + streams):
                tasks.start_soon(partial(store.append, f"order-{i}", [Noted(n) for n in range(5)]))


async def _measured(server: Server, store: EventStore, step: Step) -> Work:
    before = _work(server)
    await step(store)
    after = _work(server)
    calls = {name: after.calls[name] - before.calls.get(name, 0) for name in after.calls}
    return Work({name: count for name, count in calls.items() if count}, after.sent - before.sent)


def _work(server: Server) -> Work:
    stats = server.admin("INFO", "commandstats").decode()
    calls = {name: int(count) for name, count in re.findall(r"^cmdstat_(\S+?):calls=(\d+)", stats, re.MULTILINE)}
    return Work(calls, int(re.findall(rb"total_net_output_bytes:(\d+)", server.admin("INFO", "stats"))[0]))
