"""The leases of a member: renewed from a thread of its own, and given up when they cannot be relied on any more.

    who                 sees                                          then
    the thread          a third of a lease's time has gone            renews all, in one exchange with each server
    the thread          the answer says: stale                        the lease is lost, the main loop is told
    the thread          no answer: the server or the network is gone  tries again each 1/30 of a lease
    anybody             its time is over by one's own clock           the lease is lost: the member fences itself
    the thread          the main loop does not beat any more          renews nothing, so that another member takes over
    the server          the time is over by its clock                 gives the lease to who asks first, with a new term

The time of a lease is counted from before it was asked for, so that a member takes it for lost before the server does,
whatever the network does; only a clock of the server that jumps ahead is first, and then the token refuses what the
member does in Redis. The thread has an event loop and connections of its own: a handler that blocks the main loop for
a while costs no lease. But one that never comes back must cost it, or its partitions would stand still for ever: the
main loop beats, and if it has not for longer than any attempt may take, the thread lets the leases lapse.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from math import inf
from typing import TYPE_CHECKING, NoReturn

import anyio
import structlog

from consumers.errors import Stale
from consumers.keys import GroupKeys
from consumers.lease_calls import Renewed, renew_all
from consumers.state import Token
from eventstore.errors import Unavailable
from infrastructure.connect import Redis, connect
from infrastructure.tasks import to_the_end

if TYPE_CHECKING:
    from infrastructure.settings import RedisSettings

LEASE_SECONDS = 10.0
RENEWALS = 3
"""How often in the time of a lease it is renewed."""
TRIES = 30
"""How often in the time of a lease a renewal is tried again that did not succeed."""
OLDEST_ANSWER_MS = 60_000
"""Among those that may still come, when newer ones have come."""

logger = structlog.get_logger(__name__)
OnChange = Callable[["Lease"], None]


def now() -> float:
    """Seconds of the clock by which leases end. It goes on while the machine sleeps, where the system has such one."""
    return _clock()


def _boot_time() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_clock: Callable[[], float] = _boot_time if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic


class Lease:
    """A lease that this process holds, or held. Every thread may read it."""

    def __init__(self, keys: GroupKeys, token: Token, until: float, server_ms: int, paused: str) -> None:
        self.keys, self.token = keys, token
        self.until = until
        """By `now`. It grows with each renewal."""
        self.paused = paused
        """Who paused the group and why, by the newest answer; empty if nobody has."""
        self._paused_as_of_ms = server_ms
        self._pausing = threading.Lock()
        self.is_dropped = False
        self._why_lost: str | None = None
        self._ahead_ms = server_ms - now() * 1_000

    @property
    def partition(self) -> int:
        return self.keys.partition

    @property
    def lost(self) -> str | None:
        """Why it must not be relied on any more; None while it may be. It asks the clock, so it is right also while the
        thread and the main loop stand still."""
        if self._why_lost is None and now() >= self.until:
            self._why_lost = "it was not renewed in time"
        return self._why_lost

    @property
    def server_ms(self) -> int:
        """The time of the partition's server, about: milliseconds since 1970."""
        return round(now() * 1_000 + self._ahead_ms)

    def tell_paused(self, paused: str, at_ms: int) -> bool:
        """What an answer said of the group, at that time of its server; whether that is news. Answers to a renewal, to
        a commit and to a look may come in another order than they were given in: one that is older than what is known
        changes nothing, unless it is so old that the server's clock must have been set back."""
        with self._pausing:
            if 0 < self._paused_as_of_ms - at_ms < OLDEST_ANSWER_MS:
                return False
            self._paused_as_of_ms = at_ms
            before, self.paused = self.paused, paused
            return before != paused

    # ---- for the thread ----

    def lose(self, why: str) -> None:
        self._why_lost = self._why_lost or why

    def renewed(self, until: float, server_ms: int) -> None:
        """Once lost it stays lost, for somebody may have acted on that."""
        if self.lost is None:
            self.until = max(self.until, until)
            self._ahead_ms = server_ms - now() * 1_000


