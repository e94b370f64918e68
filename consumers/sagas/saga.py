"""Saga: what a process does, as a value that a module defines. Two ways to write one, which mix:

    ingestion = (
        Saga("ingestion", data=Ingestion, deadline="1h")
        .step("fetch", fetch, compensate=forget, retry=Exponential(attempts=5), timeout="30s")
        .parallel(step("store", store, compensate=remove), step("index", index))
        .wait("approved", Approved, correlate=lambda event: event.source, timeout="2d")
    )

    payment = Saga("payment", data=Payment, reactions=[placed, paid, overdue])      # see reactions.py

Steps are actions: they may do anything, at least once. Reactions are pure: they say what follows, and are never called
again for what is recorded. Nothing here does anything.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from consumers import retry as policies
from consumers.checks import duration, whole
from consumers.consumer import MOST_CONCURRENCY
from consumers.errors import InvalidConsumer
from consumers.handlers import Handler
from consumers.retry import Policy
from consumers.sagas.actions import action_of
from consumers.sagas.reactions import Correlate, Reaction, Wait, wait_for
from consumers.sagas.steps import KINDS, Kind, Step, function_of, plain, step, waiting
from eventstore.event_types import EventType

Migration = Callable[[dict[str, Any]], Any]


class Saga(Struct, frozen=True, eq=False):
    """A type of saga, for `run(store, [saga])` and `start(store, saga, id, data)`. Its methods give a longer one back.

    `data` is the Struct that is passed between steps. `version` is kept by each saga that is started: it finishes on
    the definition it began with, one of `earlier`, or is carried over by a migration. At its `deadline` a saga goes
    back, unless it is past its pivot. Up to `concurrency` sagas are under way at once in each worker. Raises
    InvalidConsumer."""

    name: str
    data: type[Struct]
    version: int = 1
    deadline: str | float | None = None
    concurrency: int = 64
    reactions: Sequence[Reaction] = ()
    earlier: Sequence["Saga"] = ()
    stages: tuple[tuple[Step, ...], ...] = ()
    migrations: Mapping[int, Migration] = {}

    def __post_init__(self) -> None:
        plain("saga", self.name)
        if "-" in self.name:
            remedy = "letters, digits, _ and . (the first hyphen ends the type in the names of its streams)"
            raise InvalidConsumer(f"the saga's name {self.name!r} has a hyphen", field="saga", remedy=remedy)
        is_struct = isinstance(self.data, type) and issubclass(self.data, Struct)
        if not is_struct or self.data.__struct_config__.array_like:
            raise InvalidConsumer("data is no Struct", field="data", remedy="class Ingestion(Struct): source: str")
        whole("version", self.version, 1, 65_535)
        whole("concurrency", self.concurrency, 1, MOST_CONCURRENCY)
        _ = self.deadline_seconds
        _check_steps(self)
        _check_reactions(self)
        _check_versions(self)

    def step(
        self,
        name: str,
        action: Callable[..., Any],
        *,
        compensate: Callable[..., Any] | None = None,
        retry: Policy = policies.DEFAULT,
        on: Mapping[type[Exception], Policy] | None = None,
        retry_compensation: Policy = policies.DEFAULT,
        timeout: str | float = "60s",
        when: Callable[[Any], bool] | None = None,
        kind: Kind = "compensatable",
    ) -> "Saga":
        """Then calls `action(data, ...)`, which returns the data as they are then, or None if it changes nothing.
        Further parameters are a StepContext and resources, by their annotations; functions that are not async run in
        threads. An attempt that raises or takes longer than `timeout` has failed: `retry` says when the next one is
        made, `on` for certain exceptions. After the last one the saga goes back: what has succeeded is compensated in
        reverse order, by `compensate(data, ...)`, itself retried as `retry_compensation` says; if that gives up, the
        saga is stuck. Actions and compensations are called at least once, with the same idempotency key each time.

        `when(data)`, a pure function, says whether the step is done at all. `kind`: "compensatable"; "pivot", after
        which nothing goes back; "retriable" steps stand behind it, and if one gives up the saga is stuck."""
        made = step(
            name,
            action,
            compensate=compensate,
            retry=retry,
            on=on,
            retry_compensation=retry_compensation,
            timeout=timeout,
            when=when,
            kind=kind,
        )
        return self.parallel(made)

    def parallel(self, *steps: Step) -> "Saga":
        """Then does these steps at once, and goes on when all have ended. Each changes fields of its own."""
        if not steps or not all(isinstance(each, Step) for each in steps):
            remedy = 'parallel(step("store", store), step("index", index))'
            raise InvalidConsumer("parallel() takes steps", field="steps", remedy=remedy)
        return replace(self, stages=(*self.stages, tuple(self._bound(each) for each in steps)))

    def wait(
        self,
        name: str,
        event: type[Struct],
        *,
        correlate: Correlate,
        then: Callable[[Any, Any], Any] | None = None,
        timeout: str | float | None = None,
        when: Callable[[Any], bool] | None = None,
    ) -> "Saga":
        """Then waits for an event that `correlate` ties to the saga's id; one that came before counts. `then(data,
        event)`, a pure function, returns the data after it. At its `timeout` the step has failed."""
        return self.parallel(waiting(name, wait_for(event, correlate, then), timeout, when))

    def migrate(self, version: int, change: Migration) -> "Saga":
        """Sagas of an earlier `version` go on under this definition, with the data that `change(data)` makes of theirs,
        a plain dict. Steps that are done stay so, by their names."""
        whole("version", version, 1, max(self.version - 1, 1))
        return replace(self, migrations={**self.migrations, version: function_of("migrate", change)})

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(each for stage in self.stages for each in stage)

    @property
    def waits(self) -> tuple[Wait, ...]:
        return tuple(each.wait for each in self.steps if each.wait is not None)

    @property
    def takers(self) -> list[Reaction | Wait]:
        """What takes an event or a timer."""
        return [*self.reactions, *self.waits]

    @property
    def versions(self) -> tuple["Saga", ...]:
        return (self, *self.earlier)

    @property
    def actions(self) -> tuple[Handler, ...]:
        """All that it may call, with the resources that they want; those of earlier versions too."""
        steps = [each for saga in self.versions for each in saga.steps]
        return tuple(called for each in steps for called in (each.action, each.undo) if called is not None)

    @property
    def events(self) -> tuple[EventType, ...]:
        """The events that are brought to it, those of earlier versions too."""
        taken = [each.event for saga in self.versions for each in saga.takers]
        return tuple({event.name: event for event in taken if event is not None}.values())

    @property
    def deadline_seconds(self) -> float | None:
        return None if self.deadline is None else duration("deadline", self.deadline, shortest=0.001)

    def find(self, name: str) -> Step | None:
        return next((each for each in self.steps if each.name == name), None)

    def reaction(self, key: str) -> Reaction | None:
        """To an event of this type, or to `timer NAME`."""
        return next((each for each in self.reactions if each.key == key), None)

    def of_version(self, version: int) -> "Saga | None":
        """The definition that sagas of this version follow; this one, if they are to be migrated."""
        known = next((each for each in self.versions if each.version == version), None)
        return known or (self if version in self.migrations else None)

    def _bound(self, given: Step) -> Step:
        seconds = given.timeout_seconds or 0.0
        return replace(
            given,
            action=given.function and action_of(given.function, self.data, seconds),
            undo=given.compensate and action_of(given.compensate, self.data, seconds),
        )

    def __repr__(self) -> str:
        return f"saga {self.name} version {self.version}"


def _check_steps(saga: Saga) -> None:
    """Names of their own; what can go back, the pivot, what only goes forward: in this order."""
    names = [each.name for each in saga.steps]
    for name in names:
        if names.count(name) > 1:
            raise InvalidConsumer(f"two steps are called {name}", field="step", remedy="a name of its own for each")
    stages = [[KINDS.index(each.kind) for each in stage] for stage in saga.stages]
    flat = [kind for stage in stages for kind in stage]
    if flat != sorted(flat) or flat.count(1) > 1 or any(len({*stage}) > 1 for stage in stages):
        raise InvalidConsumer(
            f"the kinds of the steps of {saga.name} are out of order",
            field="kind",
            remedy="compensatable steps first, then at most one pivot, then retriable ones; one kind in each parallel",
        )


def _check_reactions(saga: Saga) -> None:
    for each in saga.reactions:
        if not isinstance(each, Reaction):
            remedy = "functions decorated with @on(Event, correlate=...) or @on(Timer(name))"
            raise InvalidConsumer(f"{each!r:.80} is no reaction", field="reactions", remedy=remedy)
    keys = [each.key for each in saga.reactions]
    for key in keys:
        if keys.count(key) > 1 or any(wait.event.name == key for wait in saga.waits):
            raise InvalidConsumer(f"two things of {saga.name} take {key}", field="reactions", remedy="one for each")


def _check_versions(saga: Saga) -> None:
    for each in saga.earlier:
        if not isinstance(each, Saga) or each.name != saga.name or each.version >= saga.version or each.earlier:
            remedy = f"definitions of {saga.name} of lower versions, which have no earlier ones themselves"
            raise InvalidConsumer("earlier has what is no earlier version", field="earlier", remedy=remedy)


def ids_for(saga: Saga, event_type: str) -> Iterable[Correlate]:
    """What ties events of a type to sagas of this type: of each version that takes them."""
    for version in saga.versions:
        for each in version.takers:
            if each.event is not None and each.event.name == event_type and each.correlate is not None:
                yield each.correlate
