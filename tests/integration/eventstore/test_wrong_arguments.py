"""Whatever of a wrong type is given to a public function, an error of ours names the argument and says what to give."""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

import pytest
from msgspec import defstruct

from eventstore import (
    Cursor,
    Decider,
    EventStore,
    EventStoreError,
    Expected,
    Filter,
    Fold,
    InvalidEvent,
    Metadata,
    StreamAppend,
    SyncEventStore,
    event,
    given,
)
from eventstore.sync_subscription import SyncSubscription
from tests.support.accounts import ACCOUNT, BANK, Account, Deposit, Deposited
from tests.support.fixtures import served_fixture
from tests.support.servers import Server
from tests.support.stores import Noted, open_store
from tests.support.sync_stores import open_sync_store

WRONG: dict[str, Any] = {
    "an object": object(),
    "bytes": b"x",
    "a fraction": 1.5,
    "text": "text",
    "a list": ["x"],
    "a mapping": {"a": -1},
    "a class": Noted,
    "a fold": ACCOUNT,
    "true": True,
}
RIGHT = {
    "stream": {"text"},
    "url": {"text"},
    "observer": {"text"},
    "backwards": {"true"},
    "system": {"true"},
    "read_only": {"true"},
    "fold": {"a fold"},
    "timeout_seconds": {"a fraction"},
    "command": set(WRONG),
}
"""Nothing is wrong with these; with a URL of no server more is, which is for the settings to tell."""

CALLS: dict[str, dict[str, Any]] = {
    "append": {"stream": "order-1", "events": [Noted(1)]},
    "append_many": {"appends": [StreamAppend("order-1", [Noted(1)])]},
    "read": {"stream": "order-1"},
    "version": {"stream": "order-1"},
    "writing": {"stream": "order-1", "fold": ACCOUNT},
    "decide": {"stream": "order-1", "decider": BANK, "command": Deposit(1)},
    "load": {"stream": "order-1", "fold": ACCOUNT},
    "snapshot": {"stream": "order-1", "fold": ACCOUNT},
    "read_partition": {"partition": 0},
    "read_all": {},
    "position_at": {"time_us": 1},
    "heads": {},
    "subscribe": {},
}


def wrong_calls(function: Callable[..., Any], name: str) -> Iterator[Any]:
    """Every argument with everything that is wrong for it."""
    for argument in inspect.signature(function).parameters:
        for what in WRONG:
            if argument != "self" and what not in RIGHT.get(argument, ()):
                yield pytest.param(name, argument, what, id=f"{name}: {argument} is {what}")


OF_A_STORE = [row for name in CALLS for row in wrong_calls(getattr(EventStore, name), name)]
OF_OPENING = list(wrong_calls(EventStore.open, "open"))


def check(error: EventStoreError, argument: str) -> None:
    assert error.field == argument
    assert error.remedy
    assert error.code in {"bad-request", "invalid-event"}


server = served_fixture()


@pytest.fixture(scope="module")
async def store(server: Server) -> AsyncIterator[EventStore]:
    async with open_store(server) as store:
        yield store


@pytest.fixture(scope="module")
def sync_store(server: Server) -> Iterator[SyncEventStore]:
    with open_sync_store(server) as store:
        yield store


def test_all_operations_are_here() -> None:
    public = {name for name, _ in inspect.getmembers(EventStore) if not name.startswith("_")}
    assert set(CALLS) == public - {"open", "append_to"}


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "argument", "what"), OF_A_STORE)
async def test_a_store_names_the_argument(store: EventStore, name: str, argument: str, what: str) -> None:
    with pytest.raises(EventStoreError) as caught:
        await _begin(getattr(store, name), {**CALLS[name], argument: WRONG[what]})
    check(caught.value, argument)


async def _begin(operation: Callable[..., Any], arguments: dict[str, Any]) -> None:
    match operation(**arguments):
        case Coroutine() as call:
            await call
        case AsyncIterator() as events:
            await anext(events)
        case AbstractAsyncContextManager() as block:
            async with block:
                pass


@pytest.mark.parametrize(("name", "argument", "what"), OF_A_STORE)
def test_a_sync_store_does_too(sync_store: SyncEventStore, name: str, argument: str, what: str) -> None:
    with pytest.raises(EventStoreError) as caught:
        _begin_now(getattr(sync_store, name), {**CALLS[name], argument: WRONG[what]})
    check(caught.value, argument)


def _begin_now(operation: Callable[..., Any], arguments: dict[str, Any]) -> None:
    match operation(**arguments):
        case SyncSubscription() as subscription:
            subscription.close()
        case Iterator() as events:
            next(events)
        case AbstractContextManager() as block:
            with block:
                pass


@pytest.mark.anyio
@pytest.mark.parametrize(("name", "argument", "what"), OF_OPENING)
async def test_opening_names_the_argument_before_anything_is_asked(name: str, argument: str, what: str) -> None:
    nowhere = {} if argument in {"url", "settings"} else {"url": "redis://127.0.0.1:1"}
    with pytest.raises(EventStoreError) as caught:
        async with EventStore.open(**{**nowhere, argument: WRONG[what]}):
            pass
    check(caught.value, argument)


@pytest.mark.parametrize(("name", "argument", "what"), OF_OPENING)
def test_opening_for_code_that_is_not_async_does_too(name: str, argument: str, what: str) -> None:
    nowhere = {} if argument in {"url", "settings"} else {"url": "redis://127.0.0.1:1"}
    with pytest.raises(EventStoreError) as caught, SyncEventStore.open(**{**nowhere, argument: WRONG[what]}):
        pass
    check(caught.value, argument)


