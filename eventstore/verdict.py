"""From append.lua's verdict to a receipt or the error that names it."""

from collections.abc import Sequence

from eventstore.append import Append
from eventstore.envelope import Receipt
from eventstore.errors import ClockDrift, EventStoreError, IdConflict, LogDamaged, WrongExpectedVersion
from eventstore.expected import Expected
from infrastructure.connect import Reply

_WHY = {
    b"content": "is stored with other data",
    b"elsewhere": "is known from another place",
    b"follows": "is stored, but not followed by the other events of this call",
}


def receipt_or_error(append: Append, verdict: Sequence[Reply]) -> Receipt | EventStoreError:
    match verdict:
        case [b"ok", version, position, recorded_at, epoch]:
            return Receipt(append.stream, version, append.partition, int(epoch), position, recorded_at, append.ids)
        case [b"version", actual]:
            wanted = append.expected
            return WrongExpectedVersion(append.stream, wanted.value if isinstance(wanted, Expected) else wanted, actual)
        case [b"id", place, why, stream, version, position]:
            known = append.ids[place]
            return IdConflict(known, stream.decode(), version, append.partition, position, _WHY[why])
        case [b"drift", server_at]:
            return ClockDrift(append.stream, append.cause_at, server_at)
        case [b"damaged", detail]:
            return LogDamaged(
                f"{append.stream} cannot be appended to: {detail.decode(errors='replace')}",
                remedy="eventstore verify tells the extent; another program may write under the log's prefix",
            )
    return LogDamaged(f"append.lua answered {verdict!r}")
