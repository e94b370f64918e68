"""The world of relay_world.py with a real server beside the model: every answer is compared, and all that is stored."""

import random
from functools import partial
from typing import Any
from uuid import UUID

from anyio.from_thread import BlockingPortal

from consumers.commit_call import commit
from consumers.keys import group_keys
from consumers.lease_calls import acquire, create
from consumers.outbox import Call, Page, Reading
from consumers.relay_calls import PAGE_EVENTS, forget_outgoing, read_outgoing, take
from consumers.state import Commit, Stored
from eventstore import EventStore, NewEvent, codec
from eventstore.cursor import Place
from infrastructure import lua
from tests.property.relay_world import CAUSE_STREAMS, CAUSES, PARTITIONS, World, outgoing
from tests.support.stores import Noted

LEASE_MS = 60_000


class RealWorld(World):
    """A failover brings back all keys of a partition as they were, and another replication id. That one is the whole
    server's, so the other partition sees a restart."""

    def __init__(self, chance: random.Random, client: Any, portal: BlockingPortal, store: EventStore) -> None:
        self.client, self.portal, self.store, self.log = client, portal, store, store.log
        self.leases: list[Stored | None] = [None for _ in PARTITIONS]
        self.commits = [0 for _ in PARTITIONS]
        client.flushall()
        super().__init__(chance, PAGE_EVENTS)

    def begin(self, p: int) -> None:
        k = self.log.keys
        fixed = [k.head(p), k.events(p), k.urgent(p), *k.duplicates(p), k.outgoing(p), k.incoming(p)]
        self.client.eval(lua.load("eventstore", "create_partition").source, len(fixed), *fixed)
        self._ask(create, self.log, group_keys(k, "g", p), (0, 0))
        causes = [NewEvent(id=UUID(int=cause), data=Noted(cause)) for cause in range(CAUSES)]
        self._ask(self.store.append, CAUSE_STREAMS[p], causes)
        super().begin(p)
        self._compare(p)

    def commit(self, p: int, n: int) -> None:
        model, keys = self.models[p], group_keys(self.log.keys, "g", p)
        lease = self.leases[p]
        if lease is None or (lease.epoch, self.process) != (model.number, model.process):
            lease = self.leases[p] = self._ask(acquire, self.log, keys, "ada", LEASE_MS, force=True)
            self.commits[p] = 0
            assert lease.offset[1] == model.offset
        position = min(model.offset + n, CAUSES)
        out = tuple(outgoing(each) for each in self.returned_up_to(p, position))
        self.commits[p] += 1
        place = (model.log[position - 1].epoch, position)
        self._ask(commit, self.log, keys, Commit(lease.token("ada"), self.commits[p], place, out=out))
        super().commit(p, n)
        self._compare(p)

    def read(self, p: int, call: Reading) -> Page:
        page: Page = self._ask(read_outgoing, self.log, p, call)
        assert page == super().read(p, call)
        return page

    def take(self, p: int, q: int, call: Call) -> Place:
        mark: Place = self._ask(take, self.log, p, q, call)
        assert mark == super().take(p, q, call)
        self._compare(q)
        return mark

    def forget(self, p: int, process: bytes, ids: list[Place]) -> bytes:
        now: bytes = self._ask(forget_outgoing, self.log, p, process, ids)
        assert now == super().forget(p, process, ids)
        self._compare(p)
        return now

    def saved(self, p: int) -> Any:
        keys = {key: self.client.dump(key) for key in self.client.keys(self.log.keys.any_pattern(p))}
        return super().saved(p), keys

    def fail_over(self, p: int) -> None:
        model, keys = self.durable[p]
        self.client.delete(*self.client.keys(self.log.keys.any_pattern(p)))
        for key, dumped in keys.items():
            self.client.restore(key, 0, dumped)
        self.models[p] = model.copy()
        self.leases[p] = None
        self.restart()

    def another_process(self) -> str:
        self.client.execute_command("DEBUG", "CHANGE-REPL-ID")
        return str(self.client.info("replication")["master_replid"])

    def next_number(self, p: int) -> int:
        """What the script that met the process has made."""
        number = int(self.client.hget(self.log.keys.head(p), "number"))
        if number != self.models[p].number:
            assert number not in self.numbers, "two histories number alike"
            self.numbers.add(number)
        return number

    def _compare(self, p: int) -> None:
        model, k, c = self.models[p], self.log.keys, self.client
        values = [fields[b"e"] for _, fields in c.xrange(k.events(p))]
        stored = [codec.unpack(p, entry, fields[b"e"]) for entry, fields in c.xrange(k.events(p))]
        assert [(e.position, e.epoch, e.stream, e.version, e.id.bytes) for e in stored] == [
            (i, e.epoch, e.stream, e.version, e.event_id) for i, e in enumerate(model.log, 1)
        ]
        times = [e.recorded_at for e in stored]
        assert times[CAUSES - 1 :] == sorted(set(times))
        assert all(e.recorded_at > event.cause_at for e, event in zip(stored, model.log, strict=True))
        for stream in {event.stream for event in model.log}:
            positions = [i for i, event in enumerate(model.log, 1) if event.stream == stream]
            assert [int(i) for i in c.lrange(k.index(p, stream), 0, -1)] == [0, *positions]
        assert [(entry.decode(), fields[b"p"].decode()) for entry, fields in c.xrange(k.urgent(p))] == [
            (f"{event.epoch}-{i}", event.letter) for i, event in enumerate(model.log, 1) if event.letter in "HC"
        ]
        head = {name.decode(): value.decode() for name, value in c.hgetall(k.head(p)).items()}
        assert {name: head[name] for name in ("replid", "number", "pos", "noted", "epochs", "largest")} == {
            "replid": model.process,
            "number": str(model.number),
            "pos": str(len(model.log)),
            "noted": str(model.epochs[-1][0]),
            "epochs": ",".join(f"{epoch}:{first}" for epoch, first in model.epochs),
            "largest": str(max(map(len, values))),
        }
        assert head["last"] == str(times[-1])
        assert [entry.decode() for entry, _ in c.xrange(k.outgoing(p))] == [f"{e}-{n}" for (e, n), _ in model.out]
        marks = {name.decode(): value.decode() for name, value in c.hgetall(k.incoming(p)).items()}
        assert marks == {"": "", **{str(source): f"{e}-{n}" for source, (e, n) in model.marks.items()}}

    def _ask(self, call: Any, *args: Any, **options: Any) -> Any:
        return self.portal.call(partial(call, *args, **options))
