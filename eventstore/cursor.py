"""A place in all partitions: how far a reader has come in each, never a time.

A time would lose events: clocks differ, and an event may be recorded lower than one that was delivered before it.
The text is base64url of a checksum and a MessagePack array `[format, epoch, position, epoch, position, ...]`.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from zlib import crc32

import msgspec
from msgspec import Struct

from eventstore.arguments import must_be, whole_number
from eventstore.codec import Entry
from eventstore.envelope import Receipt, RecordedEvent
from eventstore.errors import InvalidRequest

FORMAT = 1
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[int]).decode

Place = tuple[int, int]
"""(epoch, position) of the last event of a partition that lies behind; (0, 0) before the first."""
_WHAT_WAS_READ = "give a RecordedEvent or the Receipt of an append"


class Cursor(Struct, frozen=True):
    """Opaque to users: `str(cursor)` to keep it, `Cursor.parse(text)` to go on from there."""

    places: tuple[Place, ...]

    @classmethod
    def start(cls, partitions: int) -> "Cursor":
        """Before the first event of every partition."""
        whole_number("the number of partitions of the log", partitions=partitions)
        return cls(((0, 0),) * partitions)

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises InvalidRequest for anything but the unchanged text of a cursor."""
        try:
            packed = urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            stored_format, *numbers = _decode(packed[4:])
        except (AttributeError, UnicodeEncodeError, Base64Error, ValueError, msgspec.MsgspecError) as error:
            raise _unusable("is no cursor") from error
        if stored_format != FORMAT or len(numbers) % 2 or not numbers or min(numbers) < 0:
            raise _unusable("is no cursor of this release")
        cursor = cls(tuple(zip(numbers[::2], numbers[1::2], strict=True)))
        if str(cursor) != text:
            raise _unusable("is damaged")
        return cursor

    def __str__(self) -> str:
        packed = _encode([FORMAT, *(number for place in self.places for number in place)])
        return urlsafe_b64encode(crc32(packed).to_bytes(4, "big") + packed).rstrip(b"=").decode()

    def after(self, event: RecordedEvent | Receipt | Entry) -> "Cursor":
        """The cursor of a reader that has also had this event."""
        must_be(RecordedEvent | Receipt | Entry, _WHAT_WAS_READ, event=event)
        return self._with(event.partition, (event.epoch, event.position))

    def before(self, event: RecordedEvent | Receipt | Entry) -> "Cursor":
        """The cursor of a reader that reads backwards and has also had this event."""
        must_be(RecordedEvent | Receipt | Entry, _WHAT_WAS_READ, event=event)
        below = event.position - 1
        return self._with(event.partition, (event.epoch, below) if below else (0, 0))

    def _with(self, partition: int, place: Place) -> "Cursor":
        if not 0 <= partition < len(self.places):
            raise _unusable(f"has no partition {partition}")
        return Cursor((*self.places[:partition], place, *self.places[partition + 1 :]))


def usable(cursor: Cursor, partitions: int) -> Cursor:
    """The cursor, if it is one, of a log with that many partitions. Raises InvalidRequest."""
    must_be(Cursor, "give a Cursor: Cursor.parse(text) makes one of its text", cursor=cursor)
    try:
        places = msgspec.convert(cursor.places, tuple[Place, ...])
    except msgspec.ValidationError as error:
        raise _unusable("was not made by this log") from error
    if len(places) != partitions:
        raise _unusable(f"is of a log with {len(places)} partitions, this one has {partitions}")
    return cursor


def _unusable(why: str) -> InvalidRequest:
    return InvalidRequest(f"the cursor {why}", field="cursor", remedy="use the text that this log gave, unchanged")
