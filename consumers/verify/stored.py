"""All that is stored of a group in one partition, as of one moment."""

from msgspec import Struct

from consumers.keys import GroupKeys
from consumers.scripted import ask
from eventstore.log import Log
from infrastructure import lua
from infrastructure.connect import Reply

MOST_PENDING = 100_000
_stored_group = lua.load("consumers", "stored_group")


class Shown(Struct, frozen=True):
    """What the Redis group shows. `pending`: id of an entry -> consumer and delivery count."""

    offset: str
    entries_read: int
    pending: dict[str, tuple[str, int]]


class StoredGroup(Struct, frozen=True):
    """`control` is empty where there is nothing of the group. `damaged` are keys of another type, and what Redis says
    of them; the rest of them is empty then."""

    control: dict[str, str]
    head: int
    epochs: bytes
    missing: tuple[str, ...]
    damaged: dict[str, str]
    rows: dict[str, bytes]
    due: dict[str, float]
    failing: frozenset[str]
    orders: dict[str, bytes]
    shown: Shown | None


async def stored_group(log: Log, keys: GroupKeys) -> StoredGroup:
    """Raises Unavailable, LogDamaged."""
    used = [keys.head, keys.log, keys.control, keys.detached, keys.due, keys.orders, keys.errors, keys.bell]
    head, epochs, missing, shown, *told = await ask(log, _stored_group, used, [keys.group, MOST_PENDING])
    named = dict(zip((keys.control, keys.detached, keys.due, keys.errors, keys.orders), told, strict=True))
    damaged = {key: _text(reply) for key, reply in named.items() if isinstance(reply, bytes)}
    control, rows, due, failing, orders = ([] if isinstance(reply, bytes) else reply for reply in told)
    return StoredGroup(
        control={name: _text(value) for name, value in _pairs(control).items()},
        head=int(head or 0),
        epochs=epochs or b"",
        missing=tuple(map(_text, missing)),
        damaged=damaged,
        rows={stream: row for stream, row in _pairs(rows).items() if stream},
        due={stream: float(due_ms) for stream, due_ms in _pairs(due).items() if stream},
        failing=frozenset(map(_text, failing)) - {""},
        orders={order_id: order for order_id, order in _pairs(orders).items() if order_id},
        shown=_shown(shown),
    )


def _shown(reply: Reply) -> Shown | None:
    if not reply:
        return None
    offset, entries_read, pending = reply
    return Shown(_text(offset), entries_read, {_text(at): (_text(name), count) for at, name, _, count in pending})


def _pairs(flat: Reply) -> dict[str, bytes]:
    return {_text(name): value for name, value in zip(flat[::2], flat[1::2], strict=True)}


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
