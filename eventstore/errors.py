"""Each error of the log that a caller may catch, with its facts as attributes."""

from collections.abc import Mapping
from uuid import UUID

from msgspec import Struct

from eventstore.envelope import Receipt
from infrastructure.errors import EventStoreError, Unavailable

__all__ = [
    "ClockDrift",
    "DifferentPartitions",
    "DurabilityNotReached",
    "EventStoreError",
    "EventTypeError",
    "EventsMissing",
    "IdConflict",
    "InvalidEvent",
    "InvalidRequest",
    "JobNotFound",
    "LogDamaged",
    "OutcomeUnknown",
    "Overloaded",
    "StreamNotFound",
    "TooLarge",
    "Unavailable",
    "WrongExpectedVersion",
]


class InvalidRequest(EventStoreError):
    """An argument is not usable: a name, a version, a bound."""

    code = "bad-request"


class InvalidEvent(EventStoreError):
    """An event cannot be stored as it is (not a number, not UTF-8, not of its type). Nothing was written."""

    code = "invalid-event"


class EventTypeError(EventStoreError):
    """Event types contradict each other: one name for two Structs, a gap in a chain of upcasters."""

    code = "bad-request"


class TooLarge(EventStoreError):
    """An event or a call is over a limit, which `setting` raises; None if nothing does. Nothing was written."""

    code = "too-large"

    def __init__(self, what: str, actual: int, limit: int, setting: str | None) -> None:
        self.actual, self.limit, self.setting = actual, limit, setting
        super().__init__(
            f"{what} is {actual:,}, the limit is {limit:,}",
            field="events",
            remedy=f"send less at once, or raise {setting}" if setting else "send less at once",
            facts={"actual": actual, "limit": limit, "setting": setting},
        )


class FailedCheck(Struct, frozen=True):
    """A stream that is not at the version that a call expected: a number, `exists` or `any`."""

    stream: str
    expected: int | str
    actual: int

    def __str__(self) -> str:
        wanted = "to exist" if self.expected == "exists" else self.expected
        return f"{self.stream} is at version {self.actual}, expected {wanted}"


class WrongExpectedVersion(EventStoreError):
    """A stream is not at the version that the caller expected. Nothing was written. `failed` has every failed check of
    the call, `stream`, `expected` and `actual` are those of the first."""

    code = "wrong-expected-version"

    def __init__(self, stream: str, expected: int | str, actual: int, further: tuple[FailedCheck, ...] = ()) -> None:
        self.stream, self.expected, self.actual = stream, expected, actual
        self.failed = (FailedCheck(stream, expected, actual), *further)
        unseen = expected + 1 if isinstance(expected, int) and expected < actual else max(actual, 1)
        facts: dict[str, object] = {"stream": stream, "expected": expected, "actual": actual}
        super().__init__(
            "; ".join(map(str, self.failed)),
            field="expected",
            remedy=f"eventstore read {stream} --from {unseen}, then decide again",
            facts={**facts, "failed": self.failed} if further else facts,
        )


class DifferentPartitions(EventStoreError):
    """What one call writes and checks must lie in one partition; `strangers` are the streams that do not lie in that of
    the first, with theirs. Nothing was written."""

    code = "different-partitions"

    def __init__(self, stream: str, partition: int, strangers: Mapping[str, int]) -> None:
        self.stream, self.partition, self.strangers = stream, partition, dict(strangers)
        elsewhere = ", ".join(f"{name} in {p}" for name, p in self.strangers.items())
        super().__init__(
            f"{stream} lies in partition {partition}, but {elsewhere}",
            field="stream",
            remedy="give them the same text in braces, which alone is hashed then: order-{42}, payment-{42}",
            facts={"stream": stream, "partition": partition, "strangers": self.strangers},
        )


