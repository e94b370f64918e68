"""Workers that run sagas, made of what the product runs and of streams in memory, under a random schedule: handlings at
once, stopped at any of their calls, of a worker that has the lease and of ones that have lost it; outcomes of actions,
answers that are lost, crashes, events twice and late, clocks that differ, and operators.

Each fact is shown to a model when it is appended. What actions did is counted outside, by their idempotency keys.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from functools import partial
from random import Random
from typing import Any, get_args
from uuid import UUID

from msgspec.json import encode

from consumers.sagas import facts
from consumers.sagas.context import StepContext
from consumers.sagas.errors import SagaConflict, UnknownSagaVersion
from consumers.sagas.facts import Fact
from consumers.sagas.instances import parts_of
from consumers.sagas.start import begin
from consumers.sagas.state import State
from eventstore.envelope import Metadata, NewEvent, RecordedEvent
from eventstore.errors import OutcomeUnknown, Unavailable, WrongExpectedVersion
from eventstore.event_types import EventTypes
from tests.property.saga_drafts import Begins, Data, First, Out, Plan, Second, Told, draft, instructions
from tests.property.saga_model import Model, Wrong
from tests.property.saga_workers import Gate, Lane, Thread, Worker

IDS = ("1", "2")
SOURCES = ("in-1", "in-2")
START_US = 1_700_000_000_000_000
MOST_ROUNDS = 20_000
QUIET = 4  # turns of the loop without anybody coming to a call


class World:
    """`choose` decides everything that is left open."""

    def __init__(self, choose: Random) -> None:
        self.choose = choose
        self.plan: Plan = draft(choose)
        self.saga = self.plan.saga
        self.upgrades = choose.random() < 0.3
        self.types = EventTypes([*get_args(Fact), Begins, Told, First, Second, Out])
        self.now_us = START_US
        self.streams: dict[str, list[RecordedEvent]] = {}
        self.models: dict[str, Model] = {}
        self.timers: dict[UUID, tuple[int, str, NewEvent]] = {}
        self.fired: set[UUID] = set()
        self.gates: list[Gate] = []
        self.threads: list[Thread] = []
        self.committed: dict[Lane, int] = {}
        self.emitted: set[tuple[Lane, int]] = set()
        self.sent: Counter[tuple[str, str]] = Counter()
        self.index: dict[str, set[str]] = {}
        self.done: set[str] = set()
        self.undone: set[str] = set()
        self.lost: set[str] = set()
        """Effects that whoever saw them could not tell of, for it ended, or did not reach the log."""
        self.failures: list[BaseException | None] = []
        self.seen = 0
        self.is_calm = False
        self.fails, self.slow = choose.choice([0.0, 0.1, 0.4]), choose.choice([0.0, 0.1, 0.3])
        self.breaks = choose.choice([0.0, 0.0, 0.1])
        self.owner = Worker(self, 0)
        self.stale: list[Worker] = []
        self.clients: list[Worker] = []

    # ---- streams ----

    def facts_of(self, stream: str, from_version: int) -> Sequence[RecordedEvent]:
        return self.streams.get(stream, [])[from_version - 1 :]

    def decide(self, stream: str, made: Sequence[Any], version: int, metadata: Metadata) -> None:
        """An append at exactly this version, of somebody who decides."""
        actual = len(self.streams.get(stream, ()))
        if actual != version:
            raise WrongExpectedVersion(stream, version, actual)
        for each in made:
            self.add(stream, each, metadata)
        try:
            self.models[stream].decided()
        except Wrong as error:
            self.failures.append(error)

    def add(self, stream: str, event: Any, metadata: Metadata | None = None) -> RecordedEvent:
        name, schema_version, data = self.types.encode(event)
        known = self.streams.setdefault(stream, [])
        event_id = UUID(int=self.choose.getrandbits(128))
        about = metadata or Metadata(correlation_id=str(event_id))
        position = 1 + sum(map(len, self.streams.values()))
        read = self.types.decode(name, schema_version, data)
        recorded = RecordedEvent(
            event_id, stream, len(known) + 1, 0, 1, position, self.now_us, name, schema_version, read, about
        )
        known.append(recorded)
        if parts_of(stream) is not None:
            try:
                self.models.setdefault(stream, Model(self.plan)).take(recorded.data)
            except Wrong as error:
                self.failures.append(error)
        return recorded

    # ---- timers ----

    def schedule(self, stream: str, event: NewEvent, due_us: int) -> None:
        assert event.id is not None
        if event.id not in self.fired:
            self.timers.setdefault(event.id, (due_us, stream, event))

    def fire(self) -> bool:
        """The next timer, if its time has come."""
        due = min(self.timers.items(), key=lambda each: each[1][0], default=None)
        if due is None or due[1][0] > self.now_us:
            return False
        timer, (_, stream, event) = due
        del self.timers[timer]
        if self.choose.random() < 0.8:  # else the duplicate window has forgotten it
            self.fired.add(timer)
        self.add(stream, event.data, event.metadata)
        return True

    # ---- actions ----

    def outcome(self, worker: Worker, ctx: StepContext) -> str:
        chance = 1.0 if self.is_calm else self.choose.random()
        if chance < self.fails:
            return "failed"
        if chance < self.fails + self.slow:
            return "slow"
        self.happens(worker, ctx)
        return "done"

    def happens(self, worker: Worker, ctx: StepContext) -> None:
        if ctx.undo:
            step = self.models[ctx.saga_id].steps[ctx.step]
            if ctx.idempotency_key.removesuffix(":undo") not in self.done or step.phase != "succeeded":
                self.failures.append(Wrong(f"{ctx.step} is taken back, and has not succeeded"))
            self.undone.add(ctx.idempotency_key.removesuffix(":undo"))
        else:
            self.done.add(ctx.idempotency_key)
        worker.applied.setdefault(ctx.saga_id, set()).add(ctx.idempotency_key)

    # ---- what may happen: each takes a number that decides what is left open ----

    async def publish(self, n: int) -> None:
        """An event comes, for one saga, for several or for none."""
        ids = IDS[:1] if n % 2 else IDS[: n // 2 % 3]
        do = instructions(Random(n))
        event = [Begins(ids, do), Told(ids, do), Told(ids, do), First(ids), Second(ids)][n // 7 % 5]
        self.add(SOURCES[n // 3 % 2], event)

    async def begin(self, n: int) -> None:
        """Somebody starts a saga."""
        if self.plan.stages:
            client = Worker(self, 0)
            self.clients.append(client)
            client.spawn(partial(self._begin, client, IDS[n % 2]))

    async def _begin(self, client: Worker, saga_id: str) -> None:
        try:
            await begin(client.instances, saga_id, Data())
        except (SagaConflict, Unavailable, OutcomeUnknown, UnknownSagaVersion):
            return

    async def handle(self, n: int) -> None:
        """A worker takes the next event of a stream in hands."""
        worker = [self.owner, self.owner, *self.stale][n % (2 + len(self.stale))]
        lanes = self._ready(worker)
        if lanes:
            lane = lanes[n // 3 % len(lanes)]
            worker.begin(lane, self.streams[lane[1]][worker.at.get(lane, 1) - 1])

    def _ready(self, worker: Worker) -> list[Lane]:
        found = []
        for stream, events in self.streams.items():
            lane = ("route" if parts_of(stream) is None else "react", stream)
            wanted = lane[0] == "react" or stream in SOURCES
            if wanted and lane not in worker.busy and worker.at.get(lane, 1) <= len(events):
                found.append(lane)
        return found

    async def answer(self, n: int) -> None:
        """A call ends: its work is done, or not, or it is done and nobody hears of it."""
        if not self.gates:
            return
        gate = self.gates.pop(n % len(self.gates))
        chance = 1.0 if self.is_calm or gate.kind == "action" else self.choose.random()
        if gate.answer.done():
            return
        if chance < self.breaks / 2:
            gate.answer.set_exception(Unavailable("the server is gone", reason="unreachable"))
            return
        try:
            found = gate.act()
        except WrongExpectedVersion as error:
            gate.answer.set_exception(error)
            return
        if chance < self.breaks:
            gate.answer.set_exception(OutcomeUnknown("s", (), "the answer was lost"))
        else:
            gate.answer.set_result(found)

    async def commit(self, n: int) -> None:
        """What the owner has finished is kept; what it returned goes on its way, once."""
        for each in self.owner.finished:
            key = (each.lane, each.event.version)
            self.committed[each.lane] = max(self.committed.get(each.lane, 1), each.event.version + 1)
            if key in self.emitted:
                continue
            self.emitted.add(key)
            for to in each.returned:
                sent = self.add(to.stream, to.event)
                self.sent[to.stream, str(sent.data)] += 1
            for effect in each.ctx.collected():
                if effect.command == "ZADD":
                    self.index.setdefault(effect.key, set()).add(str(effect.args[1]))
                elif effect.command == "ZREM":
                    self.index.setdefault(effect.key, set()).difference_update(map(str, effect.args))
        self.owner.finished.clear()

    async def take_over(self, n: int) -> None:
        """Another worker has the lease; it begins at what was committed, or earlier. The one before does not know. From
        some time on all that begin have a later version of the definition."""
        if self.upgrades and n // 128 % 2:
            self.saga = self.plan.later
        self.stale = [*self.stale, self.owner][-2:] if n % 3 else self.stale
        if not n % 3:
            self._end(self.owner)
        self.owner = Worker(self, [0, 0, -8_000_000, 8_000_000][n // 3 % 4])
        self.owner.at = {**self.committed}
        if n // 12 % 3 == 0:
            for lane, version in self.owner.at.items():
                self.owner.at[lane] = 1 + (n // 36) % version

    async def crash(self, n: int) -> None:
        """A worker ends at once, wherever it is. What it asked for last may have been done."""
        victims = [*self.stale, *self.clients]
        if not victims or n % 2:
            await self.take_over(3 * (n // 2))
            return
        victim = victims[n // 2 % len(victims)]
        self._end(victim)
        self.stale = [each for each in self.stale if each is not victim]
        self.clients = [each for each in self.clients if each is not victim]

    def _end(self, worker: Worker) -> None:
        for gate in [each for each in self.gates if each.worker is worker]:
            if gate.kind in ("append", "timer") and self.choose.random() < 0.3:
                try:
                    gate.act()
                except WrongExpectedVersion:
                    continue
        for keys in [*worker.applied.values(), *([worker.late] if worker.behind else [])]:
            self.lost |= keys
        for task in [*worker.busy.values(), *worker.behind]:
            task.cancel()
        self.threads = [each for each in self.threads if each.worker is not worker]

    async def turn(self, n: int) -> None:
        """Time passes."""
        self.now_us += [1, 1_000, 3_000_000, 5_000_000, 12_000_000, 40_000_000][n % 6]

    async def ring(self, n: int) -> None:
        self.fire()

    async def wake(self, n: int) -> None:
        """An action that was given up succeeds after all."""
        if self.threads:
            late = self.threads.pop(n % len(self.threads))
            late.worker.late.add(late.ctx.idempotency_key)
            if self.breaks or self.saga is not self.plan.saga:  # nobody may hear of it
                self.lost.add(late.ctx.idempotency_key)
            if late.ctx.undo and self.models[late.ctx.saga_id].steps[late.ctx.step].phase != "succeeded":
                return
            self.happens(late.worker, late.ctx)
            late.on_late(await late.action.function(late.data, late.ctx), late.ctx.sent, 0.0)

    async def ask(self, n: int) -> None:
        """An operator wants something."""
        started = [stream for stream, model in self.models.items() if model.status != "unstarted"]
        if started:
            stream = started[n % len(started)]
            names = list(self.models[stream].steps) or ["none"]
            step = self.models[stream].stuck_at or names[n // 6 % len(names)]
            retry, abort = facts.RetryRequested("ada"), facts.AbortRequested("ada")
            self.add(stream, [retry, retry, abort, facts.SkipRequested(step, "ada")][n // 2 % 4])

    # ---- steps ----

    async def step(self, name: str, n: int) -> None:
        """One of the above; then all go on as far as they can."""
        await getattr(self, name)(n)
        await self.idle()

    async def idle(self) -> None:
        quiet = 0
        while quiet < QUIET:
            before = self.seen
            await asyncio.sleep(0)
            quiet = 0 if self.seen != before else quiet + 1
        if self.failures:
            raise Wrong(f"{self.failures[0]!r}\n{self.told()}") from self.failures[0]

    async def settle(self) -> None:
        """Nothing fails any more, time passes, operators look after what is stuck: all comes to its end."""
        self.is_calm = True
        for _ in range(MOST_ROUNDS):
            await self.idle()
            if self.gates:
                await self.answer(0)
            elif self.threads:
                await self.wake(0)
            elif self.owner.finished:
                await self.commit(0)
            elif lanes := self._ready(self.owner):
                self.owner.begin(lanes[0], self.streams[lanes[0][1]][self.owner.at.get(lanes[0], 1) - 1])
            elif self.timers:
                self.pending()
                self.now_us = max(self.now_us, min(due_us for due_us, _, _ in self.timers.values()))
                self.fire()
            elif stuck := [stream for stream, model in self.models.items() if model.status == "stuck"]:
                self.add(stuck[0], facts.RetryRequested("ada"))
            else:
                return self.at_rest()
        raise Wrong(f"it does not come to rest\n{self.told()}")

    # ---- what must be so ----

    def pending(self) -> None:
        """Every saga has ended, is stuck, waits for an event, or a timer of it is set (DESIGN 8, 5)."""
        set_for = {stream for _, stream, _ in self.timers.values()}
        for stream, model in self.models.items():
            if not (model.is_final or model.status == "stuck" or stream in set_for or model.waits_for_an_event()):
                raise Wrong(f"{stream} is {model.status} for ever\n{self.told()}")

    def at_rest(self) -> None:
        self.pending()
        self._brought()
        for stream, model in self.models.items():
            self._effects(stream, model)
            names = [name for name, members in self.index.items() if stream.rpartition("-")[2] in members]
            live = [] if model.is_final or model.status == "unstarted" else ["live"]
            if sorted(names) != sorted([model.status, *live]):
                raise Wrong(f"{stream} is {model.status}, and is listed as {names}\n{self.told()}")
        wanted = Counter(
            (
                event.data.stream,
                str(self.types.decode(event.data.type, 1, b'{"what":"%s"}' % event.data.data["what"].encode())),
            )
            for events in self.streams.values()
            for event in events
            if isinstance(event.data, facts.Sent)
        )
        if wanted != self.sent:
            raise Wrong(f"sent was {self.sent}, and was to be {wanted}\n{self.told()}")
        for worker in [self.owner, *self.stale]:
            self.same(worker)

    def _brought(self) -> None:
        """Every event has come to all of its sagas, whatever they made of it."""
        taken = {each.name for each in self.saga.events}
        for event in [event for source in SOURCES for event in self.streams.get(source, ()) if event.type in taken]:
            for saga_id in event.data.ids:
                stream = f"saga-s-{saga_id}"
                if stream not in self.models or str(event.id) not in self.models[stream].causes:
                    raise Wrong(f"{event.id} has not come to {stream}\n{self.told()}")

    def _effects(self, stream: str, model: Model) -> None:
        """What has happened outside is what the facts say; kept where it completed, gone where it went back."""
        for name, trial in model.steps.items():
            key, plan = f"{stream}:{name}", self.plan.find(name)
            has_happened, is_gone = key in self.done, key in self.undone
            if plan.waits:
                continue
            if has_happened != (trial.phase == "succeeded") and key not in self.lost:
                raise Wrong(f"{key} has happened: {has_happened}; it is {trial.phase}\n{self.told()}")
            undo = model.undos[name].phase
            if is_gone != (undo == "succeeded") and f"{key}:undo" not in self.lost:
                raise Wrong(f"{key} is gone: {is_gone}; its compensation is {undo}\n{self.told()}")
            if model.status == "compensated" and plan.undo and trial.phase == "succeeded" and undo == "none":
                raise Wrong(f"{key} is kept, and the saga went back\n{self.told()}")
            if model.status == "completed" and is_gone and not model.gone_back:
                raise Wrong(f"{key} is gone, and the saga completed\n{self.told()}")

    def same(self, worker: Worker) -> None:
        """What a worker keeps of a saga is the fold of its facts."""
        for stream, kept in worker.instances._kept.items():
            folded = State(stream)
            for event in self.streams.get(stream, ())[: kept.version]:
                folded.epoch = event.epoch
                folded.correlation_id = folded.correlation_id or event.metadata.correlation_id
                folded.fold(event.data, event.recorded_at)
            if timeless(folded) != timeless(kept):
                raise Wrong(f"kept is\n{timeless(kept)}\nand its facts say\n{timeless(folded)}\n{self.told()}")

    def told(self) -> str:
        plan = "\n".join(" | ".join(map(str, stage)) for stage in self.plan.stages)
        lines = [f"{event.stream} {event.version} {event.data}" for event in self._all()]
        return "\n".join([plan, f"deadline {self.plan.saga.deadline}, reacts to {set(self.plan.reacts)}", *lines])

    def _all(self) -> list[RecordedEvent]:
        return sorted((event for events in self.streams.values() for event in events), key=lambda each: each.position)

    async def close(self) -> None:
        for worker in [self.owner, *self.stale, *self.clients]:
            self._end(worker)
        self.failures.clear()
        await asyncio.sleep(0)


def timeless(state: State) -> dict[str, Any]:
    """Without the times, which whoever decides only knows roughly."""
    steps = {
        name: [(each.phase, each.attempt, each.reason, each.why) for each in (step.action, step.undo)]
        for name, step in state.steps.items()
    }
    known = {name: getattr(state, name) for name in state.__struct_fields__ if name not in ("started_at", "ended_at")}
    inputs = {name: [(encode(each.fact), each.is_late) for each in getattr(state, name)] for name in ("inbox", "kept")}
    return known | inputs | {"steps": steps}
