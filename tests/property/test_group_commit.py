"""Group commit under cancellations, deadlines, lost replies, stalls and restarts: everyone gets their own outcome, and
what the outcomes say is what the log holds.

Schedules come from numbered seeds, not from Hypothesis: the order of tasks and network is not repeatable, so a smaller
failing case cannot be searched for.
"""

import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any
from uuid import UUID, uuid4

import anyio
import anyio.to_thread
import pytest
from anyio.lowlevel import checkpoint

from eventstore import EventStore, Expected, NewEvent, OutcomeUnknown, Overloaded, Receipt, Unavailable
from eventstore.codec import Entry
from eventstore.verify import verify
from infrastructure.server_program import find_program
from tests.support.impatient import impatient_store
from tests.support.proxy import Proxy, proxy
from tests.support.recorded import is_at_its_place, recorded
from tests.support.restarts import restart
from tests.support.servers import Server, redis_server, until
from tests.support.stores import Noted, open_store

pytestmark = pytest.mark.anyio

Fault = Callable[[], Awaitable[Any]]
SEEDS = range(200 if os.environ.get("EVENTSTORE_SOAK") else 6)
ANSWER_SECONDS = 0.3  # the socket timeout: a server that stalls for longer has lost its reply
STALL_MS = 700
PATIENT = 20.0