class IdConflict(EventStoreError):
    """An id of this call is known, but not as this event at this place. Nothing was written."""

    code = "id-conflict"

    def __init__(self, event_id: UUID, stream: str, version: int, partition: int, position: int, why: str) -> None:
        self.event_id, self.stream, self.version = event_id, stream, version
        self.partition, self.position = partition, position
        place = f" (it is version {version} of {stream}, partition {partition} position {position})" if version else ""
        super().__init__(
            f"event id {event_id}: {why}{place}",
            field="id",
            remedy="repeat the very call that used these ids, or give new events new ids",
            facts={
                "id": str(event_id),
                "stream": stream,
                "version": version,
                "partition": partition,
                "position": position,
            },
        )


class ClockDrift(EventStoreError):
    """A cause is more than an hour ahead of the server's clock. Nothing was written."""

    code = "clock-drift"

    def __init__(self, stream: str, cause_at: int, server_at: int) -> None:
        self.stream, self.cause_at, self.server_at = stream, cause_at, server_at
        super().__init__(
            f"a cause of this append to {stream} is {(cause_at - server_at) / 1e6:,.0f} s ahead of the server's clock",
            field="causes",
            remedy="set the clocks of the servers right (NTP), then append again",
            facts={"stream": stream, "cause_at": cause_at, "server_at": server_at},
        )


class OutcomeUnknown(EventStoreError):
    """Time was over before an answer came: the append may have taken effect, or may yet. Repeating it with the same
    ids and `expected` is safe; anything else may write twice."""

    code = "outcome-unknown"

    def __init__(self, stream: str, ids: tuple[UUID, ...], cause: str) -> None:
        self.stream, self.ids = stream, ids
        super().__init__(
            f"no answer in time for the append to {stream}: {cause}",
            remedy="append again with the same ids and the same expected version",
            facts={"stream": stream, "ids": [str(i) for i in ids]},
        )


class Overloaded(EventStoreError):
    """Too much waits to be written. This append surely was not."""

    code = "overloaded"

    def __init__(self, partition: int, what: str, waiting: int, limit: int) -> None:
        self.partition, self.waiting, self.limit = partition, waiting, limit
        super().__init__(
            f"{waiting:,} {what} wait to be written to partition {partition}, the limit is {limit:,}",
            remedy="slow down, or look why the server is slow: eventstore doctor",
            facts={"partition": partition, "waiting": waiting, "limit": limit},
        )


class DurabilityNotReached(EventStoreError):
    """Written, but not as durable as asked within the time. `receipts` tells where, one for each stream that the call
    wrote to; `receipt` is the last. Repeating the append is safe."""

    code = "durability-not-reached"

    def __init__(self, receipts: tuple[Receipt, ...], level: str) -> None:
        self.receipts, self.level = receipts, level
        super().__init__(
            f"written, but {level} was not reached in time",
            remedy="repeat the append with the same ids, or look at the replicas: eventstore doctor",
            facts={"receipt": self.receipt, "level": level},
        )

    @property
    def receipt(self) -> Receipt:
        return self.receipts[-1]


class EventsMissing(EventStoreError):
    """Positions that the log gave out are not there. The log is damaged or was trimmed by a stranger."""

    code = "events-missing"

    def __init__(self, where: str, first: int, last: int) -> None:
        self.where, self.first, self.last = where, first, last
        super().__init__(
            f"{where}: {first} to {last} should be there and are not",
            remedy="eventstore verify tells the extent; restore from a backup",
            facts={"where": where, "first": first, "last": last},
        )


class LogDamaged(EventStoreError):
    """What the server holds contradicts the format of the log."""

    code = "events-missing"


class StreamNotFound(EventStoreError):
    """Nothing was ever appended to the stream."""

    code = "stream-not-found"

    def __init__(self, stream: str) -> None:
        self.stream = stream
        super().__init__(
            f"there is no stream {stream}", field="stream", remedy="eventstore streams", facts={"stream": stream}
        )


class JobNotFound(EventStoreError):
    code = "job-not-found"
