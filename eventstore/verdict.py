"""From append.lua's verdict to the receipts or the error that names it."""

from collections.abc import Iterable, Sequence

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


def outcomes(appends: Iterable[Append], reply: Sequence[Reply]) -> list[Receipts | EventStoreError]:
    """What the reply to a call says of each append that was joined in it: a receipt for each stream that it writes to,
    in its order, or why not. Plain steps, for every append goes through here."""
    found: list[Receipts | EventStoreError] = []
    epoch, at = int(reply[0]), 1
    for append in appends:
        verdict = reply[at]
        if isinstance(verdict, int):  # written just now, to one stream: the case that is answered without a list
            part = append.parts[0]
            receipt = Receipt(part.stream, verdict, append.partition, epoch, reply[at + 1], reply[at + 2], part.ids)
            found.append((receipt,))
            at += 3
        else:
            found.append(_receipts_or_error(append, verdict))
            at += 1
    return found


def _receipts_or_error(append: Append, verdict: Sequence[Reply]) -> Receipts | EventStoreError:
    if verdict[0] == b"ok":
        return _receipts(append, verdict)
    match verdict:
        case [b"version", *failed]:
            first, *further = (_failed(append.parts[i], actual) for i, actual in zip(*[iter(failed)] * 2, strict=True))
            return WrongExpectedVersion(first.stream, first.expected, first.actual, tuple(further))
        case [b"id", part, place, why, stream, version, position]:
            known = append.parts[part].ids[place]
            return IdConflict(known, stream.decode(errors="replace"), version, append.partition, position, _WHY[why])
        case [b"drift", server_at]:
            return ClockDrift(append.stream, append.cause_at, server_at)
        case [b"damaged", part, detail]:
            why = detail.decode(errors="replace").removeprefix("DAMAGED ")
            return LogDamaged(
                f"{append.parts[part].stream} cannot be appended to: {why}",
                remedy="eventstore verify tells the extent; another program may write under the log's prefix",
            )
    return LogDamaged(f"append.lua answered {verdict!r}")


def _receipts(append: Append, verdict: Sequence[Reply]) -> Receipts:
    partition, receipts = append.partition, []
    for i in range(1, len(verdict), 4):
        part = append.parts[i >> 2]
        version, position, recorded_at, epoch = verdict[i : i + 4]
        receipts.append(Receipt(part.stream, version, partition, int(epoch), position, recorded_at, part.ids))
    return tuple(receipts)


def _failed(part: Part, actual: int) -> FailedCheck:
    wanted = part.expected
    return FailedCheck(part.stream, wanted.value if isinstance(wanted, Expected) else wanted, actual)
