"""SyncEventStore has all that EventStore has, under the same names."""

import inspect

import pytest

from eventstore import EventStore, InvalidRequest, SyncEventStore, Writing
from eventstore.subscribe import Subscription
from eventstore.sync import SyncWriting
from eventstore.sync_subscription import SyncSubscription

OURS = {"append_to"}  # for our own packages, which are async


def _public(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind) if not name.startswith("_")}


def _parameters(kind: type, name: str) -> list[str]:
    """Names, kinds, defaults and types, as text: each module has its own type variables."""
    return list(map(str, inspect.signature(getattr(kind, name)).parameters.values()))


def test_it_has_every_operation() -> None:
    assert _public(SyncEventStore) == _public(EventStore) - OURS
    assert _public(SyncWriting) >= _public(Writing)
    assert _public(SyncSubscription) - {"next", "close"} == _public(Subscription) - {"aclose"}


@pytest.mark.parametrize("name", sorted(_public(EventStore) - OURS))
def test_an_operation_takes_the_same(name: str) -> None:
    assert _parameters(SyncEventStore, name) == _parameters(EventStore, name)


@pytest.mark.parametrize("name", ["append", "decide"])
def test_writing_takes_the_same(name: str) -> None:
    assert _parameters(SyncWriting, name) == _parameters(Writing, name)


@pytest.mark.anyio
async def test_where_an_event_loop_runs_it_names_the_remedy_and_starts_nothing() -> None:
    with pytest.raises(InvalidRequest, match="event loop runs") as caught, SyncEventStore.open("redis://127.0.0.1:1"):
        pass
    assert "EventStore" in str(caught.value.remedy)
