"""What the catalogue calls compatible is: every event of the old type is read with the new one, nothing passed over."""

import os
from typing import Any

import msgspec
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from eventstore.catalogue import differences, schema_of
from eventstore.errors import InvalidEvent
from eventstore.event_types import EventTypes
from tests.property.schema_specs import Spec, changed, documents, events, struct_of

MANY = 2_000 if os.environ.get("EVENTSTORE_SOAK") else 300
SLOW = settings(
    max_examples=MANY, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def struct(spec: Spec) -> type[Struct]:
    """The Struct, if msgspec takes it."""
    made = struct_of(spec)
    try:
        msgspec.json.Decoder(made)
    except TypeError:
        assume(False)
    return made


@SLOW
@given(st.data(), events)
def test_every_event_of_the_old_type_is_read_where_the_change_is_called_compatible(data: Any, spec: Spec) -> None:
    change = data.draw(changed(spec).filter(lambda each: each.kind == "struct"))
    old, new = struct(spec), struct(change)
    found = differences(schema_of(old, "Event"), schema_of(new, "Event"))
    if any(each.breaking for each in found):
        event("breaking")
        return
    event("the same" if change == spec else "compatible")
    for _ in range(5):
        document = msgspec.json.encode(data.draw(documents(spec)))
        for stored in (document, *as_appended(msgspec.json.decode(document, type=old))):
            read = msgspec.json.encode(msgspec.json.decode(stored, type=new))
            assert missing(msgspec.json.decode(stored), msgspec.json.decode(read)) == []


def as_appended(value: Struct) -> list[bytes]:
    """What an append stores; nothing if it refuses the value, as it does a default that is not of its field's type."""
    try:
        return [EventTypes().encode(value)[2]]
    except InvalidEvent:
        return []


def missing(stored: Any, read: Any, path: str = "") -> list[str]:
    """Fields, keys and items that were stored and were not read."""
    match stored:
        case dict():
            inner = [(f"{path}.{key}", value, read.get(key, missing)) for key, value in stored.items()]
        case list():
            inner = [(f"{path}[{n}]", *pair) for n, pair in enumerate(zip(stored, read, strict=False))]
            inner += [(f"{path}[{n}]", 0, missing) for n in range(len(read), len(stored))]
        case _:
            return []
    gone = [where for where, _, value in inner if value is missing]
    return gone + [each for where, was, now in inner if now is not missing for each in missing(was, now, where)]


@SLOW
@given(events)
def test_a_type_is_compatible_with_itself(spec: Spec) -> None:
    one, other = struct(spec), struct(spec)
    assert differences(schema_of(one, "Event"), schema_of(other, "Event")) == []
