"""The scripts of timers on a real server beside a model, driven by chance: events are scheduled, taken back, appended
under ids that wait; several workers look, fire what they have seen, late, twice or in part; clocks go on and back,
servers restart, and fail over to what they had before. Each answer is compared, and all that is stored."""

import random
from copy import deepcopy
from typing import Any
from uuid import UUID

import msgspec
from anyio.from_thread import BlockingPortal

from consumers.keys import timer_keys
from consumers.timers.calls import schedule_event, unschedule
from consumers.timers.firing import Due, Told, fire, look
from eventstore import EventStore, codec
from eventstore.errors import IdConflict
from eventstore.log import Log
from infrastructure import lua
from infrastructure.patience import answer
from tests.support.logs import Failover, stream_in
from tests.support.servers import Server
from tests.support.stores import Noted, forget_ids
from tests.support.timers import noted

PARTITION, PARTITIONS = 1, 2
STREAMS = [stream_in(PARTITION, PARTITIONS, category) for category in ("one", "two", "three")]
WORKERS = range(3)
MOST_IDS, PAGE, AHEAD = 12, 4, 10
LONG = 10**9


class Model(msgspec.Struct):
    """One partition. `log` has id, stream and number of each event; `fired_at` the moment at which a timer was fired,
    and when it was due."""

    waiting: dict[UUID, tuple[int, str, int]] = {}
    log: list[tuple[UUID, str, int]] = []
    known: dict[UUID, tuple[str, int]] = {}
    fired_at: list[tuple[int, int]] = []

    def schedule(self, event_id: UUID, stream: str, n: int, due: int) -> bool | str:
        if event_id in self.waiting:
            return False if self.waiting[event_id][1:] == (stream, n) else "conflict"
        if event_id in self.known:
            return False if self.known[event_id] == (stream, n) else "conflict"
        self.waiting[event_id] = (due, stream, n)
        return True

    def unschedule(self, event_id: UUID, stream: str) -> bool:
        if self.waiting.get(event_id, (0, ""))[1] != stream:
            return False
        del self.waiting[event_id]
        return True

    def append(self, event_id: UUID, stream: str, n: int) -> bool:
        if event_id in self.known:
            return self.known[event_id] == (stream, n)
        self.log.append((event_id, stream, n))
        self.known[event_id] = (stream, n)
        return True

    def due(self, now: int) -> Due:
        order = self._ordered()
        told = [each for each in order if each.due_ms <= now + AHEAD][:PAGE]
        following = order[len(told)].due_ms if len(order) > len(told) else None
        if len(told) == PAGE:
            following = told[-1].due_ms  # what lies behind a full page is not looked at
        return Due(now, following, tuple(told))

    def fire(self, timers: tuple[Told, ...], now: int) -> Due:
        fired, named = 0, {(each.id, each.stream) for each in timers}
        for each in [each for each in self._ordered() if each.due_ms <= now][:PAGE]:
            if (each.id, each.stream) not in named:
                break
            event_id = UUID(each.id.decode())
            due, stream, n = self.waiting.pop(event_id)
            if event_id not in self.known:
                self.append(event_id, stream, n)
                self.fired_at.append((due, now))
                fired += 1
        return msgspec.structs.replace(self.due(now), fired=fired)

    def _ordered(self) -> list[Told]:
        found = [Told(str(event_id).encode(), stream, due) for event_id, (due, stream, _) in self.waiting.items()]
        return sorted(found, key=lambda each: (each.due_ms, each.id))


