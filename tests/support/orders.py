"""Events of a shop, which tests of consumers handle, and as the log would hold them."""

from uuid import UUID

from msgspec import Struct

from eventstore import Metadata, RecordedEvent, event
from eventstore.event_types import event_type
from eventstore.ids import new_id
from eventstore.partitions import partition_of

PARTITIONS = 4


class OrderPlaced(Struct, frozen=True):
    total: int = 99


class OrderPaid(Struct, frozen=True):
    total: int = 99


@event(name="Shipped", version=2, upcasters={1: lambda old: old}, formerly=("Sent",))
class OrderShipped(Struct, frozen=True):
    to: str = "here"


class Declined(Exception):
    """The card was declined."""


class Expired(Declined):
    """For good."""


def recorded(
    data: Struct,
    stream: str = "order-1",
    version: int = 1,
    *,
    position: int = 1,
    metadata: Metadata | None = None,
    event_id: UUID | None = None,
) -> RecordedEvent:
    kind, made = event_type(type(data)), event_id or new_id()
    about = metadata or Metadata(correlation_id="transaction-7")
    partition = partition_of(stream, PARTITIONS)
    return RecordedEvent(made, stream, version, partition, 1, position, 1_000_000, kind.name, kind.version, data, about)
