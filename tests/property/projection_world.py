"""Members of the group that fills a read model, in one partition of a real log and a real database, under a random
schedule: appends, events that fail and are retried or parked, leases that move while whoever had them goes on, answers
that are lost, and members that die between any two steps of a claim or a commit.

After every step nothing is in the rows twice, and at the end they are the fold, exactly.
"""

from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa

from consumers.creation import ensure_group
from consumers.deliveries import Delivery, Undecodable
from consumers.errors import Stale, Unavailable
from consumers.holder import Holder
from consumers.keys import group_keys
from consumers.lease_calls import acquire
from consumers.start import parse_start
from consumers.state import Commit, Effect, Order, RowState, Stored
from consumers.truth import TakeAnew
from eventstore import EventStore
from projections import truth
from projections.checkpoint import Checkpoint, Part, Step
from projections.generations import Generation
from projections.rows import ADD, PUT
from projections.sinks.sql import SqlSink
from projections.truth import InSink
from tests.support.projected import streams, totals
from tests.support.stores import Noted

STREAMS = [f"order-{n}" for n in range(4)]
LEASE_MS = 60_000
FAR_AHEAD_MS = 10**15
CLAIMS = 6


class Killed(Exception):
    """The process ended here."""


class Faults:
    """What becomes of the calls of a claim or a commit: nothing, the end of the process before or after one of them, or
    an answer that is lost."""

    def __init__(self) -> None:
        self.calls_left = -1
        self.after = self.loses_answer = False

    def plan(self, choose: Random) -> None:
        self.calls_left = choose.randrange(5) if choose.random() < 0.4 else -1
        self.after, self.loses_answer = choose.random() < 0.5, choose.random() < 0.4

    def none(self) -> None:
        self.calls_left = -1

    def strikes(self, *, after: bool) -> None:
        if after != self.after or self.calls_left < 0:
            return
        self.calls_left -= 1
        if self.calls_left < 0:
            if self.loses_answer and after:
                raise Unavailable("the answer is lost", reason="test", maybe_ran=True)
            raise Killed


class FaultySink(SqlSink):
    def __init__(self, url: str) -> None:
        super().__init__(url, (totals, streams))
        self.faults = Faults()

    def claim(self, part: Part, term: int) -> Checkpoint:
        self.faults.strikes(after=False)
        found = super().claim(part, term)
        self.faults.strikes(after=True)
        return found

    def apply(self, part: Part, step: Step, changes: Sequence[Effect]) -> None:
        self.faults.strikes(after=False)
        super().apply(part, step, changes)
        self.faults.strikes(after=True)


def faulty(faults: Faults, patch: pytest.MonkeyPatch) -> None:
    """The calls to Redis of a claim and a commit fail as planned, too."""
    for name in ("commit", "rewind"):
        patch.setattr(truth, name, _Faulty(faults, getattr(truth, name)))


class _Faulty:
    def __init__(self, faults: Faults, call: Any) -> None:
        self._faults, self._call = faults, call

    async def __call__(self, *args: Any) -> Any:
        self._faults.strikes(after=False)
        reply = await self._call(*args)
        self._faults.strikes(after=True)
        return reply


class Actor:
    """A member that has, or had, the lease."""

    def __init__(self, in_sink: InSink, holder: Holder) -> None:
        self.in_sink, self.holder = in_sink, holder
        self.hands: list[Delivery] = []
        self.call: Commit | None = None


