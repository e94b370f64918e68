"""given, when, then: a decision tested without a server, and what is said when it is another than expected."""

from collections.abc import Callable
from uuid import UUID

import pytest
from msgspec import Struct

from eventstore import Decider, InvalidEvent, InvalidRequest, Metadata, NewEvent, Untyped, event, given
from tests.support.accounts import BANK, Account, Deposit, Deposited, Insufficient, Withdraw, Withdrawn


def test_a_decision_follows_from_what_happened_and_the_command() -> None:
    given(Deposited(10)).when(BANK, Withdraw(4)).then(Withdrawn(4))
    given(Deposited(10), Withdrawn(4)).when(BANK, Withdraw(7)).then_raises(Insufficient, match="^6 is all")
    given().when(BANK, Deposit(0)).then_nothing()
    given(Deposited(10)).when(BANK, Withdraw(4)).then_state(Account(balance=6, events=2))
    given(Deposited(10), Withdrawn(4)).then_state(BANK, Account(balance=6, events=2))


def test_the_exception_comes_back_for_more_questions() -> None:
    error = given().when(BANK, Withdraw(1)).then_raises(Insufficient)
    assert error.args == ("0 is all there is",)


def lines(check: Callable[[], object]) -> list[str]:
    with pytest.raises(AssertionError) as caught:
        check()
    return str(caught.value).splitlines()


def test_other_events_are_told_one_by_one_with_the_fields_that_differ() -> None:
    decided = given(Deposited(10)).when(BANK, Withdraw(4))
    assert lines(lambda: decided.then(Withdrawn(5), Deposited(1))) == [
        "other events were expected",
        "  given     Deposited(amount=10)",
        "  state     Account(balance=10, events=1)",
        "  when      Withdraw(amount=4)",
        "  1. expected     Withdrawn(amount=5)",
        "     actual       Withdrawn(amount=4)",
        "                  amount: 5 expected, 4 came",
        "  2. expected     Deposited(amount=1)",
        "     actual       nothing more",
    ]


def test_events_where_none_were_expected_are_told() -> None:
    said = lines(given().when(BANK, Deposit(3)).then_nothing)
    assert said[-2:] == ["  1. expected     nothing more", "     actual       Deposited(amount=3)"]


def test_an_exception_where_events_were_expected_is_told_and_is_the_cause() -> None:
    decided = given().when(BANK, Withdraw(3))
    with pytest.raises(AssertionError, match=r"expected was these events: Withdrawn\(amount=3\)") as caught:
        decided.then(Withdrawn(3))
    assert "raised    Insufficient('0 is all there is')" in str(caught.value)
    assert isinstance(caught.value.__cause__, Insufficient)
    assert lines(decided.then_nothing)[0] == "expected was no event"
    assert lines(lambda: decided.then_state(Account()))[0].startswith("expected was the state Account(")


@pytest.mark.parametrize(
    ("kind", "match", "said"),
    [(ValueError, None, "ValueError was expected"), (Insufficient, "^7", "Insufficient matching '^7' was expected")],
)
def test_another_exception_than_expected_is_told(kind: type[Exception], match: str | None, said: str) -> None:
    told = lines(lambda: given().when(BANK, Withdraw(3)).then_raises(kind, match))
    assert (told[0], told[-1]) == (said, "  actual    Insufficient('0 is all there is')")


def test_events_where_an_exception_was_expected_are_told() -> None:
    told = lines(lambda: given().when(BANK, Deposit(3)).then_raises(Insufficient))
    assert (told[0], told[1], told[-1]) == (
        "Insufficient was expected",
        "  given     no events",
        "  actual    Deposited(amount=3)",
    )


def test_another_state_than_expected_is_told() -> None:
    wanted = ["  expected  Account(balance=1, events=1)", "  actual    Account(balance=3, events=1)"]
    assert lines(lambda: given().when(BANK, Deposit(3)).then_state(Account(1, 1)))[-2:] == wanted
    assert lines(lambda: given(Deposited(3)).then_state(BANK, Account(1, 1)))[-2:] == wanted


