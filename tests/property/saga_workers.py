"""The workers of saga_world.py: what the product runs, and every call of it a gate that the schedule opens."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from msgspec import Struct

from consumers.context import Context, To
from consumers.handlers import Handler
from consumers.retry import Rules
from consumers.sagas.attempts import Actions, Done, Failed, Late
from consumers.sagas.context import StepContext
from consumers.sagas.errors import UnknownSagaVersion
from consumers.sagas.instances import Instances
from consumers.sagas.react import React
from consumers.sagas.route import Route
from eventstore.envelope import Metadata, NewEvent, RecordedEvent
from eventstore.errors import OutcomeUnknown, Unavailable
from eventstore.event_types import EventTypes

if TYPE_CHECKING:
    from tests.property.saga_world import World

Lane = tuple[str, str]  # group, stream


class Gate:
    """A call that somebody makes, and that ends when the schedule says so. `act` is what the other side does."""

    def __init__(self, worker: "Worker", kind: str, act: Callable[[], Any]) -> None:
        self.worker, self.kind, self.act = worker, kind, act
        self.answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()


class Thread(Struct, frozen=True):
    """An action that was given up, and goes on."""

    worker: "Worker"
    action: Handler
    data: Any
    ctx: StepContext
    on_late: Late


class Finished(Struct, frozen=True):
    lane: Lane
    event: RecordedEvent
    returned: list[To]
    ctx: Context


class Worker:
    """A process: the streams, timers and actions of its sagas, all of whose calls are gates."""

    def __init__(self, world: "World", skew_us: int) -> None:
        self.world = world
        self.instances = Instances(self, world.saga, lambda: world.now_us + skew_us)
        self.route = Route(self.instances)
        self.react = React(self.instances, Outside(self), self, self.spawn)
        self.at: dict[Lane, int] = {}
        self.busy: dict[Lane, asyncio.Task[Any]] = {}
        self.behind: set[asyncio.Task[Any]] = set()
        self.finished: list[Finished] = []
        self.applied: dict[str, set[str]] = {}
        """Effects of actions whose handling has not ended, by stream."""
        self.late: set[str] = set()

    @property
    def types(self) -> EventTypes:
        return self.world.types

    async def read(self, stream: str, from_version: int) -> Sequence[RecordedEvent]:
        read = partial(self.world.facts_of, stream, from_version)
        found: Sequence[RecordedEvent] = await self.call("read", read)
        return found

    async def append(
        self, stream: str, facts: Sequence[Any], version: int, cause: RecordedEvent | None, metadata: Metadata
    ) -> int:
        await self.call("append", partial(self.world.decide, stream, facts, version, metadata))
        return 1

    async def schedule_event(self, stream: str, event: NewEvent, due_us: int, cause_recorded_at: int) -> None:
        await self.call("timer", partial(self.world.schedule, stream, event, due_us))

    async def unschedule(self, stream: str, id: UUID) -> None:  # noqa: A002 - as an event's
        await self.call("timer", partial(self.world.timers.pop, id, None))

    async def call(self, kind: str, act: Callable[[], Any]) -> Any:
        gate = Gate(self, kind, act)
        self.world.gates.append(gate)
        self.world.seen += 1
        try:
            return await gate.answer
        finally:
            if gate in self.world.gates:
                self.world.gates.remove(gate)

    def spawn(self, task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        made = asyncio.get_running_loop().create_task(task())
        self.behind.add(made)
        made.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.world.seen += 1
        self.behind.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.world.failures.append(task.exception())

    def begin(self, lane: Lane, event: RecordedEvent) -> None:
        self.busy[lane] = asyncio.get_running_loop().create_task(self._handle(lane, event))

    async def _handle(self, lane: Lane, event: RecordedEvent) -> None:
        ctx, returned = Context(event), None
        try:
            if lane[0] == "route":
                await self.route.handle(event.data, ctx)
            else:
                returned = await self.react.handle(event.data, ctx)
        except (Unavailable, OutcomeUnknown, UnknownSagaVersion):
            self.world.lost |= self.applied.get(event.stream, set())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong
            self.world.failures.append(error)
        else:
            self.at[lane] = event.version + 1
            self.finished.append(Finished(lane, event, returned or [], ctx))
        finally:
            self.applied.pop(event.stream, None)
            self.busy.pop(lane, None)
            self.world.seen += 1


class Outside(Actions):
    """What lies outside of the log. An action has one effect, however often it is called with one key."""

    def __init__(self, worker: "Worker") -> None:
        super().__init__({}, lambda: 0.0)
        self._worker = worker

    async def attempt(
        self, action: Handler, rules: Rules, data: Struct, ctx: StepContext, on_late: Late
    ) -> Done | Failed:
        world = self._worker.world
        match await self._worker.call("action", partial(world.outcome, self._worker, ctx)):
            case "failed":
                return self.failed(action, rules, OSError("no"), ctx.attempt, 0.0)
            case "slow":
                world.threads.append(Thread(self._worker, action, data, ctx, on_late))
                return self.failed(action, rules, TimeoutError("slow"), ctx.attempt, 0.0)
        return Done(await action.function(data, ctx), ctx.sent, 0.0)
