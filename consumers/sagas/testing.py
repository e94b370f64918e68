"""Given events, when others come and time passes, then a saga has sent these commands: tested without a server, on a
clock that is turned.

    begun = given().saga(payment).start("42", Payment(total=99))
    begun.when(PaymentTaken("42")).then(commands=[To("shop-42", Ship())], timers={}, status="completed")
    begun.after("15m").then(status="compensated", steps=["reserve succeeded", "reserve compensated"])

A scenario is a value: each method gives a longer one. What it says is played when it is first looked at, from the
beginning and with resources opened anew, so that two which begin alike do not disturb each other. Actions are called,
retried as their policies say (without jitter) when the time comes, and may do in tests what they like: give them fakes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct

from consumers.checks import duration
from consumers.context import To
from consumers.errors import InvalidConsumer
from consumers.loops import run_apart
from consumers.resources import Resource, checked_resources, opened
from consumers.sagas import facts
from consumers.sagas.advance import data_of
from consumers.sagas.facts import Fact
from consumers.sagas.instances import parts_of
from consumers.sagas.saga import Saga
from consumers.sagas.state import STATUSES, State, Status
from consumers.sagas.world import World
from eventstore.arguments import told
from eventstore.errors import InvalidRequest
from eventstore.expectations import checked_events, listed, row, side_by_side
from infrastructure.durations import format_duration


def scenario(events: tuple[Any, ...], stream: str, saga: Saga, resources: Iterable[Resource]) -> "Scenario":
    """Raises InvalidConsumer."""
    if not isinstance(saga, Saga):
        remedy = 'what Saga("payment", data=Payment) has made'
        raise InvalidConsumer(f"{told(saga)} is no saga", field="saga", remedy=remedy)
    return Scenario(saga, checked_resources(resources, saga.actions), (Given(events, stream),))


class Given(Struct, frozen=True):
    """Events come, in this order. Those without a stream of their own go into `stream`."""

    events: tuple[Any, ...]
    stream: str

    async def play(self, world: World) -> None:
        for event in self.events:
            to = event if isinstance(event, To) else To(self.stream, event)
            world.add(to.stream, to.event)
        await world.settle()

    def __str__(self) -> str:
        return f"when {listed(self.events) or 'no events'}"


class Start(Struct, frozen=True):
    id: str
    data: Any

    async def play(self, world: World) -> None:
        await world.start(self.id, self.data)
        await world.settle()

    def __str__(self) -> str:
        return f"start {self.id!r}, {self.data!r}"


class After(Struct, frozen=True):
    seconds: float

    async def play(self, world: World) -> None:
        await world.turn(self.seconds)

    def __str__(self) -> str:
        return f"after {format_duration(self.seconds)}"


Move = Given | Start | After


class Saw(Struct, frozen=True):
    """Of one saga: its facts, and what they come to."""

    facts: tuple[Fact, ...]
    state: State


class Played(Struct, frozen=True):
    """What has come of it. `commands` followed from the last move."""

    commands: tuple[To, ...]
    sagas: Mapping[str, Saw]
    now_us: int


class Scenario:
    """What happens to sagas of one type. `start`, `when` and `after` make it longer, `then` checks it."""

    def __init__(
        self, saga: Saga, resources: tuple[Resource, ...], moves: tuple[Move, ...], of: str | None = None
    ) -> None:
        self._saga, self._resources, self._moves, self._of = saga, resources, moves, of

    # ---- what happens ----

    def start(self, saga_id: str, data: Struct) -> "Scenario":
        """`start(store, saga, saga_id, data)` is called. What that raises, the first look raises."""
        return self._longer(Start(saga_id, data))

    def when(self, *events: Any) -> "Scenario":
        """Events come, and are brought to the sagas that they concern. `To(stream, event)` says where they are, a
        NewEvent has metadata, an Untyped is what an older release stored."""
        given = self._moves[0]
        stream = given.stream if isinstance(given, Given) else "given"
        return self._longer(Given(checked_events(events, "when"), stream))

    def after(self, time: str | float) -> "Scenario":
        """So much time passes ("15m", or seconds). Timers fire when their time comes, the earliest first."""
        return self._longer(After(duration("after", time)))

    def of(self, saga_id: str) -> "Scenario":
        """Looks at this saga, where there are several."""
        return Scenario(self._saga, self._resources, self._moves, saga_id)

    # ---- what follows ----

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All that the saga's stream has. Raises AssertionError if there is no saga, or several and `of` does not say
        which."""
        return self._saw().facts

    def then(
        self,
        commands: Sequence[Any] | None = None,
        timers: Mapping[str, str | float] | None = None,
        state: Struct | None = None,
        *,
        status: Status | None = None,
        steps: Sequence[str] | None = None,
    ) -> None:
        """Checks what is given, and raises an AssertionError that shows what was expected and what came.

        `commands`: exactly these events were sent since the last `start`, `when` or `after`, in this order, each as
        `To(stream, event)`. `timers`: exactly these of the user's own are set, with the time that is left, as in
        {"overdue": "15m"}. `state`: the data. `steps`: what became of steps, in order: "fetch succeeded", "fetch
        retrying" (it has failed, and is tried again), "fetch failed" (for good), "fetch skipped"; of compensations:
        "fetch compensated", "fetch compensation retrying", "... failed", "... skipped". What a reaction or a condition
        raises comes out here."""
        __tracebackhide__ = True
        if status is not None and status not in STATUSES:
            raise InvalidRequest(f"status is {status!r:.80}", field="status", remedy=", ".join(STATUSES))
        if commands is not None:
            self._same("commands", tuple(_checked(commands)), self._played.commands)
        if timers is not None:
            self._equal("timers", {name: _span(time) for name, time in timers.items()}, self._timers())
        if state is not None:
            self._equal("state", state, data_of(self._saga, self._saw().state))
        if status is not None:
            self._equal("status", status, self._saw().state.status)
        if steps is not None:
            self._same("steps", tuple(steps), tuple(_became(self._saw().facts)))

    # ---- what was played ----

    def _longer(self, move: Move) -> "Scenario":
        return Scenario(self._saga, self._resources, (*self._moves, move), self._of)

    @cached_property
    def _played(self) -> Played:
        return run_apart(self._play)

    async def _play(self) -> Played:
        async with opened(self._resources) as values:
            world, before = World(self._saga, values), 0
            for move in self._moves:
                before = len(world.sent)
                await move.play(world)
            sagas = {}
            for stream, events in world.streams.items():
                kind, saga_id = parts_of(stream) or ("", "")
                if kind == self._saga.name:
                    sagas[saga_id] = Saw(tuple(event.data for event in events), await world.state(saga_id))
            return Played(tuple(world.sent[before:]), sagas, world.now_us)

    def _saw(self) -> Saw:
        __tracebackhide__ = True
        sagas = self._played.sagas
        if self._of is None and len(sagas) == 1:
            return next(iter(sagas.values()))
        found = sagas.get(self._of) if self._of is not None else None
        if found is None:
            wanted = "one saga was expected" if self._of is None else f"a saga {self._of!r} was expected"
            there = f"  actual    {', '.join(map(repr, sagas)) or 'none: nothing began one, or was for one'}"
            raise self._wrong(wanted, f"{there}; .of(id) looks at one of them" if len(sagas) > 1 else there)
        return found

    def _timers(self) -> dict[str, str]:
        now_us = self._played.now_us
        pending = self._saw().state.timers
        left = {name: max(timer.due - now_us, 0) for name, timer in pending.items() if not name.startswith("$")}
        return {name: format_duration(us / 1_000_000) for name, us in left.items()}

    def _same(self, what: str, expected: tuple[Any, ...], actual: tuple[Any, ...]) -> None:
        __tracebackhide__ = True
        if actual != expected:
            raise self._wrong(f"other {what} were expected", side_by_side(expected, actual))

    def _equal(self, what: str, expected: object, actual: object) -> None:
        __tracebackhide__ = True
        if actual != expected:
            other = "other" if what[-1] == "s" and what != "status" else "another"
            were = "were" if other == "other" else "was"
            raise self._wrong(f"{other} {what} {were} expected", f"  expected  {expected!r}\n  actual    {actual!r}")

    def _wrong(self, what: str, rows: str) -> AssertionError:
        given = self._moves[0]
        first = row("given", given.events if isinstance(given, Given) else ())
        moves = "".join(f"\n  and       {move}" for move in self._moves[1:])
        return AssertionError(f"{what}\n{first}\n  handled   by {self._saga!r}{moves}\n{rows}")


def _checked(commands: Sequence[Any]) -> Iterator[To]:
    for each in commands:
        if not isinstance(each, To):
            remedy = 'then(commands=[To("shop-42", Ship())])'
            raise InvalidRequest(f"a command is {told(each)}", field="commands", remedy=remedy)
        yield each


def _span(time: str | float) -> str:
    return format_duration(duration("timers", time))


def _became(all_facts: Sequence[Fact]) -> Iterator[str]:
    for fact in all_facts:
        match fact:
            case facts.StepSucceeded(step=step):
                yield f"{step} succeeded"
            case facts.StepFailed(step=step, retry_at=retry_at):
                yield f"{step} {'failed' if retry_at is None else 'retrying'}"
            case facts.StepSkipped(step=step):
                yield f"{step} skipped"
            case facts.CompensationDone(step=step):
                yield f"{step} compensated"
            case facts.CompensationFailed(step=step, retry_at=retry_at):
                yield f"{step} compensation {'failed' if retry_at is None else 'retrying'}"
            case facts.CompensationSkipped(step=step):
                yield f"{step} compensation skipped"
