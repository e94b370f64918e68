"""From append.lua's verdict to the receipts or the error that names it."""

from collections.abc import Sequence

from eventstore.append import Append, Part
from eventstore.envelope import Receipt
from eventstore.errors import ClockDrift, EventStoreError, FailedCheck, IdConflict, LogDamaged, WrongExpectedVersion
from eventstore.expected import Expected
from infrastructure.connect import Reply

Receipts = tuple[Receipt, ...]
_WHY = {
    b"content": "is stored with other data",
    b"elsewhere": "is known from another place",
    b"follows": "is stored, but not followed by the other events of this call",
    b"apart": "is stored, but not together with the other streams of this call",
}


def receipts_or_error(append: Append, verdict: Sequence[Reply]) -> Receipts | EventStoreError:
    """One receipt for each stream that the append writes to, in its order."""
    match verdict:
        case [b"ok", *facts]:
            return _receipts(append, facts)
        case [b"version", *failed]:
            first, *further = (_failed(append.parts[i], actual) for i, actual in _by(2, failed))
            return WrongExpectedVersion(first.stream, first.expected, first.actual, tuple(further))
        case [b"id", part, place, why, stream, version, position]:
            known = append.parts[part].ids[place]
            return IdConflict(known, stream.decode(), version, append.partition, position, _WHY[why])
        case [b"drift", server_at]:
            return ClockDrift(append.stream, append.cause_at, server_at)
        case [b"damaged", detail]:
            return LogDamaged(
                f"{append.stream} cannot be appended to: {detail.decode(errors='replace')}",
                remedy="eventstore verify tells the extent; another program may write under the log's prefix",
            )
    return LogDamaged(f"append.lua answered {verdict!r}")


def _receipts(append: Append, facts: Sequence[Reply]) -> Receipts:
    return tuple(
        [
            Receipt(part.stream, version, append.partition, int(epoch), position, recorded_at, part.ids)
            for part, (version, position, recorded_at, epoch) in zip(append.parts, _by(4, facts), strict=False)
        ]
    )


def _failed(part: Part, actual: int) -> FailedCheck:
    wanted = part.expected
    return FailedCheck(part.stream, wanted.value if isinstance(wanted, Expected) else wanted, actual)


def _by(n: int, facts: Sequence[Reply]) -> Sequence[Sequence[Reply]]:
    return [facts[i : i + n] for i in range(0, len(facts), n)]
