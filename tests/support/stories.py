"""A saga whose inputs a test writes down, one after the other; what is decided comes back as words. And definitions."""

from collections.abc import Mapping
from typing import Any, get_args

from msgspec import Struct, to_builtins
from msgspec.structs import replace

from consumers.sagas import facts
from consumers.sagas.actions import as_builtins
from consumers.sagas.advance import advance, due_of
from consumers.sagas.facts import Early, EventReceived, Fact, Reason
from consumers.sagas.saga import Saga
from consumers.sagas.state import State
from eventstore.event_types import EventTypes

SECOND = 1_000_000
START_US = 1_000 * SECOND
NO = Reason("OSError", "no")


class Story:
    """Of one saga. Each input returns what follows from it: "step_started fetch", "ignored abort: it is past its
    pivot"."""

    def __init__(self, saga: Saga, data: Struct | None = None) -> None:
        self.saga, self.state = saga, State("saga-story-1")
        self.types = EventTypes([*get_args(Fact), *(each.struct for each in saga.events)])
        self.at, self.events = START_US, 0
        self.facts: list[Fact] = []
        self.begun = (
            [] if data is None else self.put(facts.Started(saga.version, as_builtins(data), due_of(saga, self.at)))
        )

    def put(self, *inputs: Fact, after: float = 0) -> list[str]:
        """`after` so many seconds; they are recorded together."""
        self.fold(*inputs, after=after)
        made = advance(self.saga, self.state, self.at, self.types)
        self.facts += made
        return [words(fact) for fact in made]

    def fold(self, *inputs: Fact, after: float = 0) -> None:
        """Recorded, and not decided yet."""
        self.at += round(after * SECOND)
        for fact in inputs:
            self.state.fold(fact, self.at)
        self.facts += inputs

    # ---- inputs ----

    def event(self, event: Struct) -> EventReceived:
        self.events += 1
        name = type(event).__name__
        return EventReceived(f"e{self.events}", name, "orders", self.events, Early(1, to_builtins(event)))

    def done(self, step: str, attempt: int = 1, **changes: Any) -> Fact:
        found = self.saga.find(step)
        return facts.StepSucceeded(step, attempt, changes, 0.1, found is not None and found.undo is not None)

    def failed(self, step: str, attempt: int = 1, retry_in: float | None = None) -> Fact:
        return facts.StepFailed(step, attempt, NO, 0.1, self._retry_at(retry_in))

    def undone(self, step: str, attempt: int = 1) -> Fact:
        return facts.CompensationDone(step, attempt, 0.1)

    def undo_failed(self, step: str, attempt: int = 1, retry_in: float | None = None) -> Fact:
        return facts.CompensationFailed(step, attempt, NO, 0.1, self._retry_at(retry_in))

    def fires(self, timer: str, set_at: int | None = None) -> Fact:
        return facts.TimerFired(timer, self.state.timers[timer].set_at if set_at is None else set_at)

    def _retry_at(self, seconds: float | None) -> int | None:
        return None if seconds is None else self.at + round(seconds * SECOND)

    @property
    def data(self) -> Mapping[str, Any]:
        return self.state.data


RETRY, ABORT = facts.RetryRequested("ada"), facts.AbortRequested("ada")


def skip(step: str) -> Fact:
    return facts.SkipRequested(step, "ada")


def words(fact: Fact) -> str:
    kind = type(fact)
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in kind.__name__).removeprefix("_")
    match fact:
        case facts.Ignored(what=what, why=why):
            return f"{name} {what}: {why}"
        case facts.Compensating(why=why) | facts.Compensated(why=why) | facts.Stuck(why=why) | facts.Forward(why=why):
            return f"{name}: {why}"
        case facts.StepStarted(step=step, attempt=attempt) | facts.CompensationStarted(step=step, attempt=attempt):
            return f"{name} {step}" + (f" {attempt}" if attempt > 1 else "")
    of = next((getattr(fact, each) for each in ("step", "name", "stream", "cause", "to") if hasattr(fact, each)), "")
    return f"{name} {of}".strip()


# ---- definitions ----


class Data(Struct, frozen=True):
    n: int = 0
    is_big: bool = False


class Answer(Struct, frozen=True):
    n: int = 1


class Other(Struct, frozen=True):
    n: int = 1


async def act(data: Data) -> None: ...


def one(event: Answer | Other) -> str:
    return "1"


def add(data: Data, event: Answer) -> Data:
    return replace(data, n=data.n + event.n)


plain = Saga("story", data=Data)
three = plain.step("a", act, compensate=act).step("b", act, compensate=act).step("c", act)
pivoted = plain.step("a", act, compensate=act).step("p", act, kind="pivot").step("r", act, kind="retriable")
waiting = plain.step("a", act, compensate=act).wait("w", Answer, correlate=one, then=add, timeout="1h").step("c", act)


def told(saga: Saga) -> Story:
    return Story(saga, Data())
