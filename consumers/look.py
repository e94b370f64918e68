"""One look at what others may have changed of a group in a partition, while its holder was busy or asleep."""

from msgspec import Struct

from consumers.errors import GroupNotFound
from consumers.failure import Failure
from consumers.keys import GroupKeys
from consumers.orders import open_orders
from consumers.state import Order, Token
from eventstore.log import Log
from infrastructure.patience import replies


class Seen(Struct, frozen=True):
    """`paused` tells who has paused the group and why; empty if nobody has. `now_ms` is the server's time then."""

    token: Token
    paused: str
    orders: tuple[Order, ...]
    now_ms: int


async def look(log: Log, keys: GroupKeys) -> Seen:
    """Raises GroupNotFound, Unavailable."""
    control, orders, (seconds, microseconds) = await replies(
        log.redis,
        keys.control,
        ("HMGET", keys.control, "owner", "term", "epoch", "paused"),
        ("HGETALL", keys.orders),
        ("TIME",),
    )
    owner, term, epoch, paused = control
    if term is None:
        raise GroupNotFound(keys.group)
    now_ms = int(seconds) * 1_000 + int(microseconds) // 1_000
    return Seen(Token(owner.decode(), int(term), int(epoch)), paused.decode(), open_orders(orders), now_ms)


async def first_failure(log: Log, keys: GroupKeys, stream: str) -> int:
    """When the event that its stream waits for has failed first, in microseconds since 1970; 0 if nobody noted it.
    Raises LogDamaged, Unavailable."""
    (packed,) = await replies(log.redis, keys.errors, ("HGET", keys.errors, stream))
    return 0 if packed is None else Failure.parse(packed).first_failed_us
