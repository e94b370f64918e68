"""The envelope: what is kept of an event beside its data."""

import enum
from typing import Any
from uuid import UUID

from msgspec import Struct, field


class Priority(enum.Enum):
    """How urgent an event is. It chooses among streams that are ready; it never reorders one stream."""

    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"

    @property
    def urgent(self) -> bool:
        return self is Priority.HIGH or self is Priority.CRITICAL


class Metadata(Struct, frozen=True, kw_only=True, gc=False):
    """What surrounds an event. `correlation_id` groups one business transaction; it defaults to the one of the
    newest event among the causes, else to the id of the first event of the call. `causation_id` is the id of the event
    that caused this one; `causes=` fills it in."""

    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    actor: str | None = None
    priority: Priority = Priority.NORMAL
    headers: dict[str, str] = field(default_factory=dict)


class RecordedEvent(Struct, frozen=True, gc=False):
    """An event as the log holds it. `version` counts within the stream, `position` within the partition, both from 1
    and without gaps. `recorded_at` is a hybrid logical clock in microseconds since 1970 (UTC): within a partition it
    never goes back, and an effect is above its causes. `type` and `schema_version` describe `data`: the present name
    and version of a type that the store knows, whatever the event was stored as; else what is stored."""

    id: UUID
    stream: str
    version: int
    partition: int
    epoch: int
    position: int
    recorded_at: int
    type: str
    schema_version: int
    data: Any
    metadata: Metadata


class Receipt(Struct, frozen=True, gc=False):
    """The answer to an append: where its last event is, and the ids of all of them. Repeating the append gives an
    equal receipt."""

    stream: str
    version: int
    partition: int
    epoch: int
    position: int
    recorded_at: int
    ids: tuple[UUID, ...]


class NewEvent(Struct, frozen=True, kw_only=True):
    """An event with more than its data: an id of the caller's (for retries beyond this process) or metadata of its
    own. `data` is a Struct, or `Untyped`."""

    data: Any
    id: UUID | None = None
    metadata: Metadata | None = None


class Untyped(Struct, frozen=True):
    """Data of a type that this process has no Struct for, as the command line and the gateway have it. Where the
    store knows the type, the data is checked against its Struct."""

    type: str
    data: Any
    schema_version: int = 1