class World:
    def __init__(self, choose: Random, store: EventStore, sink: FaultySink, generation: Generation) -> None:
        self.choose, self.store, self.sink, self.generation = choose, store, sink, generation
        self.keys = group_keys(store.log.keys, generation.group, 0)
        self.actors: list[Actor] = []
        self.appended: list[tuple[str, int, int]] = []
        self.poison: set[tuple[str, int]] = set()
        self.taken = self.kills = self.orders = 0

    async def begin(self) -> None:
        self.sink.prepare(self.generation)
        await ensure_group(self.store.log, self.generation.group, parse_start("earliest"))
        await self.append()  # who takes the lease of an empty log gives it back when its first epoch begins

    async def step(self) -> None:
        step = self.choose.choices(
            [self.append, self.take, self.feed, self.handle, self.commit, self.order], [3, 1, 4, 8, 5, 1]
        )[0]
        await step()

    # ---- what may happen ----

    async def append(self) -> None:
        stream = self.choose.choice(STREAMS)
        first = len(self.appended) + 1
        numbers = range(first, first + self.choose.randrange(1, 4))
        receipt = await self.store.append(stream, [Noted(n) for n in numbers])
        for version, n in enumerate(numbers, receipt.version - len(numbers) + 1):
            self.appended.append((stream, version, n))
            if self.choose.random() < 0.15:
                self.poison.add((stream, version))

    async def take(self) -> None:
        """The lease, by force; whoever had it does not know, and goes on."""
        self.taken += 1
        in_sink, above = InSink(self.store, self.sink, self.generation), 0
        self.sink.faults.plan(self.choose)
        try:
            for _ in range(CLAIMS):
                me = f"member-{self.taken}"
                stored = await acquire(self.store.log, self.keys, me, LEASE_MS, force=True, above=above)
                assert isinstance(stored, Stored)
                token = stored.token(me)
                try:
                    claimed = await in_sink.claim(self.store.log, self.keys, token, stored)
                except TakeAnew as error:
                    above = error.term
                else:
                    self.actors = [*self.actors[-2:], Actor(in_sink, Holder(claimed, token))]
                    return
            raise AssertionError(f"{CLAIMS} claims, and none stands")
        except (Killed, Unavailable):
            self.kills += 1
        finally:
            self.sink.faults.none()

    async def feed(self) -> None:
        if (actor := self._actor()) is None:
            return
        holder = actor.holder
        most = self.choose.randrange(1, 8)
        events = [
            event
            async for event in self.store.read_partition(0, from_position=holder.cursor + 1, limit=most)
            if event.position > holder.cursor
        ]
        if events:
            holder.feed(events, events[-1].position)
        for stream, first in holder.wanting(2):
            found = [event async for event in self.store.read(stream, from_version=first)]
            holder.read(stream, found[:3], await self.store.version(stream))

    async def handle(self) -> None:
        actor = self._actor()
        if actor is None:
            return
        if (event := actor.holder.take(lambda: FAR_AHEAD_MS)) is None:
            return
        if event.stream.startswith("$"):
            actor.holder.succeeded(event)
        elif (event.stream, event.version) in self.poison:
            parks = self.choose.random() < 0.5
            if not parks:
                self.poison.discard((event.stream, event.version))  # the next attempt succeeds
            actor.holder.failed(event, 1, None if parks else 1, b"{}")
        else:
            actor.holder.succeeded(event, (), _changes(event))

    async def commit(self) -> None:
        actor = self._actor()
        if actor is None:
            return
        actor.holder.obey()
        actor.call = actor.call or actor.holder.prepare()
        if actor.call is None:
            return
        self.sink.faults.plan(self.choose)
        try:
            reply = await actor.in_sink.commit(self.store.log, self.keys, actor.call)
        except Stale:
            self.actors.remove(actor)
        except Killed:
            self.kills += 1
            self.actors.remove(actor)
        except Unavailable:
            pass  # the very same call follows
        else:
            actor.call = None
            actor.holder.committed(reply)
        finally:
            self.sink.faults.none()
        self.look()

    async def order(self) -> None:
        """An operator has mended what a parked event fails by, and retries it."""
        actor = self.actors[-1] if self.actors else None
        parked = [] if actor is None else [s for s, row in actor.holder.rows.items() if row.state is RowState.PARKED]
        if actor is None or not parked or actor.call is not None:
            return
        stream = self.choose.choice(sorted(parked))
        row = actor.holder.rows[stream]
        self.poison.discard((stream, row.next))
        self.orders += 1
        actor.holder.learn([Order(f"o{self.orders}", "retry", stream, row.next)])
        actor.holder.obey()

    # ---- the end ----

    async def settle(self) -> None:
        """Nothing fails any more, and one member goes on to the end."""
        self.poison.clear()
        self.choose = Random(0)
        self.actors = []
        with suppress(IndexError):
            await self._take_for_good()
        for _ in range(400):
            before = self.sink.checkpoints("counts", self.generation.number)[0]
            for _ in range(4):
                await self.feed()
                for _ in range(20):
                    await self.handle()
                await self._commit_for_good()
            await self.order()
            if self.sink.checkpoints("counts", self.generation.number)[0] == before and self.is_right():
                return
        raise AssertionError(f"{self.found()} is not {self.wanted()}")

    async def _take_for_good(self) -> None:
        while not self.actors:
            await self.take()

    async def _commit_for_good(self) -> None:
        actor = self.actors[-1]
        while (call := actor.holder.prepare()) is not None:
            actor.holder.committed(await actor.in_sink.commit(self.store.log, self.keys, call))

    # ---- the rules ----

    def look(self) -> None:
        """Of each stream a beginning has been counted, each event once: the sums tell."""
        sums, states = self.found()
        numbers = [(stream, version, n) for stream, version, n in self.appended]
        for stream, (version, n) in states.items():
            assert (stream, version, n) in numbers
            counted = [n for of, at, n in numbers if of == stream and at <= version]
            assert sums[stream] == (len(counted), sum(counted)), f"{stream}: {sums[stream]} is not the sum of {counted}"
        events = [each[0] for name, each in sums.items() if name != "all"]
        assert sums.get("all", (0, 0))[0] == sum(events)

    def is_right(self) -> bool:
        return self.found() == self.wanted()

    def found(self) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
        tables = self.sink.of(self.generation.number)
        sums = {row["name"]: (row["events"], row["sum"]) for row in self.sink.read(sa.select(tables["totals"]))}
        states = self.sink.read(sa.select(tables["stream_states"]))
        return sums, {row["stream"]: (row["version"], row["n"]) for row in states}

    def wanted(self) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
        sums: dict[str, tuple[int, int]] = {}
        states = {}
        for stream, version, n in self.appended:
            for name in (stream, "all"):
                events, total = sums.get(name, (0, 0))
                sums[name] = events + 1, total + n
            states[stream] = version, n
        return sums, states

    def _actor(self) -> Actor | None:
        """Mostly the newest one."""
        if not self.actors:
            return None
        return self.actors[-1] if self.choose.random() < 0.7 else self.choose.choice(self.actors)


def _changes(event: Delivery) -> tuple[Effect, ...]:
    assert not isinstance(event, Undecodable)
    n = event.data.n
    columns = ("name",), ("events", "sum")
    state = Effect(PUT, "stream_states", (("stream", "version", "n"), (event.stream, event.version, n)))
    return (*(Effect(ADD, "totals", (columns, (name, 1, n))) for name in ("all", event.stream)), state)
