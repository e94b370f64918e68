"""The entries of a page, as they came from the server, and what readers get of them, made in one go.

The format is told in codec.py, where `unpack_at` reads one entry with care. What is here reads what is whole, in half
the time, and leaves to `unpack_at` whatever is not.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from typing import TypeVar
from uuid import UUID

import msgspec
from msgspec import Struct

from eventstore.codec import FORMAT, Entry, unpack_at, unpack_metadata, uuid_text
from eventstore.envelope import Metadata

T = TypeVar("T")
Kind = tuple[str, int, Callable[[bytes], object]]

_unpack_head = struct.Struct(">BQHI16xI2xB").unpack_from  # without the id and the schema version
_CONTENT_START, _TYPE_START = 35, 38
_RAW_ID, _UUID_FOLLOWS = slice(15, 31), b"\xc4\x10"
_UUID_BYTES = len(_UUID_FOLLOWS) + 16
_unpack_uuids = msgspec.msgpack.Decoder(list[UUID]).decode


class Run(Struct, frozen=True):
    """Stored values of consecutive positions in one epoch, from `first` on, upwards (by 1) or downwards (by -1)."""

    epoch: int
    first: int
    by: int
    values: list[bytes]

    @property
    def positions(self) -> range:
        return range(self.first, self.first + self.by * len(self.values), self.by)


class Entries:
    """Consecutive entries of a partition. An Entry is made when it is asked for, each time anew."""

    __slots__ = ("partition", "runs")

    def __init__(self, partition: int, runs: Sequence[Run]) -> None:
        self.partition, self.runs = partition, runs

    @property
    def last_position(self) -> int:
        """Of the last entry: where the page ends in the direction in which it was read."""
        return self.runs[-1].positions[-1]

    def __len__(self) -> int:
        return sum(len(run.values) for run in self.runs)

    def __iter__(self) -> Iterator[Entry]:
        for run in self.runs:
            yield from unpack_all(self.partition, repeat(run.epoch), run.positions, run.values)


def unpack_all(
    partition: int, epochs: Iterable[int], positions: Iterable[int], values: Sequence[bytes]
) -> Iterator[Entry]:
    """`unpack_at` of each value. Raises LogDamaged."""

    def carefully(epoch: int, position: int, value: bytes) -> Entry:
        return unpack_at(partition, epoch, position, value)

    return make_all(Entry, _as_stored, carefully, partition, epochs, positions, values, system=True)


def _as_stored(name: str, schema_version: int) -> Kind:
    return name, schema_version, bytes


def make_all(
    make: Callable[..., T],
    kind: Callable[[str, int], Kind],
    carefully: Callable[[int, int, bytes], T],
    partition: int,
    epochs: Iterable[int],
    positions: Iterable[int],
    values: Sequence[bytes],
    *,
    system: bool,
) -> Iterator[T]:
    """What readers get of each value, as it is asked for: `make` is Entry or RecordedEvent, `kind` tells of a stored
    type and schema version what they are shown as, and what makes the data. Without `system`, events of system streams
    are passed over.

    Every event that is read goes through here, at 1.5 us with its data; so what can be is done once: for the page (its
    UUIDs, 0.2 us each), for each kind, and for each call that appended several (their stream and correlation id).
    """
    kinds: dict[bytes, Kind] = {}
    tails: dict[bytes, tuple[str, str | None]] = {}
    for value, event_id, epoch, position in zip(values, _ids(values), epochs, positions, strict=False):
        try:
            fmt, recorded_at, high, low, length, type_length = _unpack_head(value)
            data_start, data_end = _TYPE_START + type_length, _CONTENT_START + length
            if fmt != FORMAT or data_start > data_end:
                raise ValueError  # noqa: TRY301 - caught below, with all else that may be wrong
            tail = value[data_end:]
            stream_end = 2 + (tail[0] << 8 | tail[1])
            if stream_end == len(tail):
                stream, metadata = tail[2:].decode(), Metadata(correlation_id=uuid_text(event_id))
            elif (shared := tails.get(tail)) is not None:
                stream, metadata = shared[0], Metadata(correlation_id=shared[1])
            elif stream_end > len(tail):
                raise ValueError  # noqa: TRY301 - likewise
            else:
                stream, own_id = tail[2:stream_end].decode(), uuid_text(event_id)
                metadata = unpack_metadata(tail[stream_end:], own_id)
                if metadata == Metadata(correlation_id=metadata.correlation_id) != Metadata(correlation_id=own_id):
                    tails[tail] = stream, metadata.correlation_id
            if not system and stream[0] == "$":
                continue
            stored = value[_CONTENT_START:data_start]
            known = kinds.get(stored)
            if known is None:
                known = kinds[stored] = kind(str(stored[3:], "utf-8"), stored[0] << 8 | stored[1])
            name, schema_version, read = known
            made = make(
                event_id,
                stream,
                high << 32 | low,
                partition,
                epoch,
                position,
                recorded_at,
                name,
                schema_version,
                read(value[data_start:data_end]),
                metadata,
            )
        except Exception:  # noqa: BLE001 - the user's types are asked, and may raise anything: found again with care
            made = carefully(epoch, position, value)
        yield made


def _ids(values: Sequence[bytes]) -> list[UUID]:
    """Of a value that is too short to have one: any."""
    if not values:
        return []
    raw = _UUID_FOLLOWS.join([value[_RAW_ID] for value in values])
    if len(raw) != len(values) * _UUID_BYTES - len(_UUID_FOLLOWS):
        raw = _UUID_FOLLOWS.join([value[_RAW_ID].ljust(16, b"\0") for value in values])
    return _unpack_uuids(b"\xdd" + len(values).to_bytes(4, "big") + _UUID_FOLLOWS + raw)
