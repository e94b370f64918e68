"""One worker and a backlog: how fast it is handled beside peers, by two workers, and while a stream fails."""

import importlib
from collections.abc import Sequence
from functools import partial
from importlib.util import find_spec
from typing import Any

from msgspec import Struct

from benchmarks.consuming.groups import backlog, handled, trivial
from benchmarks.consuming.tally import Tally, sampled
from benchmarks.contender import Absent
from benchmarks.field import Missing
from benchmarks.measure import Case, Contestant, Sample
from benchmarks.own_server import BenchServer, Level
from benchmarks.payload import OrderPlaced
from consumers import Fixed, consumer
from consumers.consumer import Consumer

OURS = "consumer, 1 worker, 16 partitions"
WITHOUT, WITH = "no stream fails", "1 of 1,000 streams fails"
FAILING = "consume while a stream fails"
_STREAMS = 1_000


class Peer(Struct, frozen=True):
    """Its module in `peers`, and the package without which it cannot be imported."""

    module: str
    package: str


PEERS = {
    "redis-py": Peer("by_hand", "redis"),
    "faststream": Peer("faststream", "faststream"),
    "docket": Peer("docket", "docket"),
    "streaq": Peer("streaq", "streaq"),
}
_NAMES: dict[Level, str] = {"fsync": "fsync always", "memory": "memory"}


def title(level: Level) -> str:
    return f"consume, trivial handler, commits included, {_NAMES[level]}"


def beside_peers(server: BenchServer, events: int, peers: Sequence[str]) -> tuple[Case, list[Missing]]:
    """With those of the peers that can be had."""
    found: list[Contestant] = [Contestant(OURS, partial(one_worker, server, events))]
    missing: list[Missing] = []
    for name in peers:
        try:
            found += _contestants(PEERS[name], server, events)
        except Absent as absent:
            missing.append(Missing(name, server.level, str(absent)))
    return Case(title(server.level), found), missing


def _contestants(peer: Peer, server: BenchServer, events: int) -> list[Contestant]:
    if find_spec(peer.package) is None:
        raise Absent(f"{peer.package} is not installed: pip install '.[bench]'")
    module: Any = importlib.import_module(f"benchmarks.consuming.peers.{peer.module}")
    found: list[Contestant] = module.contestants(server, events)
    return found


async def one_worker(server: BenchServer, events: int) -> Sample:
    tally = Tally(events)
    async with backlog(server, events) as store:
        used = await server.cpu_seconds()
        span = await handled(server, store, trivial(tally), tally)
        sample = await sampled(server, used, events, span)
    tally.check(OURS)
    return sample


def while_failing(server: BenchServer) -> Case:
    """Of 1,000 streams none fails, or one does at its first event: what is measured are the others."""
    return Case(
        FAILING,
        [
            Contestant(WITH, partial(_but, server, frozenset({0}))),
            Contestant(WITHOUT, partial(_but, server, frozenset()), baseline=True),
        ],
    )


async def _but(server: BenchServer, failing: frozenset[int]) -> Sample:
    events = _STREAMS * 100
    tally = Tally(events)
    # What follows the failing event in its stream waits for it.
    never = range(100) if failing else range(0)
    async with backlog(server, events) as store:
        used = await server.cpu_seconds()
        span = await handled(server, store, _failing(tally, failing), tally, len(never))
        sample = await sampled(server, used, events - len(never), span)
    tally.check(FAILING, never)
    return sample


def _failing(tally: Tally, failing: frozenset[int]) -> Consumer:
    @consumer("failing", retry=Fixed("100ms", attempts=1_000))
    async def handle(event: OrderPlaced) -> None:
        if not tally.began:
            tally.begin()
        if event.number in failing:
            raise ValueError("this order cannot be handled")
        tally.seen[event.number] += 1

    return handle
