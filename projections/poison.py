"""What a projection does when an event fails for good: it is parked, as in any group, and then

    detach    its stream waits as a dead letter, all others go on
    stop      the group of the generation is paused, and says why: nothing more is projected until `resume`
    skip      the letter is discarded, which the audit stream tells of; the stream goes on behind it

What a worker that ends has left undone of "skip" is done by the next one, for the letter is there until then.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import structlog

from consumers.dead_letters import discard, list_letters
from consumers.deliveries import Delivery
from consumers.errors import DeadLetterNotFound, GroupNotFound, OrderUnanswered
from consumers.failure import Failure
from consumers.groups import pause_group
from consumers.parked import OnParked
from eventstore.errors import Unavailable
from eventstore.jobs import WrongState
from eventstore.store import EventStore

if TYPE_CHECKING:
    from projections.projection import Poison

WHO = "projections"
SOON_SECONDS, EVERY_SECONDS = 0.1, 10.0
"""Between two looks: while an event that is about to be parked has not been seen as a letter yet, and else."""
LOOKS = 50
"""For what may never become one: its worker may have lost the partition before."""
logger = structlog.get_logger("projections")


@asynccontextmanager
async def answering(store: EventStore, poison: "Poison", group: str) -> AsyncIterator[OnParked | None]:
    """Answers to parked events of a group for as long as the block lasts. Yields who is to be told of them."""
    if poison == "detach":
        yield None
        return
    answers = _Answers(store, group, _pause if poison == "stop" else _discard)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(answers.run)
        yield answers.parked
        tasks.cancel_scope.cancel()


async def _pause(store: EventStore, group: str, why: str) -> bool:
    if why:
        await pause_group(store, group, who=WHO, why=f'poison="stop": {why}')
    return True


async def _discard(store: EventStore, group: str, _: str) -> bool:
    with suppress(GroupNotFound):  # it is just being made
        async for letter in list_letters(store, group):
            why = f'poison="skip": {letter.error}: {letter.message}'
            versions = {letter.stream: letter.version}
            with suppress(DeadLetterNotFound, WrongState):  # somebody was faster
                await discard(store, group, [letter.stream], who=WHO, why=why, versions=versions, wait_seconds=2.0)
    return False


class _Answers:
    """Looks when it is told, and now and then. `answer` returns whether that was all."""

    def __init__(
        self, store: EventStore, group: str, answer: Callable[[EventStore, str, str], Awaitable[bool]]
    ) -> None:
        self._store, self._group, self._answer = store, group, answer
        self._told = anyio.Event()
        self._why = ""
        self._looks_left = 0

    def parked(self, event: Delivery, failure: Failure, attempts: int) -> None:
        self._why = f"{event.stream}@{event.version} failed: {failure.in_line}"
        self._looks_left = LOOKS
        self._told.set()

    async def run(self) -> None:
        while True:
            self._told, why = anyio.Event(), self._why
            try:
                if await self._answer(self._store, self._group, why) and why == self._why:
                    self._why, self._looks_left = "", 0
            except (Unavailable, OrderUnanswered) as error:
                logger.warning("poison_later", group=self._group, why=str(error))
            self._looks_left = max(self._looks_left - 1, 0)
            with anyio.move_on_after(SOON_SECONDS if self._looks_left or self._why else EVERY_SECONDS):
                await self._told.wait()
