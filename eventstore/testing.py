"""Given events, when a command comes, then events follow: a Decider tested without a server.

    given(Deposited(10)).when(account, Withdraw(5)).then(Withdrawn(5))
    given(Deposited(10)).when(account, Withdraw(50)).then_raises(Insufficient, match="10")
    given().when(account, Close()).then_nothing()

Events pass through JSON as they do in a log, so an event that could not be stored or read again fails the test. What
was stored by an older release is given as `Untyped(type, data, schema_version)`, and upcast.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct

from eventstore.arguments import may_be
from eventstore.decide import Decider, as_read, fold_of, must_be_decider
from eventstore.event_types import EventTypes
from eventstore.expectations import checked_events, comparable, listed, must_be_exception, row, side_by_side
from eventstore.fold import Fold

C = TypeVar("C")
S = TypeVar("S")
E = TypeVar("E", bound=Exception)
_STREAM = "given"


def given(*events: Any) -> "Given":
    """The events that a stream has before the command. Raises InvalidRequest for a list of them."""
    return Given(checked_events(events, "given"))


class Given(Struct, frozen=True):
    events: tuple[Any, ...]

    def when(self, decider: Decider[C, S], command: C) -> "When[S]":
        """What the decider makes of a command. An exception of its `decide` waits for `then_raises`; what `evolve`
        raises, or an event that cannot be stored, fails here."""
        __tracebackhide__ = True
        must_be_decider(decider)
        state = self._folded(decider.fold)
        try:
            events = decider.decide(command, copy.deepcopy(state))  # what it changes there is in no event
        except Exception as error:  # noqa: BLE001 - it is what the test asks about
            return When(self.events, state, command, (), error, state)
        after = _fold(decider.fold, copy.deepcopy(state), events, len(self.events) + 1)
        return When(self.events, state, command, events, None, after)

    def then_state(self, fold: Fold[S] | Decider[Any, S], expected: S) -> None:
        """The state after the given events."""
        __tracebackhide__ = True
        state = self._folded(fold_of(fold))
        if state != expected:
            raise AssertionError(
                f"another state was expected\n{row('given', self.events)}\n"
                f"  expected  {expected!r}\n  actual    {state!r}"
            )

    def _folded(self, fold: Fold[S]) -> S:
        return _fold(fold, fold.start(), self.events, 1)


class When(Struct, Generic[S], frozen=True):
    """What a command led to: each `then` checks it, and raises an AssertionError that shows what was expected and what
    came."""

    given: tuple[Any, ...]
    state: S
    command: Any
    events: tuple[Any, ...]
    error: Exception | None
    after: S

    def then(self, *expected: Any) -> None:
        """Exactly these events, in this order. Metadata and id count where a NewEvent is expected."""
        __tracebackhide__ = True
        checked_events(expected, "then")
        self._not_raised(f"these events: {listed(expected)}" if expected else "no event")
        actual = tuple(map(comparable, expected, self.events)) + self.events[len(expected) :]
        if actual != expected:
            raise self._wrong("other events were expected", side_by_side(expected, actual))

    def then_nothing(self) -> None:
        """No event, and no exception."""
        __tracebackhide__ = True
        self.then()

    def then_raises(self, kind: type[E], match: str | None = None) -> E:
        """This exception or one that derives from it, whose text has a place that matches the regular expression.
        Returns it."""
        __tracebackhide__ = True
        must_be_exception(kind)
        may_be(str | re.Pattern, "a regular expression", match=match)
        wanted = kind.__name__ + (f" matching {match!r}" if match else "")
        if self.error is None:
            raise self._wrong(f"{wanted} was expected", f"  actual    {listed(self.events) or 'no event'}")
        if not isinstance(self.error, kind) or (match and not re.search(match, str(self.error))):
            raise self._wrong(f"{wanted} was expected", f"  actual    {self.error!r}") from self.error
        return self.error

    def then_state(self, expected: S) -> None:
        """The state after the events that followed."""
        __tracebackhide__ = True
        self._not_raised(f"the state {expected!r}")
        if self.after != expected:
            raise self._wrong("another state was expected", f"  expected  {expected!r}\n  actual    {self.after!r}")

    def _not_raised(self, wanted: str) -> None:
        __tracebackhide__ = True
        if self.error is not None:
            raise self._wrong(f"expected was {wanted}", f"  raised    {self.error!r}") from self.error

    def _wrong(self, what: str, rows: str) -> AssertionError:
        return AssertionError(
            f"{what}\n{row('given', self.given)}\n  state     {self.state!r}\n  when      {self.command!r}\n{rows}"
        )


def _fold(fold: Fold[S], state: S, events: Sequence[Any], first: int) -> S:
    types = EventTypes()
    fold.know(types)
    for version, event in enumerate(events, first):
        name, data = as_read(types, event)
        state = fold.step(state, data, name, version, _STREAM)
    return state