@asynccontextmanager
async def renewals(
    settings: "RedisSettings",
    on_change: OnChange,
    *,
    lease_seconds: float = LEASE_SECONDS,
    hung_after_seconds: float,
) -> "AsyncIterator[Renewals]":
    """The thread, for as long as the block lasts. `settings` are those of the log's connection, `log.redis.settings`.
    `on_change` is called in the loop of the caller when a lease was lost, and when its group was paused or resumed. The
    thread renews only while the caller beats: `hung_after_seconds` is the longest silence that is no reason to believe
    that its loop hangs. Leaving renews no more, and releases nothing. Raises at its end what the thread died of, if it
    did; all leases were lost then."""
    running = Renewals(settings, on_change, lease_seconds, hung_after_seconds)
    running.start()
    try:
        yield running
    finally:
        await to_the_end(running.stop)
    if running.failure is not None:
        raise running.failure


class Renewals:
    """Made by `renewals`."""

    def __init__(
        self, settings: "RedisSettings", on_change: OnChange, lease_seconds: float, hung_after_seconds: float
    ) -> None:
        self.lease_seconds, self.hung_after_seconds = lease_seconds, hung_after_seconds
        self.failure: Exception | None = None
        self._settings, self._on_change = settings, on_change
        self._beaten_at = now()
        self._is_hung = False
        self._handed: set[Lease] = set()  # of which the thread has not heard yet
        self._leases: set[Lease] = set()  # the thread's own, as the next one is
        self._complained_of: set[Lease] = set()
        self._main, self._loop = asyncio.get_running_loop(), asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._stopping, self._ended = asyncio.Event(), asyncio.Event()
        self._added_to_expire, self._added_to_renew = asyncio.Event(), asyncio.Event()

    # ---- for the main loop ----

    def beat(self) -> None:
        """Says that the main loop is well."""
        self._beaten_at = now()

    def hold(self, keys: GroupKeys, token: Token, *, asked_at: float, server_ms: int, paused: str = "") -> Lease:
        """Renews a lease from now on. `asked_at` is `now()` of before it was asked for; `server_ms` and `paused` are
        what the answer said. Raises what the thread died of."""
        lease = Lease(keys, token, asked_at + self.lease_seconds, server_ms, paused)
        self._handed.add(lease)  # first: the thread may die before it has heard of it
        if self.failure is not None:
            raise self.failure
        self._tell_thread(self._add, lease)
        return lease

    def drop(self, lease: Lease) -> None:
        """Renews it no more, and tells no more of it. For one that is released, or is to lapse."""
        lease.is_dropped = True
        self._tell_thread(self._drop, lease)

    def start(self) -> None:
        """For `renewals`."""
        self._thread.start()

    async def stop(self) -> None:
        """For `renewals`."""
        self._tell_thread(self._stopping.set)
        await self._ended.wait()
        self._thread.join()

    def _tell_thread(self, call: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # it has ended, and its loop is closed
            self._loop.call_soon_threadsafe(call, *args)

    # ---- in the thread ----

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._live())
        except Exception as error:
            self.failure = error
            logger.exception("lease_thread_died")
            self._leases |= self._handed
            for lease in list(self._leases):
                self._lose(lease, "the thread that renews it has died")
        self._tell_main(self._ended.set)

    async def _live(self) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._expire)
            tasks.start_soon(self._renew)
            await self._stopping.wait()
            tasks.cancel_scope.cancel()

    def _add(self, lease: Lease) -> None:
        self._leases.add(lease)
        self._handed.discard(lease)
        self._added_to_expire.set()
        self._added_to_renew.set()

    def _drop(self, lease: Lease) -> None:
        self._leases.discard(lease)
        self._complained_of.discard(lease)

    async def _expire(self) -> None:
        """Loses each lease at its time. Apart from the renewing, which waits for servers."""
        while True:
            self._added_to_expire.clear()
            for lease in [lease for lease in self._leases if lease.lost is not None]:
                self._lose(lease, "")
            await self._passed(min((lease.until for lease in self._leases), default=inf), self._added_to_expire)

    async def _renew(self) -> None:
        while True:
            try:
                async with connect(self._settings) as redis:
                    await self._renew_by(redis)
            except Unavailable as error:
                self._complain(self._leases, str(error))
            await anyio.sleep(self.lease_seconds / TRIES)

    async def _renew_by(self, redis: Redis) -> NoReturn:
        """Whatever was not renewed, for whatever reason, is the soonest to end, and so decides when to try again."""
        third, moment = self.lease_seconds / RENEWALS, self.lease_seconds / TRIES
        tried_at = 0.0
        while True:
            self._added_to_renew.clear()
            soonest = min((lease.until for lease in self._leases), default=inf)
            due = max(soonest - self.lease_seconds + third, tried_at + moment)
            if await self._passed(due, self._added_to_renew):
                tried_at = now()
                if self._main_is_well():
                    await self._round(redis, third)

    async def _passed(self, moment: float, event: asyncio.Event) -> bool:
        """Waits for a moment, or until the event is set before it: False."""
        with anyio.move_on_after(max(moment - now(), 0)):
            await event.wait()
            return False
        return True

    def _main_is_well(self) -> bool:
        silent = now() - self._beaten_at
        was_hung, self._is_hung = self._is_hung, silent > self.hung_after_seconds
        if self._is_hung and not was_hung:
            logger.error(
                "member_hangs",
                silent_seconds=round(silent, 1),
                leases=len(self._leases),
                remedy="its leases are left to others; look what blocks its event loop: a handler that is async must"
                " await what takes time, or be an ordinary function, which runs in a thread",
            )
        elif was_hung and not self._is_hung:
            logger.warning("member_goes_on")
        return not self._is_hung

    async def _round(self, redis: Redis, patience: float) -> None:
        """Tries once to renew all. What fails is tried again by the next round, which is near then. In a Cluster each
        by itself: a node that does not answer must not keep the answers of the others."""
        leases = [lease for lease in self._leases if lease.lost is None]
        if not leases:
            return
        async with anyio.create_task_group() as tasks:
            for some in ([lease] for lease in leases) if redis.is_cluster else [leases]:
                tasks.start_soon(self._renew_some, redis, some, patience)

    async def _renew_some(self, redis: Redis, leases: Sequence[Lease], patience: float) -> None:
        asked_at = now()
        try:
            with anyio.fail_after(patience):
                told = [(lease.keys, lease.token) for lease in leases]
                answers = await renew_all(redis, told, round(self.lease_seconds * 1_000))
        except TimeoutError:
            self._complain(leases, f"no answer within {patience:.1f} s")
            return
        failed, error = [], ""
        for lease, answer in zip(leases, answers, strict=True):
            if isinstance(answer, Stale):
                self._lose(lease, answer.why)
            elif isinstance(answer, Renewed):
                self._renewed(lease, asked_at, answer)
            else:
                failed.append(lease)
                error = str(answer)
        self._complain(failed, error)

    def _complain(self, leases: Collection[Lease], error: str) -> None:
        """Of leases that will soon be lost, once: another try follows in a moment, and most often succeeds."""
        soon = now() + self.lease_seconds / 2
        ending = {lease for lease in leases if lease.until < soon and not lease.is_dropped and lease.lost is None}
        if ending and not self._complained_of:
            seconds = round(min(lease.until for lease in ending) - now(), 1)
            logger.warning("leases_not_renewed", leases=len(ending), lost_in_seconds=seconds, error=error)
        self._complained_of |= ending

    def _renewed(self, lease: Lease, asked_at: float, answer: Renewed) -> None:
        self._complained_of.discard(lease)
        lease.renewed(asked_at + self.lease_seconds, answer.now_ms)
        if lease.tell_paused(answer.paused, answer.now_ms):
            self._tell_main(self._tell_of, lease)

    def _lose(self, lease: Lease, why: str) -> None:
        lease.lose(why)
        self._complained_of.discard(lease)
        if lease in self._leases:
            self._leases.discard(lease)
            self._tell_main(self._tell_of, lease)

    # ---- in the main loop again ----

    def _tell_main(self, call: Callable[..., object], *args: object) -> None:
        with suppress(RuntimeError):  # it is closed: there is nobody to tell
            self._main.call_soon_threadsafe(call, *args)

    def _tell_of(self, lease: Lease) -> None:
        if not lease.is_dropped:
            self._on_change(lease)
