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

from benchmarks.contender import Meter

Run = Callable[[], Awaitable["Sample"]]


class CountWrong(Exception):
    """Events are missing or too many: no figure of the run is worth anything."""


class Sample(Struct, frozen=True):
    """One run of one contestant. Its events were counted at the server, or as they were read."""

    events: int
    seconds: float
    server_cpu_seconds: float
    client_cpu_seconds: float
    latency: "Latency | None" = None

    @property
    def rate(self) -> float:
        """Events a second."""
        return self.events / self.seconds


class Latency(Struct, frozen=True):
    """What the calls of a run took, in milliseconds: half, 99 % and 99.9 % of them at most so much. Of fewer than 1,000
    calls `p999_ms` is the slowest."""

    p50_ms: float
    p99_ms: float
    p999_ms: float | None = None


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
    def latency(self) -> Latency | None:
        """Of each figure the median of the rounds."""
        measured = [s.latency for s in self.samples if s.latency]
        if not measured:
            return None
        highest = [each.p999_ms for each in measured if each.p999_ms is not None]
        return Latency(
            median(each.p50_ms for each in measured),
            median(each.p99_ms for each in measured),
            median(highest) if highest else None,
        )

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


async def timed(server: Meter, events: int, work: Callable[[], Awaitable[object]]) -> Sample:
    """Run the work once. What it makes ready and what it counts belong outside of it."""
    gc.collect()  # not the garbage of the one before
    server_cpu, client_cpu = await server.cpu_seconds(), _own_cpu_seconds()
    began = time.perf_counter()
    await work()
    seconds = time.perf_counter() - began
    client_cpu = _own_cpu_seconds() - client_cpu
    return Sample(events, seconds, await server.cpu_seconds() - server_cpu, client_cpu)


def latency(seconds: Sequence[float]) -> Latency:
    """Of at least one call."""
    in_order = sorted(seconds)

    def at(share: float) -> float:
        return 1e3 * in_order[min(len(in_order) - 1, int(share * len(in_order)))]

    return Latency(at(0.5), at(0.99), at(0.999))


def check_count(what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise CountWrong(f"{what}: {found} events are there, {wanted} were acknowledged")


def _own_cpu_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)  # children: redis-benchmark, once it has ended
