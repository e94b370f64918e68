"""given, saga, when, then: sagas tested without a server, and what is said when something else comes than expected."""

import pytest

from consumers.context import To
from consumers.errors import InvalidConsumer
from consumers.resources import Resource
from consumers.retry import Fixed, Immediate
from consumers.sagas.errors import SagaConflict
from consumers.sagas.facts import Completed, Started
from consumers.sagas.reactions import on
from consumers.sagas.saga import Saga
from consumers.testing import given
from eventstore.envelope import Metadata, NewEvent, Untyped
from eventstore.errors import InvalidRequest
from tests.support.payments import (
    Desk,
    Ordered,
    Paid,
    Payment,
    Release,
    Reserve,
    Ship,
    act,
    by_order,
    pay,
    payment,
)

DESK = (Resource(Desk, Desk),)  # a new one each time a scenario is played
begun = given(Ordered("42")).saga(payment)


def test_events_lead_to_commands_timers_and_state() -> None:
    begun.then([To("stock-42", Reserve("42"))], {"overdue": "15m"}, Payment("42", 99), status="running")
    begun.when(Paid("42")).then(
        commands=[To("shop-42", Ship("42"))], timers={}, state=Payment("42", 99, paid=True), status="completed"
    )


def test_time_passes_as_the_test_says() -> None:
    begun.after("14m").then(commands=[], timers={"overdue": "1m"}, status="running")
    late = begun.after("10m").after("5m")
    late.then(commands=[To("stock-42", Release("42"))], timers={}, status="compensated")
    late.when(Paid("42")).then(commands=[], state=Payment("42", 99), status="compensated")


def test_only_what_follows_from_the_last_move_counts_as_commands() -> None:
    begun.when(Paid("42")).after(1).then(commands=[])


def test_steps_are_done_with_the_resources_of_the_test() -> None:
    saga = Saga("payment", data=Payment).step("pay", pay).step("ship", act, compensate=act, retry=Immediate(2))
    desk = Desk(ship=1)
    done = given().saga(saga, resources=[Resource(Desk, desk)]).start("42", Payment("42"))
    done.then(
        [To("shop-42", Ship("42"))],
        state=Payment("42", paid=True),
        status="completed",
        steps=["pay succeeded", "ship retrying", "ship succeeded"],
    )
    assert desk.done == ["pay 1", "ship 1", "ship 2"]
    assert isinstance(done.facts[0], Started)
    assert isinstance(done.facts[-1], Completed)


def test_steps_and_compensations_are_retried_when_their_time_comes() -> None:
    saga = (
        Saga("payment", data=Payment)
        .step("pay", act, compensate=act, retry_compensation=Fixed("1h", attempts=2, immediate=1))
        .step("ship", act, retry=Fixed("10m", attempts=2, immediate=1))
        .step("tell", act, when=lambda data: data.paid)
    )
    desk = Resource(Desk, lambda: Desk(ship=2, undo_pay=1))
    tried = given().saga(saga, resources=[desk]).start("42", Payment("42"))
    tried.then(status="running", steps=["pay succeeded", "ship retrying"], timers={})
    gone = tried.after("10m")
    gone.then(
        status="compensating", steps=["pay succeeded", "ship retrying", "ship failed", "pay compensation retrying"]
    )
    gone.after("1h").then(status="compensated")
    given().saga(saga, resources=DESK).start("42", Payment("42")).then(
        steps=["pay succeeded", "ship succeeded", "tell skipped"]
    )


def test_a_scenario_is_played_from_the_beginning_and_once() -> None:
    desks: list[Desk] = []

    def desk() -> Desk:
        desks.append(Desk())
        return desks[-1]

    saga = Saga("payment", data=Payment).step("pay", act)
    first = given().saga(saga, resources=[Resource(Desk, desk)]).start("42", Payment("42"))
    assert desks == []
    first.then(status="completed")
    first.then(steps=["pay succeeded"])
    first.after("1s").then(status="completed")
    assert [each.done for each in desks] == [["pay 1"], ["pay 1"]]


@pytest.mark.anyio
async def test_it_may_be_used_where_a_loop_runs() -> None:
    begun.when(Paid("42")).then(status="completed")