def _fold(**wrong: Any) -> object:
    return Fold(**{"initial": Account(), "apply": lambda state, _: state, **wrong})


def _decider(**wrong: Any) -> object:
    return Decider(**{"initial": Account(), "decide": lambda *_: None, "evolve": lambda state, _: state, **wrong})


def _event(**wrong: Any) -> object:
    return event(**wrong)(defstruct("Fresh", ["n"]))


VALUES: list[tuple[Callable[..., Any], str, str, set[str]]] = [
    (_fold, "apply", "apply", {"a class"}),
    (_fold, "version", "version", set()),
    (_fold, "snapshot_every", "snapshot_every", set()),
    (_decider, "decide", "decide", {"a class"}),
    (_decider, "evolve", "evolve", {"a class"}),
    (_decider, "version", "version", set()),
    (_event, "name", "event type", {"text"}),
    (_event, "version", "version", set()),
    (_event, "upcasters", "upcasters", set()),
    (_event, "oldest", "oldest", set()),
    (_event, "formerly", "formerly", {"a list", "a mapping"}),
    (Filter, "types", "types", {"a list", "a mapping"}),
    (Filter, "categories", "categories", {"a list", "a mapping"}),
    (Filter, "correlation_id", "correlation_id", {"text"}),
    (Filter, "since", "since", set()),
    (Filter, "until", "until", set()),
    (Cursor.start, "partitions", "partitions", set()),
    (Cursor.parse, "text", "cursor", set()),
    (Cursor.start(1).after, "event", "event", set()),
    (Cursor.start(1).before, "event", "event", set()),
    (given(Deposited(1)).when, "decider", "decider", set()),
    (given().then_state, "fold", "fold", {"a fold"}),
    (given().when(BANK, Deposit(1)).then_raises, "kind", "kind", set()),
    (given().when(BANK, Deposit(1)).then_raises, "match", "match", {"text"}),
]
MORE: dict[str, dict[str, Any]] = {"when": {"command": Deposit(1)}, "then_state": {"expected": Account()}}


@pytest.mark.parametrize(
    ("function", "argument", "field", "what"),
    [
        pytest.param(function, argument, field, what, id=f"{function.__qualname__}: {argument} is {what}")
        for function, argument, field, right in VALUES
        for what in WRONG
        if what not in right
    ],
)
def test_what_needs_no_store_names_the_argument(
    function: Callable[..., Any], argument: str, field: str, what: str
) -> None:
    more: dict[str, Any] = {"kind": ValueError} if argument == "match" else MORE.get(function.__name__, {})
    with pytest.raises(EventStoreError) as caught:
        function(**{**more, argument: WRONG[what]})
    check(caught.value, field)


@pytest.mark.parametrize("what", WRONG)
def test_only_a_struct_is_named_as_an_event(what: str) -> None:
    if what != "a class":
        with pytest.raises(EventStoreError) as caught:
            event(name="Named")(WRONG[what])
        check(caught.value, "types")
    unnamed: Any = dict if what == "a class" else WRONG[what]
    with pytest.raises(EventStoreError) as caught:
        event(unnamed)
    check(caught.value, "types")


@pytest.mark.parametrize("what", WRONG)
def test_events_of_a_specification_are_arguments(what: str) -> None:
    for specify in (given, given().when(BANK, Deposit(1)).then):
        with pytest.raises(EventStoreError) as caught:
            specify(WRONG[what])
        check(caught.value, "events")
    with pytest.raises(EventStoreError) as caught:
        given([Deposited(1)])
    assert caught.value.remedy == "given(*events)"


@pytest.mark.anyio
@pytest.mark.parametrize("what", WRONG)
async def test_what_a_block_collects_is_looked_at_before_it_ends(store: EventStore, what: str) -> None:
    async with store.writing("order-1", ACCOUNT) as writing:
        with pytest.raises(InvalidEvent) as unfit:
            writing.append(WRONG[what])
        check(unfit.value, "events")
        with pytest.raises(EventStoreError) as caught:
            writing.decide(WRONG[what], Deposit(1))
        check(caught.value, "decider")
    assert writing.receipt is None


@pytest.mark.parametrize("what", [what for what in WRONG if what != "a fraction"])
def test_a_wait_that_is_none_is_named(sync_store: SyncEventStore, what: str) -> None:
    with sync_store.subscribe() as subscription, pytest.raises(EventStoreError) as caught:
        subscription.next(timeout_seconds=WRONG[what])
    check(caught.value, "timeout_seconds")


@pytest.mark.anyio
@pytest.mark.parametrize("places", [7, "text", ((1, "x"),) * 4, ((1,),) * 4])
async def test_a_cursor_that_was_made_by_hand_is_refused(store: EventStore, places: Any) -> None:
    with pytest.raises(EventStoreError) as caught:
        store.subscribe(cursor=Cursor(places))
    check(caught.value, "cursor")


@pytest.mark.anyio
async def test_a_stream_without_events_is_named_among_several(store: EventStore) -> None:
    several = [StreamAppend("a-{1}", [Noted(1)]), StreamAppend("b-{1}", [], Expected.EXISTS)]
    with pytest.raises(EventStoreError, match=r"no event to append to b-\{1\}") as caught:
        await store.append_many(several)
    check(caught.value, "events")


@pytest.mark.anyio
@pytest.mark.parametrize("field", ["correlation_id", "causation_id", "traceparent", "actor", "headers"])
async def test_the_part_of_the_metadata_is_named(store: EventStore, field: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        await store.append("order-1", [Noted(1)], metadata=Metadata(**{field: 5}))  # type: ignore[arg-type]
    check(caught.value, f"metadata.{field}")
