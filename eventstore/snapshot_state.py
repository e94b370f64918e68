"""The bytes of a state: MessagePack, which also holds keys that are no text, and infinity. Where only JSON brings the
state back as it was (a datetime with the offset from UTC that it had, an int of more than 64 bits), JSON behind a byte
with which no MessagePack begins."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from eventstore.fold import Fold
from eventstore.sameness import is_same

S = TypeVar("S")
_JSON = b"\xc1"
_WAYS: tuple[tuple[bytes, Callable[[Any], bytes]], ...] = (
    (b"", msgspec.msgpack.Encoder().encode),
    (_JSON, msgspec.json.Encoder().encode),
)


def pack(fold: Fold[S], state: S) -> bytes:
    """The bytes from which `unpack` makes the very state. Raises ValueError if there are none."""
    why = ""
    for mark, encode in _WAYS:
        try:
            packed = mark + encode(state)
            back = unpack(fold, packed)
            if is_same(back, state):
                return packed
            said = f"it comes back as another: {back!r:.200}"
        except Exception as error:  # noqa: BLE001 - the types of the user are asked, and may raise anything
            said = f"{type(error).__name__}: {error}"
        why = why or said
    raise ValueError(why)


def unpack(fold: Fold[S], packed: bytes) -> S:
    """The state of a snapshot. Raises what msgspec raises, and what the types of the user do."""
    return fold.decode_json(packed[1:]) if packed.startswith(_JSON) else fold.decode(packed)
