"""What the project wants to reach, and whether a run did."""

from collections.abc import Callable, Sequence

from msgspec import Struct

from benchmarks import memory, reads, server_cpu
from benchmarks.appends import title
from benchmarks.costs import Cost
from benchmarks.load import FULL, Load
from benchmarks.log_appends import ONE_PARTITION, REFERENCE
from benchmarks.measure import Result, ratio
from benchmarks.peers import plain

UMADB, POSTGRES = "UmaDB", "eventsourcing on PostgreSQL"


class Target(Struct, frozen=True):
    """A ratio of ours to a baseline. `title` is that of a case or, for `at_most`, of a cost."""

    title: str
    baseline: str
    wanted: float
    at_most: bool = False
    ours: Sequence[str] = (REFERENCE, ONE_PARTITION)


class Verdict(Struct, frozen=True):
    """`found` has a ratio for each of `ours`, in its order; it is empty if the run did not measure it."""

    target: Target
    found: Sequence[float]

    @property
    def reached(self) -> bool | None:
        """By the first of `ours`, which is what a user gets without asking for more. None: not measured."""
        return self._reaches(self.found[0]) if self.found else None

    @property
    def says(self) -> str:
        if self.reached is None:
            return "not measured"
        if self.reached:
            return "reached"
        others = [name for name, found in zip(self.target.ours, self.found, strict=True) if self._reaches(found)]
        return f"missed; reached by: {', '.join(others)}" if others else "missed"

    def _reaches(self, found: float) -> bool:
        return found <= self.target.wanted if self.target.at_most else found >= self.target.wanted


def verdicts(results: Sequence[Result], costs: Sequence[Cost]) -> list[Verdict]:
    return [Verdict(target, _found(target, results, costs)) for target in TARGETS]


def _found(target: Target, results: Sequence[Result], costs: Sequence[Cost]) -> list[float]:
    for cost in costs:
        if cost.title.startswith(target.title):
            return [cost.ratio(price).median for name in target.ours for price in cost.ours if price.name == name]
    for result in results:
        if result.title == target.title:
            outcomes = {outcome.name: outcome for outcome in result.outcomes}
            if baseline := outcomes.get(target.baseline):
                return [ratio(outcomes[name], baseline).median for name in target.ours]
    return []


def _append(chosen: Callable[[Load], bool], baseline: str, wanted: float) -> list[Target]:
    return [Target(title(load, "fsync"), baseline, wanted) for load in FULL if chosen(load)]


def _of_one_event_at_once(load: Load) -> bool:
    return load.batch == 1 and (load.tasks == 50 or load.processes > 1)


TARGETS = (
    *_append(_of_one_event_at_once, UMADB, 2.0),
    *_append(_of_one_event_at_once, POSTGRES, 10.0),
    *_append(lambda load: load.tasks == load.batch == load.processes == 1, UMADB, 1.0),
    *_append(lambda load: load.batch == 100, plain.NAME, 1.0),
    *_append(lambda load: load.batch == 100, UMADB, 1.0),
    Target(reads.ALL, reads.DATA, 0.9, ours=[reads.IN_ORDER_OF_ARRIVAL]),
    Target(reads.ALL, reads.ENVELOPE, 0.9, ours=[reads.IN_ORDER_OF_ARRIVAL]),
    Target(memory.TITLE, "the same fields in a plain stream", 1.25, at_most=True, ours=[memory.EXACT]),
    *[
        Target(server_cpu.title(load, 16), "a bare XADD in a script", 1.6, at_most=True, ours=[server_cpu.OURS])
        for load in FULL
        if load.processes == 1 and load.batch * load.tasks in {50, 800}
    ],
)
