"""What an append cannot take: each with its own clear error, and nothing written."""

import math
from typing import Any
from uuid import UUID

import pytest
from msgspec import Struct

from eventstore import (
    EventStoreError,
    Expected,
    InvalidEvent,
    InvalidRequest,
    Metadata,
    NewEvent,
    TooLarge,
    Untyped,
)
from tests.support.fixtures import server_fixture
from tests.support.servers import Server
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

LIMITS: dict[str, Any] = {"max_event_bytes": 700, "max_call_events": 5, "max_call_bytes": 3_000, "partitions": 1}


class Measured(Struct, frozen=True):
    values: dict[str, list[float]]


server = server_fixture("--enable-debug-command", "local", scope="module")


def digest(server: Server) -> Any:
    return server.admin("DEBUG", "DIGEST")


def _hasty(priority: Any) -> NewEvent:
    return NewEvent(data=Noted(1), metadata=Metadata(priority=priority))


ONE = [Noted(1)]
BAD_INPUT: dict[str, tuple[dict[str, Any], type[EventStoreError], str]] = {
    "no event": ({"events": []}, InvalidRequest, "events"),
    "no list": ({"events": Noted(1)}, InvalidRequest, "events"),
    "text": ({"events": "Noted"}, InvalidRequest, "events"),
    "no struct": ({"events": [{"n": 1}]}, InvalidEvent, "events"),
    "a class": ({"events": [Noted]}, InvalidEvent, "events"),
    "not a number": ({"events": [Measured({"a": [1.0, math.nan]})]}, InvalidEvent, "data.values.a[1]"),
    "infinite": ({"events": [Untyped("T", {"x": -math.inf})]}, InvalidEvent, "data.x"),
    "not UTF-8": ({"events": [Noted(1, "\ud800")]}, InvalidEvent, "data"),
    "no JSON": ({"events": [Untyped("T", {(1, 2): 3})]}, InvalidEvent, "data"),
    "other data than the type's": ({"events": [Untyped("Noted", {"n": "one"})]}, InvalidEvent, "data"),
    "type with a space": ({"events": [Untyped("a b", {})]}, InvalidRequest, "event type"),
    "type that is no text": ({"events": [Untyped(5, {})]}, InvalidRequest, "event type"),  # type: ignore[arg-type]
    "schema version 0": ({"events": [Untyped("T", {}, 0)]}, InvalidEvent, "type"),
    "schema version that is text": ({"events": [Untyped("T", {}, "1")]}, InvalidEvent, "type"),  # type: ignore[arg-type]
    "some with an id": ({"events": [NewEvent(data=Noted(1), id=UUID(int=1)), Noted(2)]}, InvalidRequest, "id"),
    "an id as text": ({"events": [NewEvent(data=Noted(1), id="1")]}, InvalidRequest, "id"),  # type: ignore[arg-type]
    "no stream": ({"stream": ""}, InvalidRequest, "stream"),
    "a stream that is no text": ({"stream": 7}, InvalidRequest, "stream"),
    "a long stream": ({"stream": "é" * 257}, InvalidRequest, "stream"),
    "a control character": ({"stream": "a\nb"}, InvalidRequest, "stream"),
    "a stream that is not UTF-8": ({"stream": "\udcff"}, InvalidRequest, "stream"),
    "a system stream": ({"stream": "$audit"}, InvalidRequest, "stream"),
    "a version below 0": ({"expected": -1}, InvalidRequest, "expected"),
    "a version that is text": ({"expected": "any"}, InvalidRequest, "expected"),
    "a version that is true": ({"expected": True}, InvalidRequest, "expected"),
    "a cause that is none": ({"causes": [UUID(int=1)]}, InvalidRequest, "causes"),
    "causes that are no list": ({"causes": 5}, InvalidRequest, "causes"),
    "metadata as a dict": ({"metadata": {"actor": "anna"}}, InvalidRequest, "metadata"),
    "an empty actor": ({"metadata": Metadata(actor="")}, InvalidEvent, "metadata.actor"),
    "a long correlation": ({"metadata": Metadata(correlation_id="x" * 1_025)}, InvalidEvent, "metadata.correlation_id"),
    "a priority that is text": ({"metadata": _hasty("HIGH").metadata}, InvalidRequest, "metadata.priority"),
    "an event's priority that is text": ({"events": [_hasty("HIGH")]}, InvalidRequest, "metadata.priority"),
    "a header that is no text": ({"metadata": Metadata(headers={"n": 1})}, InvalidEvent, "metadata"),  # type: ignore[dict-item]
    "headers that are not UTF-8": ({"metadata": Metadata(headers={"n": "\ud800"})}, InvalidEvent, "metadata"),
    "large headers": ({"metadata": Metadata(headers={"n": "x" * 17_000})}, TooLarge, "events"),
    "no time at all": ({"timeout_seconds": 0}, InvalidRequest, "timeout_seconds"),
    "a timeout that is not a number": ({"timeout_seconds": math.nan}, InvalidRequest, "timeout_seconds"),
    "a large event": ({"events": [Noted(1, "x" * 700)]}, TooLarge, "events"),
    "many events": ({"events": ONE * 6}, TooLarge, "events"),
    "large events": ({"events": [Noted(1, "x" * 550)] * 5}, TooLarge, "events"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
async def test_bad_input_is_refused_and_changes_nothing(server: Server, case: str) -> None:
    call, kind, field = BAD_INPUT[case]
    async with open_store(server, **LIMITS) as store:
        before = digest(server)
        with pytest.raises(kind) as caught:
            await store.append(**{"stream": "order-1", "events": ONE, **call})
        assert caught.value.field == field
        assert digest(server) == before


@pytest.mark.parametrize(
    ("batch", "text", "setting"),
    [
        ([Noted(1, "x" * 700)], "an event's size in bytes is", "max_event_bytes"),
        (ONE * 6, "the number of events of the call is 6, the limit is 5", "max_call_events"),
        ([Noted(1, "x" * 550)] * 5, "the call's size in bytes is", "max_call_bytes"),
    ],
)
async def test_a_limit_is_named_with_its_setting(server: Server, batch: list[Noted], text: str, setting: str) -> None:
    async with open_store(server, **LIMITS) as store:
        with pytest.raises(TooLarge, match=text) as caught:
            await store.append("order-1", batch)
    assert (caught.value.facts["setting"], caught.value.facts["limit"]) == (setting, LIMITS[setting])
    assert setting in str(caught.value.remedy)


async def test_headers_that_are_too_large_are_told_without_a_setting_that_does_not_exist(server: Server) -> None:
    async with open_store(server, **LIMITS) as store:
        with pytest.raises(TooLarge) as caught:
            await store.append("order-1", ONE, metadata=Metadata(headers={"n": "x" * 17_000}))
    assert caught.value.setting is None
    assert caught.value.remedy == "send less at once"


async def test_what_just_fits_is_taken(server: Server) -> None:
    async with open_store(server, **LIMITS) as store:
        assert (await store.append("é" * 256, ONE * 5, expected=Expected.ANY)).version == 5
        assert (await store.append("order-1", [Noted(2**70)])).version == 1
        (event,) = [event async for event in store.read("order-1")]
        assert event.data == Noted(2**70)
