"""Events of one partition handled one after the other, as they were read: the way of most of them.

`Owned.take` and `Owned.succeeded` choose among lanes, which are there for handlers that wait. While none does, nothing
is to be chosen: the next event is the one behind the last. So this is a generator, which does for each event what must
be done for each, half a microsecond's worth, and ends as soon as there is anything else to think of.
"""

from collections.abc import Iterator, Sized

from consumers.deliveries import Delivery
from consumers.lease import now
from consumers.owned import Owned


def in_order(owned: Owned, until: float, hurried: Sized) -> Iterator[Delivery]:
    """What may be handled next, until a time by the clock of leases, or until some partition is hurried. Whoever asks
    for the next event says that the one before has succeeded; what it brought was told by `Owned.brings`. If the next
    is not asked for, the last remains in hands, as if it had been taken by `take`. It may end though there is more:
    `take` tells."""
    if owned.holds_replays_back:
        return
    holder, lease, first_failed_us = owned.holder, owned.lease, owned.first_failed_us
    ahead, others, bringing = holder.ahead, holder.others, holder.bringing
    events = ahead.events
    owned.in_hands += 1
    # Anything of this may change while a handler waits, and the lease may end even if none does.
    while (
        owned.lost is None
        and not owned.draining
        and ahead.alone is None
        and not others.count
        and not hurried
        and not bringing.is_laden
        and not lease.paused
        and until > now() < lease.until
    ):
        if not events:
            if owned.unpack():
                continue
            break
        ahead.alone = event = events.popleft()
        yield event
        if ahead.alone is event:
            ahead.alone = None
        elif owned.lost is None:
            holder.succeeded(event)
        if first_failed_us:
            first_failed_us.pop(event.stream, None)
        if not owned.is_told:
            owned.tell()
    owned.in_hands -= 1
