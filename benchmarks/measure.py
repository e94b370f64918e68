"""How contestants are compared: in turn, several times, the ratio taken within each round.

On a busy machine a figure of one minute says little about the next. Contestants of a case run A B C A B C ..., and what
is compared is A and B of the same round; the median of these ratios is what the table shows, with the lowest and the
highest beside it. Processor time per event, of server and client, disturbs less easily than time on the wall.
"""

import gc
import resource
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median

from msgspec import Struct

from benchmarks.own_server import BenchServer

Run = Callable[[], Awaitable["Sample"]]


class CountWrong(Exception):
    """Events are missing or too many: no figure of the run is worth anything."""


class Sample(Struct, frozen=True):
    """One run of one contestant. Its events were counted at the server, or as they were read."""

    events: int
    seconds: float
    server_cpu_seconds: float
    client_cpu_seconds: float

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


class Contestant(Struct, frozen=True):
    """A way to do the work of a case. Another one's `baseline` is what the ratios are taken to."""

    name: str
    run: Run
    baseline: bool = False


class Case(Struct, frozen=True):
    """The same work, for all contestants."""

    title: str
    contestants: Sequence[Contestant]


class Outcome(Struct, frozen=True):
    """What a contestant did: a sample per round."""

    name: str
    baseline: bool
    samples: list[Sample]

    @property
    def rate(self) -> float:
        return median(s.rate for s in self.samples)

    @property
    def server_us(self) -> float:
        """Processor time of the server per event, in microseconds."""
        return median(s.server_cpu_seconds / s.events for s in self.samples) * 1e6

    @property
    def client_us(self) -> float:
        """Processor time of the client per event, in microseconds."""
        return median(s.client_cpu_seconds / s.events for s in self.samples) * 1e6


class Result(Struct, frozen=True):
    """A case that has been run."""

    title: str
    outcomes: list[Outcome]

    @property
    def baselines(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.baseline]


class Ratio(Struct, frozen=True):
    """How many times as fast as a baseline: the median of the rounds, the lowest, the highest."""

    median: float
    low: float
    high: float


async def alternate(case: Case, rounds: int) -> Result:
    """All contestants of a case in turn, `rounds` times."""
    samples: dict[str, list[Sample]] = {contestant.name: [] for contestant in case.contestants}
    for _ in range(rounds):
        for contestant in case.contestants:
            samples[contestant.name].append(await contestant.run())
    return Result(case.title, [Outcome(c.name, c.baseline, samples[c.name]) for c in case.contestants])


def ratio(outcome: Outcome, baseline: Outcome) -> Ratio:
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(outcome.samples, baseline.samples, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


async def timed(server: BenchServer, events: int, work: Callable[[], Awaitable[None]]) -> Sample:
    """Run the work once. What it makes ready and what it counts belong outside of it."""
    gc.collect()  # not the garbage of the one before
    server_cpu, client_cpu = await server.cpu_seconds(), _own_cpu_seconds()
    began = time.perf_counter()
    await work()
    seconds = time.perf_counter() - began
    client_cpu = _own_cpu_seconds() - client_cpu
    return Sample(events, seconds, await server.cpu_seconds() - server_cpu, client_cpu)


def check_count(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise CountWrong(f"{what}: {found} events are there, {wanted} were acknowledged")


def _own_cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)  # children: redis-benchmark, once it has ended
