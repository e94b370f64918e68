"""Ids over the whole log: each once, and no effect before its cause.

Memory: about 155 bytes an event (a dictionary from the 16 bytes of an id to a number, and two arrays of 8 bytes), and
32 for each event whose cause was not met before it.
"""

from array import array
from uuid import UUID

from eventstore.verify.findings import Findings

_ID_BYTES = 16
_POSITION_BITS = 48


class Ids:
    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._numbers: dict[bytes, int] = {}
        self._times, self._places = array("Q"), array("Q")
        self._open_causes = bytearray()
        self._open_ids = bytearray()

    def add(self, raw_id: bytes, recorded_at: int, partition: int, position: int, causation_id: str | None) -> None:
        """The next event, of whatever partition."""
        number = self._numbers.setdefault(raw_id, len(self._times))
        if number < len(self._times):
            self._twice(raw_id, number, partition, position)
            return
        self._times.append(recorded_at)
        self._places.append(partition << _POSITION_BITS | position)
        if causation_id is not None and (cause := _raw(causation_id)) is not None:
            known = self._numbers.get(cause)
            if known is None:
                self._open_causes += cause
                self._open_ids += raw_id
            else:
                self._order(known, number)

    def end(self) -> None:
        """After the last event: causes that were met later than their effects. Others are not in the log, which is no
        damage: a causation id may name anything."""
        for at in range(0, len(self._open_causes), _ID_BYTES):
            cause = self._numbers.get(bytes(self._open_causes[at : at + _ID_BYTES]))
            if cause is not None:
                self._order(cause, self._numbers[bytes(self._open_ids[at : at + _ID_BYTES])])

    def _twice(self, raw_id: bytes, number: int, partition: int, position: int) -> None:
        first = self._place(number)
        again = f"again in partition {partition} at position {position}"
        self._findings.add(
            "id",
            1,
            partition,
            str(UUID(bytes=raw_id)),
            f"this event id is in partition {first[0]} at position {first[1]}, {again}",
        )

    def _order(self, cause: int, effect: int) -> None:
        before = (self._times[cause], *self._place(cause))
        after = (self._times[effect], *self._place(effect))
        if before < after or cause == effect:
            return
        (partition, position), why = self._place(effect), self._place(cause)
        self._findings.add(
            "cause",
            2,
            partition,
            f"position {position}",
            f"recorded {before[0] - after[0]:,} us before its cause, partition {why[0]} position {why[1]}"
            " (an error only if the cause was given as an event or a receipt: an id alone orders nothing)",
        )

    def _place(self, number: int) -> tuple[int, int]:
        place = self._places[number]
        return place >> _POSITION_BITS, place & ((1 << _POSITION_BITS) - 1)


def _raw(causation_id: str) -> bytes | None:
    """The 16 bytes, if the text is a UUID: `UUID(text)` takes five times as long."""
    try:
        raw = bytes.fromhex(causation_id.replace("-", ""))
    except ValueError:
        return None
    return raw if len(raw) == _ID_BYTES else None
