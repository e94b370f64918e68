"""What operators tell the holder of a lease, as calls of scripts: orders about a stream, and to pause."""

from collections.abc import Sequence

from msgspec import Struct

from consumers.errors import GroupNotFound
from consumers.keys import GroupKeys
from consumers.lease_calls import Held
from consumers.orders import pack_order
from consumers.scripted import ask, ask_durably
from consumers.state import Order, Row
from eventstore.errors import Overloaded
from eventstore.log import Log
from infrastructure import lua
from infrastructure.patience import replies

MOST_ORDERS = 1_000
"""Of a group in one partition, those included whose outcome was not fetched: every commit reads them all."""
_order = lua.load("consumers", "order")
_pause = lua.load("consumers", "pause")
_withdraw = lua.load("consumers", "withdraw")


class Given(Struct, frozen=True):
    """How things stood when the order was given: the row of the stream, if it has one, and who has the lease, if
    anybody has. Without a holder whoever gave the order takes the lease and carries it out."""

    row: Row | None
    held: Held | None
    now_ms: int


async def give_order(log: Log, keys: GroupKeys, order: Order) -> Given:
    """Leaves an order for the holder of the lease, and wakes it. Repeated under the same id it is given once. Raises
    GroupNotFound, Overloaded (nothing was written), Unavailable."""
    used = [keys.head, keys.control, keys.detached, keys.orders, keys.bell]
    reply = await ask_durably(log, _order, used, [order.id, pack_order(order), order.stream, MOST_ORDERS])
    match reply:
        case [b"missing"]:
            raise GroupNotFound(keys.group)
        case [b"full", there]:
            raise Overloaded(keys.partition, f"orders of the group {keys.group}", there, MOST_ORDERS)
    _, row, now_ms, owner, until_ms = reply
    held = None if owner is None else Held(owner.decode(), until_ms, now_ms)
    return Given(None if row is None else Row.parse(row), held, now_ms)


async def take_outcomes(log: Log, keys: GroupKeys, order_ids: Sequence[str]) -> dict[str, bool]:
    """Of these orders those that have been dealt with: True if carried out, False if it was too late for that. They are
    forgotten with it. Raises Unavailable."""
    if not order_ids:
        return {}
    (texts,) = await replies(log.redis, keys.orders, ("HMGET", keys.orders, *order_ids))
    outcomes = _outcomes(order_ids, texts)
    if outcomes:
        await replies(log.redis, keys.orders, ("HDEL", keys.orders, *outcomes))
    return outcomes


async def withdraw(log: Log, keys: GroupKeys, order_ids: Sequence[str]) -> dict[str, bool]:
    """Nobody waits for these any more, and their holder hears of it. One that it is just carrying out is still carried
    out. Returns what has become of those that were dealt with before, as `take_outcomes` does. Raises Unavailable."""
    if not order_ids:
        return {}
    return _outcomes(order_ids, await ask(log, _withdraw, [keys.orders, keys.bell], order_ids))


def _outcomes(order_ids: Sequence[str], texts: Sequence[bytes | None]) -> dict[str, bool]:
    known = zip(order_ids, texts, strict=True)
    return {order_id: text.startswith(b"=done") for order_id, text in known if text and text[:1] == b"="}


async def pause(log: Log, keys: GroupKeys, why: str) -> None:
    """Pauses the group in this partition, `why` for people to read; with nothing it goes on. Raises GroupNotFound,
    Unavailable."""
    if not await ask_durably(log, _pause, [keys.control, keys.bell], [why]):
        raise GroupNotFound(keys.group)
