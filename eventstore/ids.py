"""Ids of events: UUIDs of version 7, which sort by the time at which they were made."""

import sys
from uuid import UUID

if sys.version_info >= (3, 14):
    from uuid import uuid7 as new_id
else:
    import msgspec
    from uuid_utils import uuid7

    _from_msgpack = msgspec.msgpack.Decoder(UUID).decode

    def new_id() -> UUID:
        """A new id. By way of MessagePack, whose decoder makes the UUID in half the time of its constructor."""
        return _from_msgpack(b"\xc4\x10" + uuid7().bytes)


__all__ = ["new_id"]