def test_events_have_streams_metadata_and_old_forms_of_their_own() -> None:
    events = (
        To("orders-1", NewEvent(data=Ordered("1"), metadata=Metadata(actor="ada"))),
        Untyped("Paid", {"order": "1"}),
    )
    given(*events).saga(payment).then(status="completed")
    assert given(stream="here").saga(payment).when(Ordered("1")).facts[0].stream == "here"  # type: ignore[union-attr]


def test_an_event_that_comes_first_is_not_lost() -> None:
    given(Paid("42")).saga(payment).then(status="unstarted")
    given(Paid("42")).saga(payment).when(Ordered("42")).then(status="completed")


def test_several_sagas_are_looked_at_one_by_one() -> None:
    both = given(Ordered("1"), Ordered("2")).saga(payment).when(Paid("2"))
    both.of("1").then(status="running")
    both.of("2").then(status="completed")
    both.then(commands=[To("shop-2", Ship("2"))])
    with pytest.raises(AssertionError, match=r"one saga was expected(.|\n)*actual    '1', '2'; .of\(id\) looks"):
        both.then(status="running")
    with pytest.raises(AssertionError, match="a saga '3' was expected"):
        both.of("3").then(status="running")
    with pytest.raises(AssertionError, match="none: nothing began one"):
        _ = given().saga(payment).facts


def test_other_commands_are_shown_side_by_side_with_all_that_happened() -> None:
    with pytest.raises(AssertionError) as told:
        begun.when(Paid("42")).after("1m").when(Ordered("7")).then(
            commands=[To("stock-8", Reserve("7")), To("a", Ship("1"))]
        )
    assert str(told.value) == "\n".join(
        [
            "other commands were expected",
            "  given     Ordered(order='42', total=99)",
            "  handled   by saga payment version 1",
            "  and       when Paid(order='42')",
            "  and       after 1m",
            "  and       when Ordered(order='7', total=99)",
            "  1. expected     To(stream='stock-8', event=Reserve(order='7'))",
            "     actual       To(stream='stock-7', event=Reserve(order='7'))",
            "                  stream: 'stock-8' expected, 'stock-7' came",
            "  2. expected     To(stream='a', event=Ship(order='1'))",
            "     actual       nothing more",
        ]
    )


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"timers": {"overdue": "16m"}}, "other timers were expected(.|\n)*'16m'(.|\n)*actual    {'overdue': '15m'}"),
        ({"timers": {}}, "other timers were expected"),
        ({"state": Payment("42", 98)}, "another state was expected(.|\n)*total=98(.|\n)*actual    Payment.*total=99"),
        ({"status": "completed"}, "another status was expected(.|\n)*'completed'(.|\n)*actual    'running'"),
        ({"steps": ["pay"]}, "other steps were expected(.|\n)*1. expected     'pay'(.|\n)*actual       nothing more"),
        ({"commands": []}, "other commands were expected"),
    ],
)
def test_whatever_else_differs_is_shown(expected: dict[str, object], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        begun.then(**expected)  # type: ignore[arg-type]


def test_what_a_reaction_raises_comes_out() -> None:
    @on(Ordered, correlate=by_order, starts=True)
    def broken(data: None, event: Ordered) -> None:
        raise ZeroDivisionError(event.order)

    with pytest.raises(ZeroDivisionError, match="42"):
        given(Ordered("42")).saga(Saga("broken", data=Payment, reactions=[broken])).then(status="running")


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(InvalidConsumer, match="is no saga"):
        given().saga("payment")  # type: ignore[arg-type]
    with pytest.raises(InvalidConsumer, match="wants a resource of Desk"):
        given().saga(Saga("payment", data=Payment).step("pay", act))
    with pytest.raises(InvalidRequest, match=r"an event of when\(...\)"):
        begun.when("Paid")
    with pytest.raises(InvalidConsumer, match="after"):
        begun.after("soon")
    with pytest.raises(InvalidRequest, match="a command is"):
        begun.then(commands=[Ship("42")])
    with pytest.raises(InvalidRequest, match="status"):
        begun.then(status="done")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="saga payment has Payment"):
        given().saga(payment).start("42", Ordered("42")).then(status="running")


def test_a_start_of_the_same_id_with_other_data_is_a_conflict() -> None:
    once = given().saga(payment).start("42", Payment("42", tags=("a",)))
    once.start("42", Payment("42", tags=("a",))).then(status="running")
    with pytest.raises(SagaConflict):
        once.start("42", Payment("43")).then(status="running")
