"""What no repetition mends still has a way out: an operator's abort."""

import pytest
from msgspec import Struct

from consumers.sagas import facts
from consumers.sagas.reactions import Timer, on
from consumers.sagas.saga import Saga
from consumers.sagas.world import World

pytestmark = pytest.mark.anyio
ABORT = facts.AbortRequested("ada", "it does not come to an end")


class Parcel(Struct, frozen=True):
    id: str


class Ordered(Struct, frozen=True):
    id: str


@on(Ordered, correlate=lambda event: event.id, starts=True)
def ordered(data: None, event: Ordered) -> list[object]:
    return [Parcel(event.id), Timer("late", after="1m")]


@on(Timer("late"))
def late(data: Parcel) -> None:
    raise RuntimeError("nobody thought of this")


async def test_a_saga_whose_reaction_raises_can_be_aborted() -> None:
    world = World(Saga("parcel", data=Parcel, reactions=[ordered, late]))
    world.add("shop-1", Ordered("42"))
    await world.settle()
    with pytest.raises(RuntimeError, match="nobody thought of this"):
        await world.turn(60)
    await world.ask("42", ABORT)
    state = await world.state("42")
    assert (state.status, state.why) == ("compensated", "aborted by ada")
    assert not state.inbox


async def test_an_action_whose_fact_was_discarded_is_done_when_an_operator_asks_for_something() -> None:
    calls: list[str] = []

    async def pack(data: Parcel) -> None:
        calls.append("pack")

    async def unpack(data: Parcel) -> None:
        calls.append("unpack")

    world = World(Saga("parcel", data=Parcel).step("pack", pack, compensate=unpack))
    await world.start("42", Parcel("42"))
    await world.discard()
    assert (calls, (await world.state("42")).status) == ([], "running")
    await world.ask("42", ABORT)
    assert (calls, (await world.state("42")).status) == (["pack", "unpack"], "compensated")
