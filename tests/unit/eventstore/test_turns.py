"""Turns of the tasks that decide on one stream: a courtesy that nobody waits for too long."""

import anyio
import anyio.abc
import pytest
from anyio.lowlevel import checkpoint

from eventstore.decide import Turns

pytestmark = pytest.mark.anyio


async def test_tasks_come_one_by_one_and_in_order() -> None:
    turns, seen = Turns(), list[str]()

    async def work(name: str, stream: str) -> None:
        async with turns.of(stream, 60):
            seen.append(name)
            await checkpoint()
            seen.append(name)

    async with anyio.create_task_group() as tasks:
        for name in "abc":
            tasks.start_soon(work, name, "order-1")
    assert "".join(seen) == "aabbcc"


async def test_streams_do_not_wait_for_each_other() -> None:
    turns = Turns()
    async with turns.of("order-1", 60), turns.of("order-2", 60):
        pass


async def test_who_has_waited_long_enough_goes_ahead_and_takes_nothing_away() -> None:
    turns = Turns()
    async with turns.of("order-1", 60):
        async with turns.of("order-1", 0.001):
            pass
        turn = turns._turns["order-1"]
        assert turn.value == 0
    assert turn.value == 1


async def test_who_gives_up_or_fails_leaves_the_turn_to_the_next() -> None:
    turns, done = Turns(), list[int]()

    async def work(number: int, scope: anyio.CancelScope) -> None:
        with scope:
            async with turns.of("order-1", 60):
                done.append(number)

    scopes = [anyio.CancelScope() for _ in range(3)]

    async def fail(tasks: anyio.abc.TaskGroup) -> None:
        async with turns.of("order-1", 60):
            for number, scope in enumerate(scopes):
                tasks.start_soon(work, number, scope)
            while turns._turns["order-1"].statistics().tasks_waiting < 3:
                await checkpoint()
            scopes[0].cancel()
            await checkpoint()
            raise ZeroDivisionError

    async with anyio.create_task_group() as tasks:
        with pytest.raises(ZeroDivisionError):
            await fail(tasks)
    assert done == [1, 2]


async def test_nothing_is_kept_of_a_stream_on_which_nobody_decides() -> None:
    turns = Turns()
    async with turns.of("order-1", 60):
        assert len(turns._turns) == 1
    assert len(turns._turns) == 0
