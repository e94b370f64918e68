"""What is told of an event that waits for its time."""

from typing import Literal
from uuid import UUID

from msgspec import Struct


class Scheduled(Struct, frozen=True):
    """An event that is appended to `stream` when it is due. `due_us`: microseconds since 1970, whole milliseconds, by
    the server's clock. `state` is `fired` if the log has the event already, for its id was scheduled or appended
    before; nothing waits then."""

    id: UUID
    stream: str
    type: str
    due_us: int
    partition: int
    state: Literal["waiting", "fired"] = "waiting"
