"""Versions of a saga, on real servers: no saga is driven by a definition that it was not begun under."""

from contextlib import AsyncExitStack
from typing import Any

import pytest
from msgspec import Struct
from msgspec.structs import replace

from consumers import Saga, UnknownSagaVersion, run, start
from consumers.groups import describe_group
from consumers.sagas.groups import react_group
from eventstore import EventStore
from tests.support.kinds_of_server import place_fixture, placed_store_fixture
from tests.support.running import running
from tests.support.sagas import listed, names, state_of, until_listed
from tests.support.servers import tries

pytestmark = pytest.mark.anyio
place = place_fixture()


class Old(Struct, frozen=True):
    pages: int = 0


class New(Struct, frozen=True):
    leaves: int = 0
    kept: bool = False


class Approved(Struct, frozen=True):
    saga: str


store = placed_store_fixture(types=[Approved])
IDS = [f"{n}" for n in range(30)]


async def count(data: Old) -> Old:
    return replace(data, pages=data.pages + 10)


async def keep(data: New) -> New:
    return replace(data, kept=True)


def of_saga(event: Approved) -> str:
    return event.saga


def first() -> Saga:
    return Saga("book", data=Old).step("count", count).wait("approved", Approved, correlate=of_saga)


def second(**more: Any) -> Saga:
    return Saga("book", data=New, version=2, **more).wait("approved", Approved, correlate=of_saga).step("keep", keep)


async def begin(store: EventStore, saga: Saga, data: Struct, ids: list[str]) -> None:
    """They wait for approval."""
    for saga_id in ids:
        await start(store, saga, saga_id, data)
    async with running(store, saga):
        await until_listed(store, saga, {"running": ids, "live": ids})


async def approve(store: EventStore, ids: list[str]) -> None:
    for saga_id in ids:
        await store.append(f"approval-{saga_id}", [Approved(saga_id)])


async def test_a_worker_does_not_start_while_sagas_live_whose_version_it_does_not_know(store: EventStore) -> None:
    await begin(store, first(), Old(), IDS[:3])
    with pytest.raises(UnknownSagaVersion) as refused:
        await run(store, [second()])
    assert refused.value.versions == {1: 3}
    await approve(store, IDS[:3])
    async with running(store, first()):
        await until_listed(store, first(), {"completed": IDS[:3]})
    async with running(store, second()):  # none lives any more
        await start(store, second(), "new", New())
        await approve(store, ["new", IDS[0]])
        await until_listed(store, second(), {"completed": [*IDS[:3], "new"]})
        async for _ in tries():  # of one that has ended nobody asks for its definition
            if (await names(store, second(), IDS[0]))[-1] == "ignored":
                break


async def test_earlier_versions_finish_on_their_own_definition(store: EventStore) -> None:
    await begin(store, first(), Old(), IDS[:3])
    both = second(earlier=[first()])
    async with running(store, both):
        await start(store, both, "new", New())
        await approve(store, [*IDS[:3], "new"])
        await until_listed(store, both, {"completed": [*IDS[:3], "new"]})
    assert (await state_of(store, both, "0")).data == {"pages": 10}
    assert (await state_of(store, both, "new")).data == {"leaves": 0, "kept": True}


async def test_a_migration_carries_them_over_with_what_they_have_done(store: EventStore) -> None:
    await begin(store, first(), Old(), IDS[:3])
    moved = second().migrate(1, lambda data: New(leaves=2 * data["pages"]))
    async with running(store, moved):
        await approve(store, IDS[:3])
        await until_listed(store, moved, {"completed": IDS[:3]})
    state = await state_of(store, moved, "0")
    assert (state.saga_version, state.data) == (2, {"leaves": 20, "kept": True})
    found = await names(store, moved, "0")
    assert found.count("migrated") == 1
    assert found.count("step_succeeded approved") == 1


async def test_a_running_worker_keeps_those_of_a_later_version_for_one_that_knows_it(store: EventStore) -> None:
    """As in a rolling deploy: they neither fail nor keep the worker from its own."""
    group, both = react_group("book"), second(earlier=[first()])
    async with AsyncExitStack() as old:
        await old.enter_async_context(running(store, first()))
        for saga_id in IDS:
            await start(store, both, saga_id, New())
        async for _ in tries():
            if (await describe_group(store, group)).retrying == len(IDS):
                break
        mine = [f"old-{n}" for n in range(10)]
        for saga_id in mine:
            await start(store, first(), saga_id, Old())
        await approve(store, mine)
        await until_listed(store, first(), {"completed": mine})
        shape = await describe_group(store, group)
        assert (shape.retrying, shape.parked) == (len(IDS), 0)
        async for _ in tries():  # they are tried again
            seen = [member for member in (await describe_group(store, group)).members if member.partitions]
            if seen and all(member.breaker == "closed" for member in seen):
                break
    await approve(store, IDS)
    async with running(store, both):
        await until_listed(store, both, {"completed": [*IDS, *mine]})
        async for _ in tries():
            if (await describe_group(store, group)).retrying == 0:
                break
    assert await listed(store, both) == {"completed": sorted([*IDS, *mine])}
