"""Given events, when a consumer handles them, then events and effects follow: tested without a server. Sagas too.

    given(OrderPlaced(total=99)).handle(charge).then(PaymentTaken(99))
    given(OrderPlaced(total=0)).handle(charge, resources=[Resource(Bank, Broke())]).then_raises(Declined)
    given(OrderPlaced(total=99)).handle(totals).then_effects(("HINCRBY", "orders", "count", 1))
    given(OrderPlaced("1")).saga(payment).when(Paid("1")).then(commands=[To("shop-1", Ship())], status="completed")

Each event is handled once, in the order given, until a handler raises: retries are the business of policies, which are
plain functions. Events pass through JSON and returned ones are encoded as for an append, so what could not be stored
fails the test.
"""

import re
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

import anyio
from msgspec import Struct

from consumers.consumer import Consumer
from consumers.context import Context, To
from consumers.errors import InvalidConsumer, InvalidRequest
from consumers.handle import Handling
from consumers.keys import effect_key
from consumers.loops import run_apart
from consumers.outcome import Succeeded
from consumers.resources import Resource, checked_resources, opened
from consumers.sagas.saga import Saga
from consumers.sagas.testing import Scenario, scenario
from consumers.slots import Slot
from eventstore.arguments import at_least, may_be, must_be_flags, told
from eventstore.envelope import Metadata, NewEvent, RecordedEvent, Untyped
from eventstore.event_types import EventTypes
from eventstore.expectations import checked_events, comparable, listed, must_be_exception, row, side_by_side
from eventstore.ids import new_id
from eventstore.keys import Keys
from eventstore.names import stream_name
from eventstore.partitions import partition_of
from infrastructure.settings import LogSettings

E = TypeVar("E", bound=Exception)
_LOOK_SECONDS = 0.02


def given(*events: Any, stream: str = "given") -> "Given":
    """The events to handle, as versions 1, 2, ... of the stream. `To(stream, event)` puts one elsewhere, a NewEvent has
    metadata, an Untyped is what an older release stored. Raises InvalidRequest for a list of events."""
    return Given(checked_events(events, "given"), stream_name(stream))


class Given(Struct, frozen=True):
    events: tuple[Any, ...]
    stream: str = "given"

    def handle(
        self, consumer: Consumer, *, resources: Iterable[Resource] = (), attempt: int = 1, replaying: bool = False
    ) -> "Handled":
        """Has the consumer handle them, in an event loop of its own. What a handler raises waits for `then_raises`; an
        event that cannot be stored, events of which it takes none, and a resource that is missing or cannot be opened,
        fail here."""
        __tracebackhide__ = True
        if not isinstance(consumer, Consumer):
            raise InvalidConsumer(
                f"{told(consumer)} is no consumer", field="consumer", remedy="what @consumer(name) has made"
            )
        at_least(1, attempt=attempt)
        must_be_flags(replaying=replaying)
        needed = checked_resources(resources, consumer.handlers)
        _must_take_any(consumer, self.events)
        return run_apart(partial(handled, self, consumer, needed, attempt, replaying))

    def saga(self, saga: Saga, *, resources: Iterable[Resource] = ()) -> Scenario:
        """A scenario of sagas of this type, to which these events are brought first: see there for what follows. Raises
        InvalidConsumer for what is no saga, and for a resource that its actions want and that is missing."""
        return scenario(self.events, self.stream, saga, resources)


class Handled(Struct, frozen=True):
    """What came of the events: each `then` checks it, and raises an AssertionError that shows what was expected and
    what came."""

    given: tuple[Any, ...]
    consumer: Consumer
    done: tuple[tuple[RecordedEvent, Succeeded], ...]
    error: BaseException | None

    def then(self, *expected: Any) -> None:
        """Exactly these events were returned, in this order: an event for the stream of its cause, `To(stream, event)`
        for another. Metadata counts where a NewEvent is expected."""
        __tracebackhide__ = True
        checked_events(expected, "then")
        self._not_raised(f"these events: {listed(expected)}" if expected else "no event")
        returned = [(cause.stream, to) for cause, done in self.done for to in done.returned]
        wanted = [*expected, *[None] * (len(returned) - len(expected))]
        actual = tuple(_shown(one, *came) for one, came in zip(wanted, returned, strict=False))
        if actual != expected:
            raise self._wrong("other events were expected", side_by_side(expected, actual))

    def then_nothing(self) -> None:
        """No event was returned, and no exception raised."""
        __tracebackhide__ = True
        self.then()

    def then_effects(self, *expected: tuple[Any, ...]) -> None:
        """Exactly these effects were collected, in this order: command, name and arguments, as in
        `("HSET", "orders", "order-1", "paid")`."""
        __tracebackhide__ = True
        expected = tuple(map(_effect, expected))
        self._not_raised(f"these effects: {listed(expected)}" if expected else "no effect")
        actual = tuple(effect for event, done in self.done for effect in _effects(self.consumer, event, done))
        if actual != expected:
            raise self._wrong("other effects were expected", side_by_side(expected, actual))

    def then_raises(self, kind: type[E], match: str | None = None) -> E:
        """A handler raised this exception or one that derives from it, whose text has a place that matches the regular
        expression. Returns it."""
        __tracebackhide__ = True
        must_be_exception(kind)
        may_be(str | re.Pattern, "a regular expression", match=match)
        wanted = kind.__name__ + (f" matching {match!r}" if match else "")
        if self.error is None:
            returned = listed([to for _, done in self.done for to in done.returned])
            raise self._wrong(f"{wanted} was expected", f"  actual    {returned or 'no event'}")
        if not isinstance(self.error, kind) or (match and not re.search(match, str(self.error))):
            raise self._wrong(f"{wanted} was expected", f"  actual    {self.error!r}") from self.error
        return self.error

    def _not_raised(self, wanted: str) -> None:
        __tracebackhide__ = True
        if self.error is not None:
            remedy = getattr(self.error, "remedy", None)
            hint = f"\n  remedy    {remedy}" if remedy else ""
            raise self._wrong(f"expected was {wanted}", f"  raised    {self.error!r}{hint}") from self.error

    def _wrong(self, what: str, rows: str) -> AssertionError:
        return AssertionError(f"{what}\n{row('given', self.given)}\n  handled   by {self.consumer!r}\n{rows}")


