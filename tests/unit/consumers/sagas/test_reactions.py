"""What reactions return, and what becomes of it: pure, told as words."""

from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Struct

from consumers.context import To
from consumers.sagas import facts
from consumers.sagas.reactions import CancelTimer, Compensate, Complete, Timer, Undo, on
from consumers.sagas.saga import Saga
from consumers.sagas.steps import step
from eventstore.errors import InvalidEvent, InvalidRequest
from tests.support.payments import Ordered, Paid, Payment, Release, Reserve, by_order, payment
from tests.support.stories import SECOND, Story


class Asked(Struct, frozen=True):
    order: str = "1"


async def act(data: Payment) -> None: ...


def reacting(*returned: Any) -> Saga:
    """A saga that returns this whenever it is asked, and when its timer fires."""

    @on(Asked, correlate=lambda event: str(event.order))
    def asked(data: Payment, event: Asked) -> Any:
        return list(returned)

    @on(Timer("t"))
    def fired(data: Payment) -> Any:
        return list(returned)

    return Saga("story", data=Payment, reactions=[asked, fired])


def asked(saga: Saga) -> list[str]:
    story = Story(saga, Payment("1"))
    return story.put(story.event(Asked()))


def test_what_a_reaction_returns_follows_from_the_event_in_its_order() -> None:
    saga = reacting(Payment("1", 5), To("a", Reserve("1")), Undo("b", Release("1")), Timer("t", after="1m"))
    story = Story(saga, Payment("1"))
    event = story.event(Asked())
    assert story.put(event) == [f"reacted {event.cause}", "sent a", "undo_noted b", "timer_set t"]
    assert story.data["total"] == 5
    assert story.state.timers["t"].due == story.at + 60 * SECOND


def test_only_what_differs_is_recorded_and_none_changes_nothing() -> None:
    story = Story(reacting(Payment("1", tags=("x",))), Payment("1", tags=("x",)))
    story.put(story.event(Asked()))
    assert [fact.changes for fact in story.facts if isinstance(fact, facts.Reacted)] == [{}]
    assert asked(reacting()) == ["reacted e1"]

    @on(Asked, correlate=lambda event: "1")
    def nothing(data: Payment, event: Asked) -> None: ...

    assert asked(Saga("story", data=Payment, reactions=[nothing])) == ["reacted e1"]


def test_a_timer_that_is_set_anew_takes_the_place_of_the_first() -> None:
    story = Story(reacting(Timer("t", after=60)), Payment("1"))
    story.put(story.event(Asked()))
    first = story.state.timers["t"]
    assert story.put(story.event(Asked()), after=30) == ["reacted e2", "timer_cancelled t", "timer_set t"]
    assert story.put(facts.TimerFired("t", first.set_at), after=30) == [
        f"ignored t@{first.set_at}: the timer was cancelled"
    ]
    assert story.state.timers["t"].due == first.due + 30 * SECOND


def test_what_is_said_last_of_a_timer_counts() -> None:
    assert asked(reacting(Timer("t", after=60), Timer("u", after=1), Timer("t", after=90))) == [
        "reacted e1",
        "timer_set u",
        "timer_set t",
    ]
    assert asked(reacting(Timer("t", after=60), CancelTimer("t"))) == ["reacted e1"]
    assert asked(reacting(CancelTimer("t"), Timer("t", after=60))) == ["reacted e1", "timer_set t"]


def test_a_timer_that_fires_is_reacted_to_once() -> None:
    story = Story(reacting(Timer("t", after=60)), Payment("1"))
    story.put(story.event(Asked()))
    fired = story.fires("t")
    assert story.put(fired, after=60) == ["reacted t@4", "timer_set t"]
    assert story.put(fired) == ["ignored t@4: the timer was cancelled"]


def test_complete_ends_a_saga_and_its_timers() -> None:
    story = Story(reacting(Timer("t", after=60), Complete()), Payment("1"))
    assert story.put(story.event(Asked())) == ["reacted e1", "timer_set t", "completed", "timer_cancelled t"]
    assert story.put(story.event(Asked())) == ["ignored e2: the saga is completed"]


