"""Groups as members leave them: a lease that is held, a failure that is noted."""

from consumers import lease_calls
from consumers.failure import Failure
from consumers.keys import group_keys
from consumers.state import Stored, Token
from eventstore import EventStore, RecordedEvent


async def take(store: EventStore, group: str, partition: int, member: str) -> tuple[Stored, Token]:
    """The lease, for a minute."""
    keys = group_keys(store.log.keys, group, partition)
    stored = await lease_calls.acquire(store.log, keys, member, 60_000)
    assert isinstance(stored, Stored)
    return stored, Token(member, stored.term, stored.epoch)


def failure_of(event: RecordedEvent, failed_us: int, *, parked: bool, message: str = "no") -> bytes:
    """As the commit that retries or parks an event brings it."""
    return Failure(
        type="CardDeclined",
        message=message,
        traceback="",
        where="charge.py:31",
        event_type=event.type,
        event_id=event.id,
        correlation_id=None,
        version=event.version,
        position=event.position,
        first_failed_us=failed_us,
        failed_us=failed_us,
        parked=parked,
        member="a-member",
    ).pack()
