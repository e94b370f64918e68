"""@consumer: a group, its handlers, and the rules by which they are called, as a value that a module defines.

@consumer("charge-cards", retry=Exponential(first="200ms", attempts=8), on={CardDeclined: Park()})
async def charge(event: OrderPlaced, ctx: Context) -> PaymentTaken: ...

@charge.also(on_replay="skip")
async def send_receipt(event: PaymentTaken, mail: Mailer) -> None: ...
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from msgspec import Struct, field

from consumers import retry as policies
from consumers.checks import duration, flag, refused, whole
from consumers.errors import InvalidConsumer
from consumers.group_name import group_name
from consumers.handlers import Handler, OnReplay, handler_of, refuse_two_for_one, structs_of
from consumers.middleware import Hooks, checked_middleware, hooks_of
from consumers.rate import Rate, parse_rate
from consumers.retry import Policy, Rules
from consumers.start import Start, parse_start
from eventstore.envelope import RecordedEvent
from eventstore.errors import InvalidRequest
from eventstore.names import in_categories, prefixes_of

MOST_CONCURRENCY = 10_000
Decorator = Callable[[Callable[..., Any]], "Consumer"]


def consumer(
    name: str,
    *,
    retry: Policy = policies.DEFAULT,
    on: Mapping[type[Exception], Policy] | None = None,
    concurrency: int = 16,
    timeout: str | float = "60s",
    on_replay: OnReplay = "drop",
    start: str = "earliest",
    categories: Iterable[str] = (),
    system: bool = False,
    rate: str | None = None,
    middleware: Iterable[object] = (),
    grace: str | float = "5s",
) -> Decorator:
    """Makes a function the handler of a group. The first parameter's annotation says which events it takes (a Struct, a
    union, or RecordedEvent for all); one annotated with Context gets that, the others get resources by type. Async
    functions run on the event loop, others in threads. What it returns is appended exactly once when the event is
    finished: None, an event (to the stream of its cause), `To(stream, event)`, or a list of them.

    Each event is handled at least once, those of one stream one at a time and in order of version; up to `concurrency`
    streams at once in each member. An attempt that raises, takes longer than `timeout` or returns what cannot be
    appended has failed: `retry` says when the next one is made, `on` for certain exceptions (the most specific class
    decides). When attempts are over the stream is parked, until an operator retries or discards the event.

    `on_replay`: when the group handles what it had finished before, effects and returned events are dropped ("drop"),
    carried out ("emit"), or the handler is not called ("skip"). `start` is where a new group begins: "earliest",
    "latest", a time in RFC 3339, or "-15m". `categories` (the stream's name up to the first hyphen) leaves out other
    streams; `system` lets those in that begin with `$`. `rate` ("20/s", "100/m") bounds the calls of the group; `grace`
    is what running handlers get at shutdown before they are cancelled. Durations are as "200ms" or seconds. Raises
    InvalidConsumer."""
    made = group(
        _name(name),
        retry=retry,
        on=on,
        concurrency=concurrency,
        timeout=timeout,
        on_replay=on_replay,
        start=start,
        categories=categories_of(categories),
        system=system,
        rate=rate,
        middleware=middleware,
        grace=grace,
    )
    return made.also()


def group(
    name: str,
    *,
    retry: Policy = policies.DEFAULT,
    on: Mapping[type[Exception], Policy] | None = None,
    concurrency: int = 16,
    timeout: str | float = "60s",
    on_replay: OnReplay = "drop",
    start: str = "earliest",
    categories: tuple[str, ...] = (),
    system: bool = False,
    rate: str | None = None,
    middleware: Iterable[object] = (),
    grace: str | float = "5s",
) -> "Consumer":
    """A consumer without handlers yet. Its `categories` may have hyphens: all streams that begin so, and go on with
    one."""
    _check_replay(on_replay)
    return Consumer(
        _name(name, reserved=True),
        policies.rules_of(retry, on),
        whole("concurrency", concurrency, 1, MOST_CONCURRENCY),
        duration("timeout", timeout, shortest=0.001),
        on_replay,
        parse_start(start),
        categories,
        flag("system", system),
        None if rate is None else parse_rate(rate),
        checked_middleware(middleware),
        duration("grace", grace),
    )


class Consumer(Struct, frozen=True, eq=False):
    """A group and its handlers, made by `consumer`. Calling it calls the handler of the event that is given, as the
    plain function it is: for unit tests."""

    name: str
    rules: Rules
    concurrency: int
    timeout_seconds: float
    on_replay: OnReplay
    start: Start
    categories: tuple[str, ...]
    system: bool
    rate: Rate | None
    middleware: tuple[object, ...]
    grace_seconds: float
    _handlers: list[Handler] = field(default_factory=list)

    @property
    def handlers(self) -> tuple[Handler, ...]:
        return tuple(self._handlers)

    @property
    def types(self) -> tuple[type[Struct], ...]:
        """The Structs of the events that it takes: what a store must know to read them."""
        return structs_of(self._handlers)

    @property
    def hooks(self) -> Hooks:
        return hooks_of(self.middleware)

    def wants(self, event: RecordedEvent) -> bool:
        """Whether it takes events of this one's stream."""
        is_ours = self.system or not event.stream.startswith("$")
        return is_ours and (not self.categories or in_categories(event.stream, prefixes_of(self.categories)))

    def also(self, *, on_replay: OnReplay | None = None, timeout: str | float | None = None) -> Decorator:
        """Makes a function a further handler of the group, for events that none takes yet; what is not given is as the
        group has it. Gives this consumer back. Raises InvalidConsumer."""
        if on_replay is not None:
            _check_replay(on_replay)
        seconds = self.timeout_seconds if timeout is None else duration("timeout", timeout, shortest=0.001)

        def decorate(function: Callable[..., Any]) -> Consumer:
            return self.add(handler_of(function, seconds, on_replay or self.on_replay))

        return decorate

    def add(self, handler: Handler) -> "Consumer":
        """A further handler. Raises InvalidConsumer if there is one for an event that it takes."""
        refuse_two_for_one([*self._handlers, handler])
        self._handlers.append(handler)
        return self

    def __call__(self, event: Any, /, *args: Any, **kwargs: Any) -> Any:
        """What the handler of this event returns, called with what is given."""
        for handler in self._handlers:
            takes = isinstance(event, tuple(kind.struct for kind in handler.types))
            if takes or (handler.takes_envelope and isinstance(event, RecordedEvent)):
                return handler.function(event, *args, **kwargs)
        raise InvalidRequest(
            f"no handler of {self.name} takes {type(event).__name__}",
            field="event",
            remedy="RecordedEvent, if it is for all types" if not self.types else "an event that it is annotated with",
        )

    def __repr__(self) -> str:
        return f"consumer {self.name} ({', '.join(handler.name for handler in self._handlers)})"


def _name(name: str, *, reserved: bool = False) -> str:
    if callable(name):
        raise InvalidConsumer("the group has no name", field="name", remedy='@consumer("charge-cards")')
    try:
        return group_name(name, reserved=reserved)
    except InvalidRequest as error:
        raise InvalidConsumer(error.detail, field="name", remedy=error.remedy) from error


def _check_replay(on_replay: str) -> None:
    if on_replay not in get_args(OnReplay):
        raise refused("on_replay", on_replay, "", '"drop", "emit" or "skip"')


def categories_of(given: Iterable[str]) -> tuple[str, ...]:
    """As they are given. Raises InvalidConsumer."""
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidConsumer(f"categories is {given!r:.80}", field="categories", remedy='categories=["order"]')
    categories = tuple(given)
    for each in categories:
        if not isinstance(each, str) or not each or "-" in each:
            remedy = "the stream's name up to its first hyphen, without it"
            raise InvalidConsumer(f"the category {each!r:.80} is none", field="categories", remedy=remedy)
    return categories
