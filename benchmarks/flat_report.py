"""What a log costs at each size, as a table, and as JSON with every sample."""

from collections.abc import Iterator
from statistics import median

import msgspec
from msgspec import Struct

from benchmarks.machine import Machine
from benchmarks.measure import Outcome, Ratio, Result
from benchmarks.report import machine_line


class Stage(Struct, frozen=True):
    """The log at one size; each result has the log itself and, as its baseline, the short one of the same moments."""

    events: int
    streams: int
    filled_per_second: float
    bytes_per_event: float
    results: list[Result]


class FlatReport(Struct, frozen=True):
    machine: Machine
    rounds: int
    stages: list[Stage]


class Cost(Struct, frozen=True):
    """Of one call. The ratios are to the short log, round by round: 1.0 is flat."""

    title: str
    server_us: float
    wall_us: float
    server_ratio: Ratio
    wall_ratio: Ratio


def as_table(report: FlatReport) -> str:
    """The machine, then a line per size and kind of call."""
    explained = (
        f"Medians over {report.rounds} rounds, per call of 50 tasks, in microseconds. Ratio: to a log of 10,000 events "
        "measured\nin turn on a server of its own (lowest-highest of the rounds); 1.00x is flat."
    )
    return "\n\n".join([machine_line(report.machine), explained, *("\n".join(_block(s)) for s in report.stages)])


def as_json(report: FlatReport) -> bytes:
    """Beside the samples what the table shows of them."""
    stages = [{**msgspec.to_builtins(stage), "costs": costs(stage)} for stage in report.stages]
    whole = {"machine": report.machine, "rounds": report.rounds, "stages": stages}
    return msgspec.json.format(msgspec.json.encode(whole))


def costs(stage: Stage) -> list[Cost]:
    return [_cost(result) for result in stage.results]


def _cost(result: Result) -> Cost:
    long, short = result.outcomes
    return Cost(
        result.title,
        long.server_us,
        1e6 / long.rate,
        _ratio(_server_seconds(long), _server_seconds(short)),
        _ratio(_seconds(long), _seconds(short)),
    )


def _server_seconds(outcome: Outcome) -> list[float]:
    return [sample.server_cpu_seconds / sample.events for sample in outcome.samples]


def _seconds(outcome: Outcome) -> list[float]:
    return [sample.seconds / sample.events for sample in outcome.samples]


def _ratio(ours: list[float], theirs: list[float]) -> Ratio:
    ratios = [one / other for one, other in zip(ours, theirs, strict=True)]
    return Ratio(median(ratios), min(ratios), max(ratios))


def _block(stage: Stage) -> Iterator[str]:
    filled = f"{stage.filled_per_second:,.0f} events/s as it was filled, {stage.bytes_per_event:.0f} bytes an event"
    yield f"{stage.events:,} events in {stage.streams:,} streams ({filled})"
    yield f"  {'':<22} {'CPU server':>10} {'ratio':>18} {'wall':>8} {'ratio':>18}"
    for cost in costs(stage):
        server, wall = _times(cost.server_ratio), _times(cost.wall_ratio)
        yield f"  {cost.title:<22} {cost.server_us:>10.1f} {server:>18} {cost.wall_us:>8.1f} {wall:>18}"


def _times(value: Ratio) -> str:
    return f"{value.median:.2f}x ({value.low:.2f}-{value.high:.2f})"
