"""Whatever was appended, kept, lost or damaged: the state that a load gives is the fold of all events of the stream."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from msgspec import Struct

from eventstore import EventStore, Fold
from eventstore.partitions import partition_of
from eventstore.verify import verify
from infrastructure.server_program import find_program
from tests.support.logs import Failover
from tests.support.servers import Server, redis_server
from tests.support.stores import Noted, open_store

EXAMPLES = 600 if os.environ.get("EVENTSTORE_SOAK") else 25
STREAMS = ["order-1", "order-2", "x-{order-1}"]


class Seen(Struct, frozen=True):
    numbers: tuple[int, ...] = ()


class Told(Struct, frozen=True):
    """`Seen` with its field renamed."""

    entries: tuple[int, ...] = ()


def see(state: Seen, event: Noted) -> Seen:
    return Seen((*state.numbers, event.n))


def tell(state: Told, event: Noted) -> Told:
    return Told((*state.entries, event.n))


def see_negative(state: Seen, event: Noted) -> Seen:
    return Seen((*state.numbers, -event.n))


def see_in_place(state: list[int], event: Noted) -> list[int]:
    state.append(event.n)
    return state


NOTHING: list[int] = []
FOLDS: list[tuple[Fold[Any], Any]] = [
    (Fold(Seen(), see), lambda numbers: Seen(tuple(numbers))),
    (Fold(Seen(), see, version=2, snapshot_every=3), lambda numbers: Seen(tuple(numbers))),
    (Fold(Told(), tell, snapshot_every=5), lambda numbers: Told(tuple(numbers))),
    (Fold(Seen(), see_negative), lambda numbers: Seen(tuple(-n for n in numbers))),
    (Fold(NOTHING, see_in_place, snapshot_every=1), list),
]
streams, folds = st.sampled_from(STREAMS), st.sampled_from(FOLDS)


class SnapshotMachine(RuleBasedStateMachine):
    """Drives a store on a real server and a model: the numbers in each stream, and those that will survive."""

    server: Server
    store: EventStore
    portal: BlockingPortal

    @initialize()
    def begin(self) -> None:
        self.numbers: dict[str, list[int]] = {}
        self.failover, self.n = Failover(self.server), 0
        self.server.admin("FLUSHALL")
        self.portal.call(self._make_again)
        self.replicate()

    async def _make_again(self) -> None:
        async with open_store(self.server.settings, prefix=self.store.log.settings.prefix, partitions=2):
            pass

    @rule(stream=streams, n=st.integers(1, 4))
    def append(self, stream: str, n: int) -> None:
        new = [self.n + i for i in range(n)]
        self.n += n
        known = self.numbers.setdefault(stream, [])
        self.portal.call(self._append, stream, new, len(known))
        known += new

    async def _append(self, stream: str, new: list[int], expected: int) -> None:
        assert (await self.store.append(stream, list(map(Noted, new)), expected=expected)).version == expected + len(
            new
        )

    @rule(stream=streams, fold=folds, n=st.integers(0, 3))
    def write(self, stream: str, fold: Any, n: int) -> None:
        known = self.numbers.setdefault(stream, [])
        new = [self.n + i for i in range(n)]
        self.n += n
        self.portal.call(self._write, stream, fold, known, new)
        known += new

    async def _write(self, stream: str, fold: Any, known: list[int], new: list[int]) -> None:
        how, expected = fold
        async with self.store.writing(stream, how) as writing:
            assert (writing.state, writing.version) == (expected(known), len(known))
            writing.append(*map(Noted, new))
            if isinstance(writing.state, list):
                writing.state.append(-1)  # what a user does with it reaches no snapshot
        assert writing.version == len(known) + len(new)

    @rule(stream=streams, fold=folds)
    def load(self, stream: str, fold: Any) -> None:
        self._is_right(stream, fold)

    @rule(stream=streams, fold=folds)
    def keep(self, stream: str, fold: Any) -> None:
        version = self.portal.call(self.store.snapshot, stream, fold[0])
        assert version == len(self.numbers.get(stream, []))
        assert self.portal.call(self.store.load, stream, fold[0]).snapshot_version == version
        self._is_right(stream, fold)

    @rule()
    def replicate(self) -> None:
        self.failover.replicated()
        self.survives = {stream: list(numbers) for stream, numbers in self.numbers.items()}

    @rule(keep_snapshots=st.booleans())
    def fail_over(self, keep_snapshots: bool) -> None:
        """To a server that has less; snapshots that stay all the same are what no server does, and must do no harm."""
        kept = {key: self.server.admin("DUMP", key) for key in map(self._key, STREAMS)} if keep_snapshots else {}
        self.failover.happen()
        self.numbers = {stream: list(numbers) for stream, numbers in self.survives.items()}
        for key, value in kept.items():
            if value is not None:
                self.server.admin("RESTORE", key, 0, value, "REPLACE")

    @rule(stream=streams, fold=folds, lost=st.integers(1, 3), other=st.integers(0, 3))
    def lose_what_a_snapshot_has(self, stream: str, fold: Any, lost: int, other: int) -> None:
        """And append something else in its place."""
        self.replicate()
        self.append(stream, lost)
        self.keep(stream, fold)
        self.fail_over(keep_snapshots=True)
        if other:
            self.append(stream, other)
        self.load(stream, fold)

    @rule()
    def restart(self) -> None:
        self.failover.restart()

    @rule(stream=streams, field=st.sampled_from(["state", "version", "epoch", "position", "fold"]))
    def damage(self, stream: str, field: str) -> None:
        if self.server.admin("EXISTS", self._key(stream)):
            self.server.admin("HDEL", self._key(stream), field)

    @rule(stream=streams)
    def lose_a_snapshot(self, stream: str) -> None:
        self.server.admin("DEL", self._key(stream))

    def teardown(self) -> None:
        if not hasattr(self, "numbers"):
            return
        for stream in STREAMS:
            for fold in FOLDS:
                self._is_right(stream, fold)
            self.portal.call(self.store.snapshot, stream, FOLDS[0][0])
        for stream in STREAMS:
            if not self.numbers.get(stream):
                self.lose_a_snapshot(stream)
        assert self.portal.call(verify, self.store.log) == []

    def _is_right(self, stream: str, fold: Any) -> None:
        how, expected = fold
        loaded = self.portal.call(self.store.load, stream, how)
        numbers = self.numbers.get(stream, [])
        assert (loaded.state, loaded.version) == (expected(numbers), len(numbers))
        assert loaded.snapshot_version + loaded.folded == loaded.version

    def _key(self, stream: str) -> str:
        return self.store.log.keys.snapshot(partition_of(stream, self.store.log.partitions), stream)


@pytest.fixture(params=["redis-server", "embedded"], scope="module")
def machine(request: pytest.FixtureRequest) -> Iterator[type[SnapshotMachine]]:
    binary = find_program() if request.param == "embedded" else request.param
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(redis_server(binary, ["--enable-debug-command", "local"])) as server,
        portal.wrap_async_context_manager(open_store(server, partitions=2)) as store,
    ):
        yield type("Machine", (SnapshotMachine,), {"server": server, "store": store, "portal": portal})


@pytest.mark.timeout(400)  # finding the smallest failing case may take 300 s
def test_a_state_is_the_fold_of_all_events_whatever_snapshots_there_are(machine: type[SnapshotMachine]) -> None:
    run_state_machine_as_test(
        machine, settings=settings(max_examples=EXAMPLES, stateful_step_count=30, deadline=None, print_blob=True)
    )
