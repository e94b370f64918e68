"""What is wanted of consumers' figures, and what was found."""

from collections.abc import Sequence

from benchmarks.consuming import arrivals, backlog, scaling, urgent
from benchmarks.consuming.peers.by_hand import DATA, ENVELOPE
from benchmarks.findings import Finding
from benchmarks.measure import Outcome, Result

FASTSTREAM = "FastStream subscriber"


def of_results(results: Sequence[Result]) -> list[Finding]:
    """What follows from cases: ratios of the same round, and waits."""
    found: list[Finding] = []
    for result in results:
        named = {outcome.name: outcome for outcome in result.outcomes}
        for ours, theirs, wanted in _RATES:
            if ours in named and theirs in named:
                title = f"{result.title}: {ours} beside {theirs}"
                found.append(Finding(title, "x", _ratios(_rates(named[ours]), _rates(named[theirs])), wanted))
        if result.title == arrivals.PARKED:
            parked, none = result.outcomes
            found.append(
                Finding(f"p99 {result.title}: {parked.name}", "x", _ratios(_p99s(parked), _p99s(none)), 1.1, True)
            )
        if urgent.CRITICAL in named:
            critical, low = named[urgent.CRITICAL], named[urgent.LOW]
            found.append(Finding(f"{result.title}: p99 of CRITICAL", "ms", _p99s(critical), 100.0, True))
            found.append(Finding(f"{result.title}: p50 of LOW", "ms", _p50s(low)))
    return found


_RATES = (
    (backlog.OURS, FASTSTREAM, 30.0),
    (backlog.OURS, DATA, 1.2),
    (backlog.OURS, ENVELOPE, None),
    (backlog.OURS, "docket worker, looks each 5 ms", None),
    (backlog.OURS, "streaq worker", None),
    (backlog.WITH, backlog.WITHOUT, 0.95),
    (scaling.TWO, scaling.ONE, None),
)


def _rates(outcome: Outcome) -> list[float]:
    return [sample.rate for sample in outcome.samples]


def _p99s(outcome: Outcome) -> list[float]:
    return [sample.latency.p99_ms for sample in outcome.samples if sample.latency]


def _p50s(outcome: Outcome) -> list[float]:
    return [sample.latency.p50_ms for sample in outcome.samples if sample.latency]


def _ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    return [one / other for one, other in zip(ours, theirs, strict=True)]
