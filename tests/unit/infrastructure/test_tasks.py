"""Tasks that a resource owns."""

import anyio
import anyio.lowlevel
import pytest

from infrastructure.errors import Unavailable
from infrastructure.tasks import owned_tasks

pytestmark = pytest.mark.anyio


async def test_leaving_waits_for_the_tasks() -> None:
    done: list[int] = []

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        done.append(1)

    async with owned_tasks() as spawn:
        spawn(work)
    assert done == [1]


async def test_an_error_of_the_body_comes_out_bare_and_the_tasks_still_end() -> None:
    done: list[int] = []

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        done.append(1)

    async def body() -> None:
        async with owned_tasks() as spawn:
            spawn(work)
            raise KeyError("body")

    with pytest.raises(KeyError):
        await body()
    assert done == [1]


async def test_a_cancelled_owner_cancels_its_tasks() -> None:
    with anyio.CancelScope() as scope:
        async with owned_tasks() as spawn:
            spawn(anyio.sleep_forever)
            scope.cancel()
            await anyio.lowlevel.checkpoint()
    assert scope.cancelled_caught


async def test_after_the_end_nothing_is_started() -> None:
    async with owned_tasks() as spawn:
        pass
    with pytest.raises(Unavailable, match="closed"):
        spawn(anyio.sleep_forever)


async def test_an_error_of_a_task_comes_out_on_leaving() -> None:
    async def fail() -> None:
        raise KeyError("task")

    with pytest.raises(KeyError, match="task"):
        async with owned_tasks() as spawn:
            spawn(fail)
