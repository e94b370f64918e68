"""Parcels under way, as the processes of saga_worker.py drive them, and what must be true of each when it has ended."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import anyio

from consumers.sagas.instances import stream_of
from consumers.sagas.start import start
from eventstore import EventStore, OutcomeUnknown, Unavailable
from tests.support.saga_worker import CALLS, MARKS, Parcel, parcels

SAGA = parcels()
STARTERS = 10
STEPS = ("reserve", "pay", "pack", "ship")


def parcel(number: int, seconds: float = 0.0) -> Parcel:
    """One in five goes back from its last step, one from a step beside another, and one stumbles as it goes back."""
    match number % 5:
        case 0:
            return Parcel(fails_at="ship", seconds=seconds)
        case 1:
            return Parcel(stumbles_at="pay", seconds=seconds)
        case 2:
            return Parcel(fails_at="pay", seconds=seconds)
        case 3:
            return Parcel(fails_at="ship", stumbles_at="undo reserve", seconds=seconds)
        case _:
            return Parcel(seconds=seconds)


async def start_parcels(store: EventStore, numbers: Sequence[int], seconds: float) -> None:
    """Some at a time."""

    async def some(first: int) -> None:
        for number in numbers[first::STARTERS]:
            await _start(store, number, seconds)

    async with anyio.create_task_group() as tasks:
        for first in range(STARTERS):
            tasks.start_soon(some, first)


async def start_on(store: EventStore, numbers: list[int], seconds: float, stop: anyio.Event) -> None:
    """One after the other, without end, until it is told to stop; their numbers go into the list."""
    while not stop.is_set():
        number = numbers[-1] + 1
        await _start(store, number, seconds)
        numbers.append(number)
        await anyio.sleep(0.05)


async def _start(store: EventStore, number: int, seconds: float) -> None:
    while True:
        with suppress(Unavailable, OutcomeUnknown):  # whoever starts it again gets the one that runs
            await start(store, SAGA, f"{number}", parcel(number, seconds))
            return


async def marks(store: EventStore) -> dict[str, int]:
    flat = await store.log.redis.execute(MARKS, "HGETALL", MARKS)
    return {key.decode(): int(number) for key, number in zip(flat[::2], flat[1::2], strict=True)}


async def calls(store: EventStore) -> dict[int, int]:
    """How many each process has made."""
    flat = await store.log.redis.execute(CALLS, "HGETALL", CALLS)
    return {int(pid): int(number) for pid, number in zip(flat[::2], flat[1::2], strict=True)}


def ends(numbers: Iterable[int]) -> dict[str, list[str]]:
    """Where each is to be listed in the end."""
    found: dict[str, list[str]] = {"completed": [], "compensated": []}
    for number in numbers:
        found["compensated" if parcel(number).fails_at else "completed"].append(f"{number}")
    return found


async def assert_right(store: EventStore, numbers: Sequence[int]) -> int:
    """Of all that have ended. Gives how many attempts were begun."""
    told: dict[str, list[Any]] = defaultdict(list)
    async for event in store.read_all():
        told[event.stream].append(event.data)
    made = await marks(store)
    return sum(_begun(number, told[stream_of(SAGA.name, f"{number}")], made) for number in numbers)


def _begun(number: int, events: Sequence[Any], made: Mapping[str, int]) -> int:
    """Each step that succeeded has left its mark once, in order, and if the saga went back each such step was taken
    back after those that came later."""
    stream, given = stream_of(SAGA.name, f"{number}"), parcel(number)
    names = [type(each).__name__ for each in events]
    assert names.count("Started") == 1, names
    ending = [name for name in names if name != "TimerCancelled"]  # of two calls one may fail, and the other succeed
    assert ending[-1] == ("Compensated" if given.fails_at else "Completed"), names
    assert names.count("Compensated") + names.count("Completed") == 1, names
    succeeded = [each.step for each in events if type(each).__name__ == "StepSucceeded"]
    assert sorted(succeeded) == sorted(set(succeeded)), names
    fails_at = STEPS.index(given.fails_at) if given.fails_at else len(STEPS)
    wanted = {"pay": {"reserve", "pack"}}.get(given.fails_at, {*STEPS[:fails_at]})
    assert {*succeeded} == wanted, names
    forward = [made[f"{stream}:{step}"] for step in succeeded]
    if "ship" in succeeded:
        assert forward[-1] == max(forward)
    assert forward[0] == min(forward)
    undone = [each.step for each in events if type(each).__name__ == "CompensationDone"]
    assert undone == ([*reversed(succeeded)] if given.fails_at else []), names
    backward = [made[f"{stream}:{step}:undo"] for step in undone]
    assert backward == sorted(backward)
    assert not backward or backward[0] > max(forward)
    marked = {key.removeprefix(f"{stream}:") for key in made if key.startswith(f"{stream}:")}
    assert marked == {*succeeded} | {f"{step}:undo" for step in undone}
    return sum(name in ("StepStarted", "CompensationStarted") for name in names)