class World:
    def __init__(self, chance: random.Random, server: Server, portal: BlockingPortal, store: EventStore) -> None:
        self.chance, self.server, self.portal, self.store, self.log = chance, server, portal, store, store.log
        self.failover = Failover(server)
        self.model, self.replicated = Model(), Model()
        self.now = 1_000
        self.seen: dict[int, Due] = {}
        self.ids = [UUID(int=n + 1, version=4) for n in range(MOST_IDS)]
        self._clear()
        self.failover.replicated()

    def step(self) -> None:
        doing = (
            [self.schedule] * 6
            + [self.look] * 4
            + [self.fire] * 6
            + [self.pass_time] * 3
            + [self.cancel] * 2
            + [self.move]
        )
        rare = [self.append, self.replicate, self.fail_over, self.restart, self.forget]
        self.chance.choice([*doing, *rare])()
        self.compare()

    def schedule(self) -> None:
        event_id, stream, n = self._an_event()
        due = self.now + self.chance.randint(-20, 40)
        try:
            answer: bool | str = self._ask(schedule_event, self.log, stream, noted(n, event_id), due * 1_000)
        except IdConflict:
            answer = "conflict"
        assert answer == self.model.schedule(event_id, stream, n, due)

    def cancel(self) -> None:
        event_id, stream, _ = self._an_event()
        assert self._ask(unschedule, self.log, stream, event_id) == self.model.unschedule(event_id, stream)

    def move(self) -> None:
        """What waits is taken back, and scheduled anew for another time and stream: who has seen it does not know."""
        if self.model.waiting:
            event_id = self.chance.choice(sorted(self.model.waiting))
            due, stream, n = self.model.waiting[event_id]
            assert self._ask(unschedule, self.log, stream, event_id)
            assert self.model.unschedule(event_id, stream)
            due, stream = due + self.chance.choice([-30, 0, 0, 30]), self.chance.choice(STREAMS)
            made = self.model.schedule(event_id, stream, n, due)
            if made != "conflict":
                assert self._ask(schedule_event, self.log, stream, noted(n, event_id), due * 1_000) == made

    def append(self) -> None:
        event_id, stream, n = self._an_event()
        try:
            self._ask(self.store.append, stream, [noted(n, event_id)])
            was_taken = True
        except IdConflict:
            was_taken = False
        assert was_taken == self.model.append(event_id, stream, n)

    def look(self) -> None:
        due: Due = self._ask(self._look)
        assert due == self.model.due(self.now)
        self.seen[self.chance.choice(WORKERS)] = due

    def fire(self) -> None:
        """By what a worker has seen, perhaps long ago, or a part of it, in any order; it may do so again."""
        worker = self.chance.choice(WORKERS)
        timers = list(self.seen[worker].told) if worker in self.seen else []
        if self.chance.random() < 0.3:
            self.chance.shuffle(timers)
            timers = timers[: self.chance.randint(0, len(timers))]
        due: Due = self._ask(self._fire, tuple(timers))
        assert due == self.model.fire(tuple(timers), self.now)
        if self.chance.random() < 0.7:
            self.seen[worker] = due

    def pass_time(self) -> None:
        self.now = max(self.now + self.chance.choice([-15, 1, 5, 25, 60]), 100)

    def replicate(self) -> None:
        self.failover.replicated()
        self.replicated = deepcopy(self.model)

    def fail_over(self) -> None:
        self.failover.happen()
        self.model = deepcopy(self.replicated)

    def restart(self) -> None:
        self.failover.restart()

    def forget(self) -> None:
        self._ask(forget_ids, self.store)
        self.model.known = {}

    def settle(self) -> None:
        """All clocks are right in the end, and one worker lives."""
        self.now += LONG
        wanted = {event_id for event_id in self.model.waiting if event_id not in self.model.known}
        before = [event_id for event_id, _, _ in self.model.log]
        while timers := self._ask(self._look).told:
            self._ask(self._fire, timers)
            self.model.fire(timers, self.now)
        self.compare()
        assert self.model.waiting == {}
        after = [event_id for event_id, _, _ in self.model.log][len(before) :]
        assert sorted(after) == sorted(wanted)

    def compare(self) -> None:
        keys, admin = timer_keys(self.log.keys, PARTITION), self.server.admin
        flat = admin("ZRANGE", keys.due, 0, -1, "WITHSCORES")
        due = {name.decode(): float(score) for name, score in zip(flat[::2], flat[1::2], strict=True) if name}
        assert due == {str(event_id): float(each[0]) for event_id, each in self.model.waiting.items()}
        assert {name.decode() for name in admin("HKEYS", keys.what) if name} == due.keys()
        events = [codec.unpack(PARTITION, at, fields[1]) for at, fields in admin("XRANGE", self._events, "-", "+")]
        assert [(e.id, e.stream, msgspec.json.decode(e.data, type=Noted).n) for e in events] == self.model.log
        assert [e.position for e in events] == list(range(1, len(events) + 1))
        for stream in STREAMS:
            versions = [e.version for e in events if e.stream == stream]
            assert versions == list(range(1, len(versions) + 1))
        assert all(due <= at for due, at in self.model.fired_at)

    @property
    def _events(self) -> str:
        return self.log.keys.events(PARTITION)

    async def _look(self) -> Due:
        return await look(self.log, PARTITION, now_ms=self.now)

    async def _fire(self, timers: tuple[Told, ...]) -> Due:
        return await fire(self.log, PARTITION, timers, now_ms=self.now)

    def _an_event(self) -> tuple[UUID, str, int]:
        """Of few, so that ids meet again; and seldom with other content."""
        event_id = self.chance.choice(self.ids)
        n = self.ids.index(event_id)
        stream = STREAMS[n % len(STREAMS)]
        if self.chance.random() < 0.1:
            return event_id, self.chance.choice(STREAMS), self.chance.choice([n, 99])
        if self.chance.random() < 0.3:  # a new one in its place
            self.ids[n] = event_id = UUID(int=self.chance.getrandbits(100), version=4)
        return event_id, stream, n

    def _clear(self) -> None:
        fixed = [key.decode() for key in self.server.admin("KEYS", self.log.keys.any_pattern(PARTITION))]
        self.server.admin("DEL", *fixed)
        self._ask(_make_partition, self.log)

    def _ask(self, call: Any, *args: Any) -> Any:
        return self.portal.call(call, *args)


async def _make_partition(log: Log) -> None:
    """As it is made with the log."""
    k = log.keys
    fixed = [k.head(PARTITION), k.events(PARTITION), k.urgent(PARTITION), *k.duplicates(PARTITION)]
    await answer(
        log.redis,
        lua.load("eventstore", "create_partition"),
        [*fixed, k.outgoing(PARTITION), k.incoming(PARTITION)],
        [],
    )
