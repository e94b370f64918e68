"""Orders as they are stored: `retry 7 order-42` until the holder of the lease has carried it out, then what became of
it, `=done 1795604542245` or `=late ...` with the server's time in ms, until whoever gave the order deletes it."""

from collections.abc import Sequence
from typing import cast

from consumers.state import Order, OrderKind
from eventstore.errors import LogDamaged

_KINDS = ("retry", "discard")


def pack_order(order: Order) -> str:
    return f"{order.kind} {order.version} {order.stream}"


def open_orders(fields: Sequence[bytes]) -> tuple[Order, ...]:
    """Those of a hash, given as field, value, field, ..., that wait to be carried out. Raises LogDamaged."""
    pairs = zip(fields[::2], fields[1::2], strict=True)
    return tuple(_order(order_id.decode(), text.decode()) for order_id, text in pairs if text[:1] not in (b"", b"="))


def _order(order_id: str, text: str) -> Order:
    kind, _, rest = text.partition(" ")
    version, _, stream = rest.partition(" ")
    if kind not in _KINDS or not version.isdecimal() or not stream:
        raise LogDamaged(f"order {order_id} of a group reads {text[:80]!r}")
    return Order(order_id, cast("OrderKind", kind), stream, int(version))
