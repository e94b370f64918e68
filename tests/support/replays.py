"""Groups that are replayed beside a test."""

from typing import TYPE_CHECKING, Any

import anyio

from consumers import replay
from consumers.consumer import Consumer, consumer
from consumers.context import Context
from consumers.replay import Replay, ReplayPlan, Request, parse_target
from consumers.retry import Park
from eventstore import EventStore, RecordedEvent
from tests.support.running import lag
from tests.support.servers import tries
from tests.support.stores import Noted

if TYPE_CHECKING:
    from collections.abc import Callable


class Seen:
    """A handler that remembers: (stream, version), and whether it was a replay. `fails` tells which events it fails."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, bool]] = []
        self.fails: Callable[[RecordedEvent], bool] = lambda _: False

    def consumer(self, group: str = "g", **options: Any) -> Consumer:
        @consumer(group, **{"retry": Park(), **options})
        async def handle(event: RecordedEvent, ctx: Context) -> None:
            if self.fails(event):
                raise ValueError(f"{event.stream}@{event.version}")
            self.calls.append((event.stream, event.version, ctx.replaying))

        return handle

    def versions(self, stream: str, *, replaying: bool) -> list[int]:
        return [version for name, version, was in self.calls if name == stream and was is replaying]

    def clear(self) -> None:
        self.calls.clear()


class Traffic:
    """Events that come all the time, a few hundred in a second, until it is stopped."""

    def __init__(self, store: EventStore, category: str) -> None:
        self._store, self._category = store, category
        self.appended = 0
        self.stop = anyio.Event()

    async def run(self) -> None:
        while not self.stop.is_set():
            await self._store.append(f"{self._category}-{self.appended % 20}", [Noted(self.appended)])
            self.appended += 1
            await anyio.sleep(0.003)


def request(to: str, group: str = "g", *, until: str | None = None, **bounds: Any) -> Request:
    return Request(group, parse_target(to), until=None if until is None else parse_target(until), **bounds)


async def planned(store: EventStore, to: str, **bounds: Any) -> ReplayPlan:
    return await replay.plan(store, request(to, **bounds))


async def executed(store: EventStore, to: str, *, skip: bool = False, **bounds: Any) -> Replay:
    return await replay.execute(store, request(to, **bounds), who="ada", why="a bad deploy", skip=skip)


async def until_lag_is(store: EventStore, wanted: int, group: str = "g") -> None:
    async for _ in tries():
        if await lag(store, group) == wanted:
            return


async def until_over(store: EventStore, replay_id: str) -> Replay:
    """The replay, when whoever looks after it has ended it."""
    async for _ in tries():
        found = await replay.get_replay(store, replay_id)
        if found.job.ended_at is not None:
            return found
    raise AssertionError
