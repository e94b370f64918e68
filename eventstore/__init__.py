"""An event-sourced log on Redis Streams: append, read, subscribe."""

from eventstore.append import StreamAppend
from eventstore.cursor import Cursor
from eventstore.decide import Decided, Decider, Writing
from eventstore.envelope import Metadata, NewEvent, Priority, Receipt, RecordedEvent, Untyped
from eventstore.errors import (
    ClockDrift,
    DifferentPartitions,
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
from eventstore.fold import Fold
from eventstore.snapshots import Loaded
from eventstore.store import EventStore
from eventstore.sync import SyncEventStore
from eventstore.testing import given

__all__ = [
    "ClockDrift",
    "Cursor",
    "Decided",
    "Decider",
    "DifferentPartitions",
    "DurabilityNotReached",
    "EventStore",
    "EventStoreError",
    "EventTypeError",
    "EventsMissing",
    "Expected",
    "Filter",
    "Fold",
    "IdConflict",
    "InvalidEvent",
    "InvalidRequest",
    "Loaded",
    "LogDamaged",
    "Metadata",
    "NewEvent",
    "OutcomeUnknown",
    "Overloaded",
    "Priority",
    "Receipt",
    "RecordedEvent",
    "StreamAppend",
    "SyncEventStore",
    "TooLarge",
    "Unavailable",
    "Untyped",
    "Writing",
    "WrongExpectedVersion",
    "event",
    "given",
]