@pytest.fixture(params=["redis-server", "embedded"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    binary = find_program() if request.param == "embedded" else request.param
    args = ["--enable-debug-command", "local", "--appendonly", "yes", "--appendfsync", "always"]
    async with redis_server(binary, args) as server:
        yield server


class Caller:
    """A task that appends: what it sends, and how that ended. Without an outcome it was cancelled."""

    def __init__(self, n: int, stream: str, expected: Expected | int = Expected.ANY, size: int = 1) -> None:
        self.stream, self.expected = stream, expected
        self.events = [NewEvent(id=uuid4(), data=Noted(n)) for _ in range(size)]
        self.outcome: Receipt | Exception | None = None

    @property
    def ids(self) -> tuple[UUID | None, ...]:
        return tuple(event.id for event in self.events)

    async def run(
        self, store: EventStore, timeout_seconds: float | None = None, cancel_after: int | None = None
    ) -> None:
        """Appends; cancelled after so many turns of the event loop."""
        self.outcome = None
        async with anyio.create_task_group() as group:
            if cancel_after is not None:
                group.start_soon(_cancel, group.cancel_scope, cancel_after)
            try:
                self.outcome = await store.append(
                    self.stream, self.events, expected=self.expected, timeout_seconds=timeout_seconds
                )
            except (OutcomeUnknown, Overloaded, Unavailable) as error:
                self.outcome = error
            group.cancel_scope.cancel()


async def _cancel(scope: anyio.CancelScope, turns: int) -> None:
    for _ in range(turns):
        await checkpoint()
    scope.cancel()


@pytest.mark.parametrize("seed", SEEDS)
async def test_cancelled_appends_do_not_shift_the_answers_of_others(server: Server, seed: int) -> None:
    """C03: 90 tasks on one store, each appending one event with its own id; every third is cancelled at a random
    await."""
    rng = random.Random(seed)
    async with open_store(server, partitions=rng.choice([1, 4])) as store:
        callers = [Caller(n, f"order-{n % rng.choice([1, 7, 90])}") for n in range(90)]
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                for n, caller in enumerate(callers):
                    tasks.start_soon(caller.run, store, None, rng.randrange(60) if n % 3 == 0 else None)
                    await _turns(rng.randrange(3))
        answered = [caller for n, caller in enumerate(callers) if n % 3 or caller.outcome]
        _everyone_got_their_own(answered, recorded(server, store.log))
        await _repeat_all(store, callers)
        assert await verify(store.log) == []
        entries = recorded(server, store.log)
        assert Counter(entry.id for entry in entries) == Counter(i for caller in callers for i in caller.ids)


async def _turns(n: int) -> None:
    for _ in range(n):
        await checkpoint()


def _everyone_got_their_own(callers: Sequence[Caller], entries: list[Entry]) -> None:
    for caller in callers:
        assert isinstance(caller.outcome, Receipt), caller.outcome
        assert caller.outcome.ids == caller.ids
        assert is_at_its_place(caller.outcome, entries)


async def _repeat_all(store: EventStore, callers: Sequence[Caller]) -> None:
    """Everyone appends the same once more, and who had a receipt gets an equal one."""
    before = {caller: caller.outcome for caller in callers}
    async with anyio.create_task_group() as tasks:
        for caller in callers:
            tasks.start_soon(caller.run, store, 20.0)
    for caller in callers:
        assert isinstance(caller.outcome, Receipt), caller.outcome
        if isinstance(before[caller], Receipt):
            assert caller.outcome == before[caller]


@pytest.mark.parametrize("expected", [Expected.ANY, 0], ids=["any", "exact"])
async def test_an_append_outlasts_a_stall(server: Server, expected: Expected | int) -> None:
    """C04: an append without caller ids, and a server that stalls for longer than the socket timeout."""
    async with impatient_store(server.port, ANSWER_SECONDS) as store:
        server.admin("CLIENT", "PAUSE", STALL_MS, "ALL")
        receipt = await store.append("order-1", [Noted(1)], expected=expected, timeout_seconds=PATIENT)
    await _all_has_arrived(server)
    (entry,) = recorded(server, store.log)
    assert (entry.id, entry.version) == (receipt.ids[0], 1)
    assert is_at_its_place(receipt, [entry])


@pytest.mark.parametrize("expected", [Expected.ANY, 0], ids=["any", "exact"])
async def test_a_stall_beyond_the_deadline_is_an_unknown_outcome(server: Server, expected: Expected | int) -> None:
    """C04 again, for a caller who does not wait so long; its advice, to repeat with the same ids, is good."""
    async with impatient_store(server.port, ANSWER_SECONDS) as store:
        server.admin("CLIENT", "PAUSE", STALL_MS, "ALL")
        with pytest.raises(OutcomeUnknown) as caught:
            await store.append("order-1", [Noted(1)], expected=expected, timeout_seconds=ANSWER_SECONDS * 1.5)
    await _all_has_arrived(server)
    assert len(recorded(server, store.log)) <= 1
    again = [NewEvent(id=caught.value.ids[0], data=Noted(1))]
    async with open_store(server.settings) as store:
        receipt = await store.append("order-1", again, expected=expected)
    (entry,) = recorded(server, store.log)
    assert is_at_its_place(receipt, [entry])


@pytest.mark.parametrize("seed", SEEDS)
async def test_outcomes_say_what_the_log_holds(server: Server, seed: int) -> None:
    """Replies vanish, connections break, the server stalls, callers leave or lose patience, the queue is full."""
    rng = random.Random(seed)
    callers = [_any_caller(rng, n) for n in range(80)]
    limits: dict[str, Any] = {"partitions": rng.choice([1, 3]), "max_waiting_events": rng.choice([10_000, 10_000, 40])}
    async with proxy(server.port) as between, impatient_store(between.port, ANSWER_SECONDS, **limits) as store:
        patient = await _run_under_faults(store, callers, rng, _faults(server, between, rng))
    await _all_has_arrived(server)
    entries = recorded(server, store.log)
    for caller in callers:
        _agrees(caller, entries)
    assert [c.outcome for c in patient if not isinstance(c.outcome, Receipt | Overloaded)] == []

    async with open_store(server.settings) as store:
        await _repeat_all(store, callers)
        assert await verify(store.log) == []
    everything = Counter(entry.id for entry in recorded(server, store.log))
    assert everything == Counter(i for caller in callers for i in caller.ids)


@pytest.mark.parametrize("seed", SEEDS)
async def test_appends_outlast_a_restart(server: Server, seed: int) -> None:
    rng = random.Random(seed)
    callers = [_any_caller(rng, n) for n in range(80)]
    async with impatient_store(server.port, ANSWER_SECONDS, partitions=2) as store:
        async with anyio.create_task_group() as tasks:
            for n, caller in enumerate(callers):
                if n in {20, 60}:
                    await restart(server)
                tasks.start_soon(caller.run, store, PATIENT)
                await _turns(rng.randrange(20))
        entries = recorded(server, store.log)
        _everyone_got_their_own(callers, entries)
        assert await verify(store.log) == []
    assert Counter(entry.id for entry in entries) == Counter(i for caller in callers for i in caller.ids)


def _any_caller(rng: random.Random, n: int) -> Caller:
    shared = rng.random() < 0.6
    stream = f"order-{rng.randrange(4)}" if shared else f"own-{n}"
    expected = Expected.ANY if shared or rng.random() < 0.5 else 0
    return Caller(n, stream, expected, rng.randint(1, 4))


def _faults(server: Server, between: Proxy, rng: random.Random) -> list[Fault]:
    async def lose() -> None:
        between.lose_replies()

    async def cut() -> None:
        between.cut_at_next_reply()

    async def mend() -> None:
        between.pass_on()

    async def stall() -> None:
        await anyio.to_thread.run_sync(server.admin, "CLIENT", "PAUSE", STALL_MS, "ALL")

    async def kill() -> None:
        await anyio.to_thread.run_sync(server.admin, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    return [*rng.choices([lose, cut, kill, mend, stall], k=5), mend]


async def _run_under_faults(
    store: EventStore, callers: Sequence[Caller], rng: random.Random, faults: list[Fault]
) -> list[Caller]:
    """Starts all callers, with the faults in between. Returns those who neither left nor had a short deadline."""
    moments = dict(zip(sorted(rng.sample(range(len(callers)), len(faults))), faults, strict=True))
    patient = []
    async with anyio.create_task_group() as tasks:
        for n, caller in enumerate(callers):
            if n in moments:
                await moments[n]()
            leaves = rng.randrange(100) if rng.random() < 0.2 else None
            timeout_seconds = rng.choice([0.05, 0.4, PATIENT, PATIENT])
            if leaves is None and timeout_seconds == PATIENT:
                patient.append(caller)
            tasks.start_soon(caller.run, store, timeout_seconds, leaves)
            await _turns(rng.randrange(40))
    return patient


def _agrees(caller: Caller, entries: list[Entry]) -> None:
    found = Counter(entry.id for entry in entries if entry.id in caller.ids)
    if isinstance(caller.outcome, Receipt):
        _everyone_got_their_own([caller], entries)
    elif isinstance(caller.outcome, Overloaded | Unavailable):
        assert not found, f"{caller.outcome!r} says that nothing was written"
    else:
        assert found in (Counter(), Counter(caller.ids))


async def _all_has_arrived(server: Server) -> None:
    """Until the server has read what ended connections had sent: they are gone from its list then."""
    await until(lambda: len(server.clients()) == 1)
