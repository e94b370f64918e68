"""What is no saga is refused where it is defined: the message says what to give instead."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from consumers.errors import InvalidConsumer
from consumers.retry import Immediate
from consumers.sagas.context import StepContext
from consumers.sagas.reactions import Compensate, Timer, ids_of, on
from consumers.sagas.saga import Saga, ids_for
from consumers.sagas.steps import step
from eventstore.errors import InvalidEvent, InvalidRequest
from tests.support.payments import Ordered, Paid, Payment, by_order, ordered, overdue, paid

plain = Saga("payment", data=Payment)


async def act(data: Payment) -> None: ...


async def other(data: int) -> None: ...


async def nothing() -> None: ...


class Tuples(Struct, array_like=True):
    a: int = 0


def _reaction(data: Payment, event: Paid) -> None: ...


async def _async_reaction(data: Payment, event: Paid) -> None: ...


REFUSED: list[tuple[str, str, Callable[[], object]]] = [
    ("saga", "hyphen", lambda: Saga("pay-ment", data=Payment)),
    ("saga", "letters, digits", lambda: Saga("pay ment", data=Payment)),
    ("data", "class Ingestion", lambda: Saga("payment", data=dict)),  # type: ignore[arg-type]
    ("data", "class Ingestion", lambda: Saga("payment", data=Tuples)),
    ("version", "1 to 65,535", lambda: Saga("payment", data=Payment, version=0)),
    ("concurrency", "whole number", lambda: Saga("payment", data=Payment, concurrency=0)),
    ("deadline", "such as", lambda: Saga("payment", data=Payment, deadline="soon")),
    ("deadline", "at least", lambda: Saga("payment", data=Payment, deadline=0)),
    ("reactions", "decorated with @on", lambda: Saga("payment", data=Payment, reactions=[_reaction])),  # type: ignore[list-item]
    ("reactions", "one for each", lambda: Saga("payment", data=Payment, reactions=[paid, paid])),
    (
        "reactions",
        "one for each",
        lambda: Saga("payment", data=Payment, reactions=[paid]).wait("w", Paid, correlate=by_order),
    ),
    ("earlier", "lower versions", lambda: Saga("payment", data=Payment, earlier=[plain])),
    (
        "earlier",
        "lower versions",
        lambda: Saga("payment", data=Payment, version=2, earlier=[Saga("other", data=Payment)]),
    ),
    ("version", "1 to 1", lambda: Saga("payment", data=Payment, version=2).migrate(2, dict)),
    ("migrate", "function", lambda: Saga("payment", data=Payment, version=2).migrate(1, "dict")),  # type: ignore[arg-type]
    ("step", "letters, digits", lambda: plain.step("a b", act)),
    ("step", "a name of its own", lambda: plain.step("a", act).step("a", act)),
    ("steps", "parallel(step(", plain.parallel),
    ("steps", "parallel(step(", lambda: plain.parallel(act)),  # type: ignore[arg-type]
    ("action", "function", lambda: step("a", "act")),  # type: ignore[arg-type]
    ("compensate", "function", lambda: step("a", act, compensate="act")),  # type: ignore[arg-type]
    ("compensate", "leave it out", lambda: step("a", act, compensate=act, kind="pivot")),
    ("compensate", "leave it out", lambda: step("a", act, compensate=act, kind="retriable")),
    ("kind", "pivot", lambda: step("a", act, kind="final")),  # type: ignore[arg-type]
    ("retry", "Immediate", lambda: step("a", act, retry=3)),  # type: ignore[arg-type]
    ("on", "CardDeclined", lambda: step("a", act, on=[OSError])),  # type: ignore[arg-type]
    ("timeout", "such as", lambda: step("a", act, timeout="long")),
    ("timeout", "at least", lambda: step("a", act, timeout=0)),
    ("when", "function", lambda: step("a", act, when=True)),  # type: ignore[arg-type]
    ("other(data)", "annotate it with Payment", lambda: plain.step("a", other)),
    ("nothing", "annotate it with Payment", lambda: plain.step("a", nothing)),
    ("<lambda>(data)", "annotate it with Payment", lambda: plain.step("a", lambda data: None)),
    ("kind", "compensatable steps first", lambda: plain.step("a", act, kind="retriable").step("b", act)),
    ("kind", "at most one pivot", lambda: plain.step("a", act, kind="pivot").step("b", act, kind="pivot")),
    ("kind", "one kind in each", lambda: plain.parallel(step("a", act), step("b", act, kind="pivot"))),
    ("kind", "one kind in each", lambda: plain.parallel(step("a", act), step("b", act, kind="retriable"))),
    ("kind", "first", lambda: plain.step("a", act, kind="pivot").wait("w", Paid, correlate=by_order)),
    ("correlate", "correlate=lambda", lambda: plain.wait("w", Paid, correlate=None)),  # type: ignore[arg-type]
    ("wait", "", lambda: plain.wait("w", dict, correlate=by_order)),  # type: ignore[arg-type]
    ("correlate", "correlate=lambda", lambda: on(Paid)(_reaction)),
    ("_async_reaction", "without async", lambda: on(Paid, correlate=by_order)(_async_reaction)),
    ("name", 'Timer("overdue")', lambda: Timer("$wait.a")),
    ("name", 'Timer("overdue")', lambda: Timer("")),
    ("at", "one of them", lambda: Timer("t", after=1, at=datetime.now().astimezone())),
    ("at", "time zone", lambda: Timer("t", at=datetime(2030, 1, 1))),
    ("after", "such as", lambda: Timer("t", after="soon")),
]


@pytest.mark.parametrize(
    ("field", "remedy", "define"), REFUSED, ids=[f"{n} {each[0]}" for n, each in enumerate(REFUSED)]
)
def test_a_definition_that_cannot_work_is_refused_with_its_field_and_a_remedy(
    field: str, remedy: str, define: Callable[[], object]
) -> None:
    with pytest.raises(InvalidConsumer) as refused:
        define()
    assert refused.value.field == field
    assert remedy in (refused.value.remedy or "")


def test_a_definition_tells_its_steps_events_and_versions() -> None:
    first = Saga("payment", data=Payment, reactions=[ordered]).step("old", act)
    saga = (
        Saga("payment", data=Payment, version=3, deadline="1h", reactions=[paid, overdue], earlier=[first])
        .step("a", act, compensate=act, retry=Immediate(2), timeout="5s")
        .parallel(step("b", act), step("c", act, when=lambda data: data.paid))
        .migrate(2, dict)
    )
    assert [each.name for each in saga.steps] == ["a", "b", "c"]
    assert [[each.name for each in stage] for stage in saga.stages] == [["a"], ["b", "c"]]
    assert sorted(event.name for event in saga.events) == ["Ordered", "Paid"]
    assert len(saga.actions) == 5
    assert saga.deadline_seconds == 3600
    assert [saga.of_version(version) for version in (1, 2, 3, 4)] == [first, saga, saga, None]
    assert [saga.find("c") is saga.steps[2], saga.find("d"), saga.reaction("timer overdue") is overdue] == [
        True,
        None,
        True,
    ]
    assert repr(saga) == "saga payment version 3"


def test_an_action_gets_its_context_by_the_annotation() -> None:
    async def about(info: Payment, what: StepContext) -> None: ...

    (made,) = plain.step("a", about).steps
    assert made.action is not None
    assert (made.action.context, made.action.is_async, made.action.timeout_seconds) == ("what", True, 60)


def test_an_event_is_for_the_sagas_that_any_version_ties_it_to() -> None:
    @on(Ordered, correlate=lambda event: f"old-{event.order}")
    def once(data: Payment, event: Ordered) -> None: ...

    saga = Saga(
        "payment",
        data=Payment,
        version=2,
        reactions=[ordered],
        earlier=[Saga("payment", data=Payment, reactions=[once])],
    )
    ties = list(ids_for(saga, "Ordered"))
    assert [found for each in ties for found in ids_of(each, Ordered("1"), "payment")] == ["1", "old-1"]
    assert list(ids_for(saga, "Paid")) == []


@pytest.mark.parametrize(("given", "ids"), [(None, ()), ("1", ("1",)), (["1", "2", "1"], ("1", "2")), (iter(()), ())])
def test_correlations_give_one_id_several_or_none(given: Any, ids: tuple[str, ...]) -> None:
    assert ids_of(lambda event: given, Paid("1"), "payment") == ids


@pytest.mark.parametrize("given", ["", 7, [1], [None]])
def test_what_is_no_id_is_refused(given: Any) -> None:
    with pytest.raises(InvalidEvent, match="correlate of saga payment gave"):
        ids_of(lambda event: given, Paid("1"), "payment")


def test_an_id_that_makes_no_name_of_a_stream_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="control characters"):
        ids_of(lambda event: "a\nb", Paid("1"), "payment")


def test_what_a_reaction_asks_for_are_values() -> None:
    assert Timer("t", after="1m").due_us(5) == 60_000_005
    moment = datetime.now().astimezone() + timedelta(hours=1)
    assert Timer("t", at=moment).due_us(5) == round(moment.timestamp() * 1_000_000)
    with pytest.raises(InvalidEvent, match="has no time"):
        Timer("t").due_us(5)
    assert msgspec.structs.asdict(Compensate("why")) == {"why": "why"}
