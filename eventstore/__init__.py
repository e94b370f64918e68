"""An event-sourced log on Redis Streams: append, read, subscribe."""

from eventstore.cursor import Cursor
from eventstore.envelope import Metadata, NewEvent, Priority, Receipt, RecordedEvent, Untyped
from eventstore.errors import (
    ClockDrift,
    DurabilityNotReached,
    EventsMissing,
    EventStoreError,
    EventTypeError,
    IdConflict,
    InvalidEvent,
    InvalidRequest,
    LogDamaged,
    OutcomeUnknown,
    Overloaded,
    TooLarge,
    Unavailable,
    WrongExpectedVersion,
)
from eventstore.event_types import event
from eventstore.expected import Expected
from eventstore.filters import Filter
from eventstore.store import EventStore

__all__ = [
    "ClockDrift",
    "Cursor",
    "DurabilityNotReached",
    "EventStore",
    "EventStoreError",
    "EventTypeError",
    "EventsMissing",
    "Expected",
    "Filter",
    "IdConflict",
    "InvalidEvent",
    "InvalidRequest",
    "LogDamaged",
    "Metadata",
    "NewEvent",
    "OutcomeUnknown",
    "Overloaded",
    "Priority",
    "Receipt",
    "RecordedEvent",
    "TooLarge",
    "Unavailable",
    "Untyped",
    "WrongExpectedVersion",
    "event",
]