def _must_take_any(consumer: Consumer, events: tuple[Any, ...]) -> None:
    """A test whose events nobody takes tests nothing."""
    plain = [each.event if isinstance(each, To) else each for each in events]
    data = [each.data if isinstance(each, NewEvent) else each for each in plain]
    takes_all = any(handler.takes_envelope for handler in consumer.handlers)
    if not data or not (takes_all or any(isinstance(each, (*consumer.types, Untyped)) for each in data)):
        names = ", ".join(sorted(each.__name__ for each in consumer.types)) or "every event"
        what = f"{consumer.name} takes none of {listed(data)}" if data else "no event is given"
        raise InvalidRequest(what, field="events", remedy=f"{consumer.name} takes {names}")


def _effect(given: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(given, tuple) or not given or not isinstance(given[0], str):
        remedy = 'command, name and arguments: ("HINCRBY", "orders", "count", 1)'
        raise InvalidRequest(f"an effect of then_effects(...) is {given!r:.80}", field="effects", remedy=remedy)
    return (given[0].upper(), *given[1:])


class _Home(Struct, frozen=True):
    """What handling needs of a log."""

    types: EventTypes
    settings: LogSettings
    keys: Keys
    partitions: int


_KEYS = Keys("es", 16)


async def handled(
    given: Given,
    consumer: Consumer,
    resources: tuple[Resource, ...] = (),
    attempt: int = 1,
    replaying: bool = False,
    context: Callable[..., Context] = Context,
) -> Handled:
    """What comes of the events; `context` makes what handlers get."""
    types = EventTypes(consumer.types)
    events = _recorded(given, types)
    done: list[tuple[RecordedEvent, Succeeded]] = []
    error: BaseException | None = None
    async with opened(resources) as values:
        handling = Handling(consumer, _Home(types, LogSettings(), _KEYS, 16), values, "test", context=context)
        slot = Slot()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_watch, slot)
            for event in filter(consumer.wants, events):
                try:
                    done.append((event, await handling.attempt(slot, event, attempt, replaying)))
                except (Exception, SystemExit) as raised:  # noqa: BLE001 - it is what the test asks about
                    error = raised
                    break
            tasks.cancel_scope.cancel()
    return Handled(given.events, consumer, tuple(done), error)


async def _watch(slot: Slot) -> None:
    while True:
        await anyio.sleep(_LOOK_SECONDS)
        slot.overdue(time.monotonic())


def _recorded(given: Given, types: EventTypes) -> list[RecordedEvent]:
    versions: dict[str, int] = {}
    now_us = time.time_ns() // 1_000
    recorded = []
    for position, event in enumerate(given.events, 1):
        to = event if isinstance(event, To) else To(given.stream, event)
        version = versions[to.stream] = versions.get(to.stream, 0) + 1
        recorded.append(_as_stored(to, version, position, now_us, types))
    return recorded


def _as_stored(to: To, version: int, position: int, now_us: int, types: EventTypes) -> RecordedEvent:
    """By way of JSON. Raises InvalidEvent."""
    new = to.event if isinstance(to.event, NewEvent) else NewEvent(data=to.event)
    name, schema_version, stored = types.encode(new.data)
    present, present_version, _ = types.kind(name, schema_version)
    event_id = new.id or new_id()
    return RecordedEvent(
        event_id,
        to.stream,
        version,
        partition_of(stream_name(to.stream), 16),
        1,
        position,
        now_us + position,
        present,
        present_version,
        types.decode(name, schema_version, stored),
        new.metadata or Metadata(correlation_id=str(event_id)),
    )


def _shown(expected: object, cause_stream: str, to: To) -> object:
    """What came, in the form that was expected: to the stream of its cause, with or without its name."""
    if isinstance(expected, To):
        return To(to.stream, comparable(expected.event, to.event))
    event = comparable(expected, to.event)
    return event if to.stream == cause_stream else To(to.stream, event)


def _effects(consumer: Consumer, event: RecordedEvent, done: Succeeded) -> Iterable[tuple[Any, ...]]:
    prefix = effect_key(_KEYS, consumer.name, event.partition, "")
    return [(each.command, each.key.removeprefix(prefix), *each.args) for each in done.effects]