def test_complete_counts_while_a_step_is_under_way() -> None:
    saga = reacting(Complete()).step("a", act)
    story = Story(saga, Payment("1"))
    assert story.put(story.event(Asked())) == ["reacted e1", "completed"]
    assert story.put(story.done("a")) == []


def test_compensate_takes_back_what_was_sent_and_done_the_last_one_first() -> None:
    saga = reacting(Undo("x", Release("1"))).step("a", act, compensate=act).step("b", act)
    story = Story(saga, Payment("1"))
    story.put(story.event(Asked()))
    story.put(story.done("a"))
    story.put(story.event(Asked()))
    back = Story(reacting(Compensate("enough")).step("a", act, compensate=act).step("b", act))
    back.state, back.at = story.state, story.at
    assert back.put(story.event(Asked())) == ["reacted e3", "compensating: enough"]
    assert back.put(back.failed("b")) == ["sent x", "compensation_started a"]
    assert back.put(back.undone("a")) == ["sent x", "compensated: enough"]


def test_compensate_beyond_the_pivot_changes_nothing() -> None:
    saga = reacting(Compensate("enough")).step("p", act, kind="pivot").step("r", act, kind="retriable")
    story = Story(saga, Payment("1"))
    story.put(story.done("p"))
    assert story.put(story.event(Asked())) == ["reacted e1", "compensating: enough", "forward: its pivot succeeded"]
    assert story.put(story.event(Asked()))[0] == "reacted e2"
    assert story.put(story.done("r")) == ["completed"]


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([7], "asked returned a int"),
        (["text"], "asked returned a str"),
        ([Reserve("1")], "asked returned a Reserve"),
        ([Timer("t")], "timer t has no time"),
        ([Complete(), Compensate("why")], "more than one of Complete and Compensate"),
        ([To("a", 7)], "is not an event"),
    ],
)
def test_what_a_reaction_may_not_return_is_refused_with_its_name(returned: list[Any], message: str) -> None:
    with pytest.raises(InvalidEvent, match=message) as refused:
        asked(reacting(*returned))
    assert refused.value.remedy


def test_an_event_for_a_system_stream_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="system stream"):
        asked(reacting(To("$audit", Reserve("1"))))


def test_an_event_begins_a_saga_and_those_before_it_are_decided_then() -> None:
    story = Story(payment)
    early, first, again = story.event(Paid("1")), story.event(Ordered("1", 7)), story.event(Ordered("1", 8))
    assert story.put(early) == []
    assert story.put(first) == [
        *["started", "reacted e2", "sent stock-1", "undo_noted stock-1", "timer_set overdue"],
        *["reacted e1", "timer_cancelled overdue", "sent shop-1", "completed"],
    ]
    assert story.data["total"] == 7
    assert story.put(again) == ["ignored e3: the saga is completed"]
    story = Story(payment)
    story.put(story.event(Ordered("1", 7)))
    assert story.put(story.event(Ordered("1", 8))) == ["ignored e2: the saga has started"]


@pytest.mark.parametrize("begins", [lambda data, event: None, lambda data, event: To("a", Reserve("1"))])
def test_a_reaction_that_begins_a_saga_returns_its_first_data(begins: Callable[..., Any]) -> None:
    saga = Saga("story", data=Payment, reactions=[on(Ordered, correlate=by_order, starts=True)(begins)])
    story = Story(saga)
    with pytest.raises(InvalidEvent, match="begins a saga and returned no Payment"):
        story.put(story.event(Ordered("1")))


def test_both_styles_mix() -> None:
    @on(Ordered, correlate=by_order, starts=True)
    def begins(data: None, event: Ordered) -> Payment:
        return Payment(event.order)

    saga = Saga("story", data=Payment, reactions=[begins]).parallel(step("a", act), step("b", act))
    story = Story(saga)
    assert story.put(story.event(Ordered("1"))) == ["started", "reacted e1", "step_started a", "step_started b"]
