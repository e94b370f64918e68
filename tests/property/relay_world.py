"""Two partitions, each a source and a target of the other and of itself, and two relays for each source that know
nothing of each other. At random a commit is made; a call is planned, run or answered; an answer is lost; a relay dies;
a partition goes back to what was durable. What the relays remember is the product's outbox.py; what the server has is a
model, beside which real_relay.py has a server."""

import random
from collections.abc import Callable
from typing import Any
from uuid import UUID

from consumers.outbox import Call, Flow, Outbox, Page, Reading, Waiting
from consumers.state import Outgoing
from eventstore import codec
from eventstore.cursor import Place
from tests.property.relay_model import PartitionModel, Returned
from tests.support.logs import stream_in

PARTITIONS = (0, 1)
CAUSES = 20
FAR_AHEAD = 2**52
"""A cause by a clock that runs ahead, in microseconds: no reason to refuse what it returns."""
STREAMS = {q: [stream_in(q, 2, "paid"), stream_in(q, 2, "sent"), stream_in(q, 2, "x}:i:paid")] for q in PARTITIONS}
CAUSE_STREAMS = {p: stream_in(p, 2, "cause") for p in PARTITIONS}
CALLS: list[int | str] = ["read", "remove", *PARTITIONS]
ACTIONS = ["commit"] * 4 + ["plan"] * 4 + ["run"] * 4 + ["answer"] * 4 + ["all calls"] * 8
ACTIONS += ["replicated"] * 2 + ["fail over", "restart", "die", "late", "away", "back"]
Slot = tuple[str, Any, Any]
"""Of a call: planned or ran, what it is, and its answer; None if that is lost."""


class Relay:
    """One worker's, for one source: what it knows, and its calls under way. One of the source and one of each flow."""

    def __init__(self, source: int) -> None:
        self.source, self.box = source, Outbox()
        self.under_way: dict[int | str, Slot] = {}

    def plan(self, what: int | str) -> Any:
        """The next call to the source, or of the flow to a target; None if there is none."""
        if what == "read":
            return self.box.next_reading()
        if what == "remove":
            return (self.box.process, self.box.taken[:3]) if self.box.taken else None
        flow = self.box.flows.get(int(what))
        return flow and flow.call and (flow, flow.call)

    def lost(self, call: Any) -> None:
        match call:
            case Reading():
                self.box.tell()
            case (Flow() as flow, _):
                flow.fails = True

    def answered(self, call: Any, answer: Any) -> None:
        match call:
            case Reading():
                self.box.read(call, answer)
            case (Flow() as flow, _):
                self.box.answered(flow, answer)
            case (_, ids):
                self.box.removed(ids, answer)


