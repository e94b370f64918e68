"""A run as a table, and as JSON with every sample."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from benchmarks.machine import Machine
from benchmarks.measure import Outcome, Ratio, Result, ratio

_NAME_WIDTH = 46


class Report(Struct, frozen=True):
    machine: Machine
    rounds: int
    results: list[Result]


def as_table(report: Report) -> str:
    """The machine in one line, then a block per case: a line per contestant, its ratio to each baseline."""
    blocks = ["\n".join(_block(result)) for result in report.results]
    return "\n\n".join([machine_line(report.machine), _explained(report.rounds), *blocks])


def as_json(report: Report) -> bytes:
    """Beside the samples what the table shows of them, so that nobody has to compute it again."""
    results = [
        {
            "title": result.title,
            "contestants": [_summary(outcome, result) for outcome in result.outcomes],
        }
        for result in report.results
    ]
    whole = {"machine": report.machine, "rounds": report.rounds, "results": results}
    return msgspec.json.format(msgspec.json.encode(whole))


def machine_line(machine: Machine) -> str:
    """Where a run was made."""
    return ", ".join(f"{f.name} {_fact(getattr(machine, f.name))}" for f in fields(Machine))


def _explained(rounds: int) -> str:
    return (
        f"Medians over {rounds} round(s). `0.85x [1]`: 0.85 times the events a second of [1] below it, in the same\n"
        "round (lowest-highest of the rounds). CPU: processor time per event, in microseconds."
    )


def _block(result: Result) -> Iterator[str]:
    yield f"{result.title:<{_NAME_WIDTH}} {'events/s':>10} {'CPU server':>11} {'client':>7}"
    for outcome in result.outcomes:
        ratios = "  ".join(
            f"{_times(ratio(outcome, baseline))} {mark}" for baseline, mark in _marked(result) if not outcome.baseline
        )
        mark = next((f"{mark} " for baseline, mark in _marked(result) if baseline is outcome), "")
        name = f"  {mark}{outcome.name}"
        figures = f"{outcome.rate:>10,.0f} {outcome.server_us:>11.1f} {outcome.client_us:>7.1f}"
        yield f"{name:<{_NAME_WIDTH}} {figures}  {ratios}".rstrip()


def _marked(result: Result) -> Sequence[tuple[Outcome, str]]:
    return [(outcome, f"[{place}]") for place, outcome in enumerate(result.baselines, 1)]


def _times(value: Ratio) -> str:
    return f"{value.median:.2f}x ({value.low:.2f}-{value.high:.2f})"


def _fact(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _summary(outcome: Outcome, result: Result) -> dict[str, object]:
    return {
        "name": outcome.name,
        "baseline": outcome.baseline,
        "events_per_second": outcome.rate,
        "server_cpu_us_per_event": outcome.server_us,
        "client_cpu_us_per_event": outcome.client_us,
        "ratios": {baseline.name: ratio(outcome, baseline) for baseline in result.baselines},
        "samples": outcome.samples,
    }
