"""Brings orders to whoever can carry them out, and waits for what becomes of them.

somebody has the lease     it is woken, carries them out between two handlings of their streams, and notes the outcome
nobody has it              it is taken here for a moment, they are carried out in one commit, and it is given back;
                           of a projection not, for its rows are kept elsewhere: they wait for a worker of it

Whoever the holder is, it may change or die meanwhile: the orders lie with the rows, not with it. What has no outcome in
time is withdrawn; a holder that is just carrying it out does so all the same.
"""

import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import anyio
from msgspec import Struct

from consumers.commit_call import commit
from consumers.errors import EventStoreError, Stale, Unavailable
from consumers.group_name import PROJECTIONS
from consumers.holder import Holder
from consumers.keys import GroupKeys
from consumers.lease_calls import Held, acquire, release
from consumers.order_calls import give_order, take_outcomes, withdraw
from consumers.state import Commit, Order, Token
from eventstore.log import Log
from infrastructure.tasks import to_the_end, together

WAIT_SECONDS = 15.0
"""Longer than a lease: the orders for a holder that has died are carried out here."""
LEASE_MS = 10_000
LOOK_SECONDS = 0.5
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.005, 0.1


class Delivered(Struct, frozen=True):
    """By ids: `outcomes` of the orders that were dealt with (True: carried out; False: too late), `unanswered` the
    others. `by_holder` if somebody else had the lease at last."""

    outcomes: dict[str, bool]
    unanswered: frozenset[str]
    by_holder: bool


async def deliver(
    log: Log, keys: GroupKeys, orders: Sequence[Order], *, wait_seconds: float = WAIT_SECONDS
) -> Delivered:
    """Raises GroupNotFound, Overloaded, Unavailable, LogDamaged; then, and when it is cancelled, what has no outcome
    yet is withdrawn."""
    delivery = _Delivery(log, keys, orders)
    try:
        await delivery.wait(anyio.current_time() + wait_seconds)
    finally:
        await to_the_end(delivery.end)
    return Delivered(delivery.outcomes, frozenset(delivery.open), delivery.is_held)


class _Delivery:
    def __init__(self, log: Log, keys: GroupKeys, orders: Sequence[Order]) -> None:
        self._log, self._keys = log, keys
        self.open = {order.id: order for order in orders}
        self.outcomes: dict[str, bool] = {}
        self.is_held = False

    async def wait(self, until: float) -> None:
        given = await together([partial(give_order, self._log, self._keys, each) for each in self.open.values()])
        self.is_held = all(each.held for each in given)
        pause, looked_at = FIRST_PAUSE_SECONDS, anyio.current_time()
        while True:
            if not self.is_held and not self._keys.group.startswith(PROJECTIONS):
                self.is_held = not await carry_out(self._log, self._keys)
            self._note(await take_outcomes(self._log, self._keys, list(self.open)))
            now = anyio.current_time()
            if not self.open or now > until:
                return
            if now - looked_at > LOOK_SECONDS:
                looked_at = now
                again = await give_order(self._log, self._keys, next(iter(self.open.values())))
                self.is_held = again.held is not None
            await anyio.sleep(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)

    async def end(self) -> None:
        """Nobody waits any longer."""
        if not self.open:
            return
        with suppress(Unavailable):  # then the orders stay, and are carried out some time
            self._note(await withdraw(self._log, self._keys, list(self.open)))

    def _note(self, outcomes: dict[str, bool]) -> None:
        self.outcomes |= outcomes
        for order_id in outcomes:
            del self.open[order_id]


async def carry_out(log: Log, keys: GroupKeys) -> bool:
    """Carries out the orders of a partition whose lease nobody has. False if somebody has it. Raises GroupNotFound,
    LogDamaged, Unavailable."""
    me = f"operator-{secrets.token_hex(4)}"
    stored = await acquire(log, keys, me, LEASE_MS)
    if isinstance(stored, Held):
        return False
    token = stored.token(me)
    try:
        holder = Holder(stored, token)
        holder.obey()
        if call := holder.prepare():
            await _committed(log, keys, call)
    except Stale:
        return False
    finally:
        await to_the_end(partial(_give_back, log, keys, token))
    return True


async def _committed(log: Log, keys: GroupKeys, call: Commit) -> None:
    """The same call again while its outcome is not known; without one the lease is dropped, and nobody knows more."""
    until = anyio.current_time() + LEASE_MS / 1_000
    while True:
        try:
            await commit(log, keys, call)
        except Unavailable as error:
            if error.is_final or anyio.current_time() > until:
                raise
        else:
            return
        await anyio.sleep(LAST_PAUSE_SECONDS)


async def _give_back(log: Log, keys: GroupKeys, token: Token) -> None:
    with suppress(EventStoreError):  # it ends by itself
        await release(log, keys, token)
