"""Failures of events as handling makes them."""

from uuid import UUID, uuid4

from consumers.failure import Failure

AT_US = 1_795_600_000_000_000


class Ticks:
    """A clock that goes on when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def failure(*, seconds_ago: float = 0.0, event_id: UUID | None = None, message: str = "refused") -> Failure:
    """Of an event that failed first so long before this time."""
    return Failure(
        type="ConnectionError",
        message=message,
        traceback="",
        where="charge.py:31",
        event_type="Placed",
        event_id=event_id or uuid4(),
        correlation_id=None,
        version=1,
        position=1,
        first_failed_us=AT_US - round(seconds_ago * 1e6),
        failed_us=AT_US,
        parked=False,
        member="a-member",
    )