class World:
    def __init__(self, chance: random.Random, page: int) -> None:
        self.chance, self.page = chance, page
        self.numbers: set[int] = set()
        self.processes = 0
        self.process = self.another_process()
        self.models = [PartitionModel() for _ in PARTITIONS]
        for p in PARTITIONS:
            self.begin(p)
        self.durable = [self.saved(p) for p in PARTITIONS]
        self.relays = [Relay(p) for p in (*PARTITIONS, *PARTITIONS)]
        self.late: list[tuple[int, Any]] = []
        self.away: set[int] = set()
        """Targets that cannot be reached."""

    # ---- what happens ----

    def step(self) -> None:
        chance = self.chance
        which = chance.randrange(len(self.relays))
        relay, p, what, well = self.relays[which], which % 2, chance.choice(CALLS), chance.random() < 0.7
        match chance.choice(ACTIONS):
            case "commit":
                self.commit(p, chance.randint(1, 2))
                if well:
                    self.replicated(p)
                relay.box.tell()
            case "plan":
                self._plan(relay, what)
            case "run":
                self._run(relay, what, well=well)
            case "answer":
                self._answer(relay, what)
            case "all calls":
                self._all_calls(relay, well=lambda: chance.random() < 0.8)
            case "away":
                self.away.add(p)
            case "back":
                self.away.discard(p)
            case "replicated":
                self.replicated(p)
            case "fail over":
                self.fail_over(p)
            case "restart":
                self.restart()
            case "die":
                self.late += [(p, call) for state, call, _ in relay.under_way.values() if state == "planned"]
                self.relays[which] = Relay(p)
                self.relays[which].box.tell()  # whoever takes the lease looks what is left
            case "late" if self.late:  # a call of a relay that has died was on its way until now
                self._call(*self.late.pop(chance.randrange(len(self.late))))

    def settle(self) -> None:
        """All causes are handled, and one relay of each source carries on what waits, from where it stands."""
        self.away.clear()
        for p in PARTITIONS:
            self.commit(p, CAUSES)
            self.replicated(p)
        last = [self.relays[p + self.chance.choice([0, 2])] for p in PARTITIONS]
        for relay in last:
            relay.box.tell()
        self._until_at_rest(last)

    def go_on(self) -> None:
        """With relays that know nothing, and with all that were there before."""
        relays = [*self.relays, *(Relay(p) for p in PARTITIONS)]
        for relay in relays:
            relay.box.tell()
        self._until_at_rest(relays)

    def _until_at_rest(self, relays: list[Relay]) -> None:
        for _ in range(200):
            if all(relay.box.is_empty and not relay.under_way for relay in relays):
                return
            for relay in relays:
                self._all_calls(relay)
        raise AssertionError("relays do not come to rest")

    def wanted(self, q: int) -> list[bytes]:
        """Ids of all that is returned for a partition, each once."""
        returned = [each for p in PARTITIONS for cause in range(CAUSES) for each in returned_by(p, cause)]
        return sorted(each.event_id for each in returned if each.target == q)

    def found(self, q: int) -> list[bytes]:
        return sorted(event.event_id for event in self.models[q].log[CAUSES:])

    def _all_calls(self, relay: Relay, well: Callable[[], bool] = lambda: True) -> None:
        for what in CALLS:
            self._plan(relay, what)
            self._run(relay, what, well=well())
            self._answer(relay, what)

    def _plan(self, relay: Relay, what: int | str) -> None:
        if _slot(what) not in relay.under_way and (call := relay.plan(what)):
            relay.under_way[_slot(what)] = ("planned", call, None)

    def _run(self, relay: Relay, what: int | str, *, well: bool) -> None:
        """Not well: it runs, but its answer is lost, or it is not durable in time."""
        state, call, _ = relay.under_way.get(_slot(what), ("", None, None))
        if state == "planned" and what in self.away:
            relay.under_way[_slot(what)] = ("ran", call, None)
        elif state == "planned":
            p, answer = self._call(relay.source, call)
            if well and what != "remove":  # nobody waits for that to be durable
                self.replicated(p)
            relay.under_way[_slot(what)] = ("ran", call, answer if well else None)

    def _call(self, p: int, call: Any) -> tuple[int, Any]:
        """The partition that it has changed or shown, and its answer."""
        match call:
            case Reading():
                return p, self.read(p, call)
            case (Flow() as flow, Call() as sent):
                return flow.target, self.take(p, flow.target, sent)
            case (process, ids):
                return p, self.forget(p, process, ids)
        raise AssertionError(call)

    def _answer(self, relay: Relay, what: int | str) -> None:
        state, call, answer = relay.under_way.get(_slot(what), ("", None, None))
        if state == "ran":
            del relay.under_way[_slot(what)]
            if answer is None:
                relay.lost(call)
            else:
                relay.answered(call, answer)

    # ---- the server, as the model has it ----

    def begin(self, p: int) -> None:
        self.models[p].fix_epoch(self.process, self.next_number(p))
        for cause in range(CAUSES):
            self.models[p].append(CAUSE_STREAMS[p], UUID(int=cause).bytes)

    def commit(self, p: int, n: int) -> None:
        """The next `n` causes are finished, each with what it returns."""
        model = self.models[p]
        model.fix_epoch(self.process, self.next_number(p))
        position = min(model.offset + n, CAUSES)
        model.commit(position, self.returned_up_to(p, position))

    def read(self, p: int, call: Reading) -> Page:
        model = self.models[p]
        entries = [Waiting(entry, outgoing(each)) for entry, each in model.page(call.after, self.page)]
        there = [model.is_there(mark) for mark in call.marks]
        return Page(self.process.encode(), entries, len(entries) == self.page, there)

    def take(self, p: int, q: int, call: Call) -> Place:
        model, entries = self.models[q], [(each.id, returned_of(each.event)) for each in call.entries]
        if model.takes(p, call.expect, entries):
            model.fix_epoch(self.process, self.next_number(q))
            model.take(p, entries)
        return model.mark(p)

    def forget(self, p: int, process: bytes, ids: list[Place]) -> bytes:
        self.models[p].forget(process.decode(), ids, self.process)
        return self.process.encode()

    def replicated(self, p: int) -> None:
        """What is stored now survives."""
        self.durable[p] = self.saved(p)

    def saved(self, p: int) -> Any:
        return self.models[p].copy()

    def fail_over(self, p: int) -> None:
        self.models[p] = self.durable[p].copy()
        self.restart()

    def restart(self) -> None:
        """Another process, nothing lost."""
        self.process = self.another_process()

    def another_process(self) -> str:
        self.processes += 1
        return f"process {self.processes}"

    def next_number(self, p: int) -> int:
        """Of the epoch: above all of this history, unlike those of all others, which may be above it."""
        model = self.models[p]
        if model.process == self.process:
            return model.number
        number = model.number + self.chance.randint(1, 9)
        while number in self.numbers:
            number += 1
        self.numbers.add(number)
        return number

    def returned_up_to(self, p: int, position: int) -> list[Returned]:
        return [each for cause in range(self.models[p].offset, position) for each in returned_by(p, cause)]


def returned_by(p: int, cause: int) -> list[Returned]:
    """What the handler returns for a cause of a partition: nothing to three events, for both partitions."""
    targets = [[1 - p], [p, 1 - p], [], [1 - p, 1 - p, 1 - p], [p], [1 - p, p], [1 - p]][cause % 7]
    return [
        Returned(
            target,
            STREAMS[target][(cause + place) % 3],
            UUID(int=(p + 1) << 32 | cause << 8 | place).bytes,
            FAR_AHEAD if cause % 2 else 1,
            ".NHC"[(cause + place) % 4],
        )
        for place, target in enumerate(targets)
    ]


def outgoing(each: Returned) -> Outgoing:
    packed = codec.pack(UUID(bytes=each.event_id), each.stream.encode(), "Noted", 1, b'{"n":1}', b"")
    return Outgoing(each.target, each.stream, packed, each.cause_at, each.letter)


def returned_of(event: Outgoing) -> Returned:
    return Returned(event.partition, event.stream, event.packed[:16], event.cause_recorded_at, event.letter)


def _slot(what: int | str) -> int | str:
    """A relay makes one call to its source at a time, and one to each target."""
    return what if isinstance(what, int) else "source"
