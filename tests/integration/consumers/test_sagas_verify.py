"""Verify and sagas: none of them is without an end and without anything to come; each damage is told with its saga."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
import pytest
from msgspec import Struct

from consumers import Fixed, Immediate, Saga, StepContext, start
from consumers.keys import effect_key, group_keys, timer_keys
from consumers.sagas import facts
from consumers.verify import check_groups, check_sagas
from eventstore import EventStore
from eventstore.partitions import partition_of
from eventstore.verify import CHECKS, Finding, verify
from tests.support.kinds_of_server import place_fixture, placed_store_fixture
from tests.support.running import running, until_lag
from tests.support.sagas import state_of, until_listed
from tests.support.servers import tries

pytestmark = pytest.mark.anyio
place = place_fixture("redis 7.0", "cluster")
store = placed_store_fixture(types=[], partitions=4)
GROUP = "saga.ingestion.react"


class Ingestion(Struct, frozen=True):
    source: str = "docs"


class Arrived(Struct, frozen=True):
    id: str


class Works:
    def __init__(self) -> None:
        self.fails: set[str] = set()

    async def do(self, data: Ingestion, ctx: StepContext) -> None:
        if f"{'undo ' if ctx.undo else ''}{ctx.step} {ctx.saga_id.rpartition('-')[2]}" in self.fails:
            raise ValueError("no")


def of(works: Works) -> Saga:
    return (
        Saga("ingestion", data=Ingestion)
        .step("fetch", works.do, compensate=works.do, retry_compensation=Immediate(1))
        .wait("arrived", Arrived, correlate=lambda event: event.id, when=lambda data: data.source == "post")
        .step("keep", works.do, retry=Fixed("1h", attempts=2, immediate=1))
        .step("sell", works.do, retry=Immediate(1))
    )


@asynccontextmanager
async def one_of_each(store: EventStore) -> AsyncIterator[Saga]:
    """done is completed, waits waits for an event, again for its next attempt, stuck for an operator, early for its
    start; nobody runs them in the block."""
    works = Works()
    works.fails = {"keep again", "sell stuck", "undo fetch stuck"}
    saga = of(works)
    for name in ("done", "again", "stuck"):
        await start(store, saga, name, Ingestion())
    await start(store, saga, "waits", Ingestion("post"))
    await store.append("parcel-1", [Arrived("early")])
    async with running(store, saga):
        live = ["again", "stuck", "waits"]
        at = {"completed": ["done"], "running": ["again", "waits"], "stuck": ["stuck"], "unstarted": ["early"]}
        await until_listed(store, saga, {**at, "live": live})
        async for _ in tries():
            if (await state_of(store, saga, "again")).timers and (await state_of(store, saga, "waits")).steps:
                break
        await until_lag(store, GROUP)
    yield saga


async def found(store: EventStore) -> list[Finding]:
    return await verify(store.log, checks=[*CHECKS, check_groups, check_sagas])


async def of_sagas(store: EventStore) -> list[tuple[str, str]]:
    """Which saga, and what of it."""
    return [(each.where, each.detail) for each in await verify(store.log, checks=[check_sagas]) if each.invariant == 5]


async def run_raw(store: EventStore, key: str, command: str, *args: str | int) -> None:
    await store.log.redis.execute(key, command, key, *args)


def home(store: EventStore, name: str) -> int:
    return partition_of(f"saga-ingestion-{name}", store.log.partitions)


async def in_index(store: EventStore, name: str, command: str, index: str, *args: str | int) -> None:
    await run_raw(store, effect_key(store.log.keys, GROUP, home(store, name), index), command, *args)


async def lose_timer(store: EventStore, saga: Saga) -> None:
    keys = timer_keys(store.log.keys, home(store, "again"))
    (timer,) = [
        each.decode() for each in await store.log.redis.execute(keys.due, "ZRANGE", keys.due, 0, -1) if each != b""
    ]
    await run_raw(store, keys.due, "ZREM", timer)
    await run_raw(store, keys.what, "HDEL", timer)


async def pass_over(store: EventStore, name: str) -> None:
    """The group counts all events of the partition as finished: what an operator's discard comes to."""
    partition = home(store, name)
    keys = group_keys(store.log.keys, GROUP, partition)
    head = (await store.heads()).places[partition]
    await run_raw(store, keys.control, "HSET", "offset", f"{head[0]}-{head[1]}", "fin", f"{head[0]}-{head[1]}")