def test_metadata_and_id_count_where_they_are_expected() -> None:
    def decide(command: str, state: int) -> NewEvent:
        return NewEvent(data=Deposited(1), id=UUID(int=7), metadata=Metadata(actor=command))

    counter = Decider(0, decide, lambda state, event: state + 1)
    decided = given().when(counter, "ada")
    decided.then(Deposited(1))
    decided.then(NewEvent(data=Deposited(1), id=UUID(int=7), metadata=Metadata(actor="ada")))
    assert lines(lambda: decided.then(NewEvent(data=Deposited(1), id=UUID(int=7))))[0] == "other events were expected"


def test_an_event_that_could_not_be_read_again_fails_the_test() -> None:
    with pytest.raises(InvalidEvent, match="Deposited"):
        given(Deposited("ten")).when(BANK, Deposit(1))  # type: ignore[arg-type]
    with pytest.raises(InvalidEvent, match="Deposited"):
        given().when(BANK, Deposit(1.5))  # type: ignore[arg-type]


@event(name="Renamed", version=2, upcasters={1: lambda old: {"to": old["name"]}})
class Renamed(Struct, frozen=True):
    to: str


def evolve_name(state: str, event: Renamed) -> str:
    return event.to


def test_what_an_older_release_stored_is_upcast() -> None:
    def decide(command: str, state: str) -> Renamed | None:
        return None if state == command else Renamed(command)

    naming = Decider("", decide, evolve_name)
    given(Untyped("Renamed", {"name": "x"}, schema_version=1)).when(naming, "x").then_nothing()


class Nothing(Struct, frozen=True):
    pass


@pytest.mark.parametrize(
    ("returned", "events"),
    [
        (None, ()),
        ([], ()),
        (Nothing(), (Nothing(),)),
        ([Nothing(), Nothing()], (Nothing(), Nothing())),
        ((Nothing(),), (Nothing(),)),
        ((Nothing() for _ in range(2)), (Nothing(), Nothing())),
        (Untyped("Nothing", {}), (Untyped("Nothing", {}),)),
    ],
)
def test_a_decision_is_one_event_or_many_or_none(returned: object, events: tuple[object, ...]) -> None:
    anything: Decider[None, int] = Decider(0, lambda command, state: returned, lambda state, event: state + 1)
    given().when(anything, None).then(*events)


@pytest.mark.parametrize("returned", ["Withdrawn", b"x", {"amount": 1}, 7, True])
def test_what_is_no_event_is_refused(returned: object) -> None:
    anything: Decider[None, int] = Decider(0, lambda command, state: returned, lambda state, event: state + 1)
    given().when(anything, None).then_raises(
        InvalidRequest, match=f"decide returned something of type {type(returned).__name__}"
    )


def test_a_decision_that_would_wait_is_refused() -> None:
    async def decide(command: None, state: int) -> None:
        return None

    waiting: Decider[None, int] = Decider(0, decide, lambda state, event: state + 1)
    given().when(waiting, None).then_raises(InvalidRequest, match="async")


def test_what_changes_its_state_in_place_is_shown_as_it_was() -> None:
    def evolve(state: list[int], event: Deposited) -> list[int]:
        state.append(event.amount)
        return state

    def decide(command: int, state: list[int]) -> Deposited:
        return Deposited(command)

    nothing: list[int] = []
    history = Decider(nothing, decide, evolve)
    decided = given(Deposited(1)).when(history, 2)
    decided.then_state([1, 2])
    assert decided.state == [1]
    given().then_state(history, [])


def test_what_a_decision_changes_in_the_state_is_no_event() -> None:
    def record(command: Deposit, state: list[int]) -> Deposited:
        state.append(command.amount)
        return Deposited(command.amount)

    def evolve(state: list[int], event: Deposited) -> list[int]:
        return [*state, event.amount]

    nothing: list[int] = []
    given(Deposited(1)).when(Decider(nothing, record, evolve), Deposit(2)).then_state([1, 2])