async def lose_action(store: EventStore, saga: Saga) -> None:
    await start(store, saga, "lost", Ingestion())
    for index in ("running", "live"):
        await in_index(store, "lost", "ZADD", index, 1, "lost")
    await pass_over(store, "lost")


async def lose_request(store: EventStore, saga: Saga) -> None:
    version = (await state_of(store, saga, "again")).version
    await store.append_to("saga-ingestion-again", [facts.AbortRequested("ada")], expected=version)
    await pass_over(store, "again")


async def cancel_for_good(store: EventStore, saga: Saga) -> None:
    state = await state_of(store, saga, "again")
    timer = state.timers["$retry.keep"]
    fact = facts.TimerCancelled("$retry.keep", timer.set_at, timer.due)
    await store.append_to("saga-ingestion-again", [fact], expected=state.version)


async def append_something(store: EventStore, saga: Saga) -> None:
    await store.append("saga-ingestion-again", [Arrived("again")])


Damage = Callable[[EventStore, Saga], Awaitable[None]]
DAMAGES: dict[str, tuple[Damage, str, str]] = {
    "a timer is gone": (lose_timer, "again", r"its timer \$retry.keep, set at version \d+ for .*: it never fires"),
    "an action is passed over": (lose_action, "lost", "fetch was begun at version 2, that was handled or discarded"),
    "a request is passed over": (lose_request, "again", "what version .* says was handled or discarded, and nothing"),
    "nothing is open": (cancel_for_good, "again", "it is running, and nothing of it is open"),
    "a stranger's event": (append_something, "again", "is no fact of a saga, but Arrived"),
    "not in the index": (
        lambda store, saga: in_index(store, "done", "ZREM", "completed", "done"),
        "done",
        "the index has it under nothing, and it is completed",
    ),
    "under another status": (
        lambda store, saga: in_index(store, "waits", "ZADD", "stuck", 1, "waits"),
        "waits",
        "the index has it under running and stuck, and it is running",
    ),
    "not among the living": (
        lambda store, saga: in_index(store, "stuck", "ZREM", "live", "stuck"),
        "stuck",
        "it is stuck, and the index of those that live lacks it",
    ),
    "among the living": (
        lambda store, saga: in_index(store, "done", "ZADD", "live", 1, "done"),
        "done",
        "it is completed, and the index of those that live has it",
    ),
    "in the index alone": (
        lambda store, saga: in_index(store, "done", "ZADD", "running", 1, "nobody"),
        "nobody",
        "the index has it under running, and it is not there",
    ),
}


async def test_sagas_in_every_status_are_as_they_must_be(store: EventStore) -> None:
    async with one_of_each(store) as saga:
        assert await found(store) == []
        await store.append("saga-book-1", [Arrived("no saga's")])
        await store.append("saga-ingestion-other", [Arrived("no saga's")])
        assert await of_sagas(store) == []
        await start(store, saga, "new", Ingestion())  # nobody has handled it yet
        assert await of_sagas(store) == []


@pytest.mark.parametrize("name", DAMAGES)
async def test_a_damage_is_told_once_with_its_saga(store: EventStore, name: str) -> None:
    damage, saga_id, told = DAMAGES[name]
    async with one_of_each(store) as saga:
        await damage(store, saga)
        (where, detail), *others = await of_sagas(store)
        assert others == []
        assert where == f"saga-ingestion-{saga_id}"
        assert re.search(told, detail)
        assert detail.endswith(f"eventstore sagas show {where}")


async def test_it_finds_nothing_beside_a_worker_that_runs_them(store: EventStore) -> None:
    works = Works()
    works.fails = {f"sell {n}" for n in range(0, 60, 3)}
    saga = of(works)
    looks = 0

    async def look() -> None:
        nonlocal looks
        while True:
            assert await of_sagas(store) == []
            looks += 1

    async with running(store, saga), anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        for n in range(60):
            await start(store, saga, str(n), Ingestion())
        compensated = [str(n) for n in range(0, 60, 3)]
        await until_listed(store, saga, {"compensated": compensated, "completed": [str(n) for n in range(60) if n % 3]})
        async for _ in tries():
            if looks > 3:
                break
        tasks.cancel_scope.cancel()
    assert await found(store) == []
