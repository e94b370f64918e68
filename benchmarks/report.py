"""A run as a table, and as JSON with every sample."""

from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from benchmarks.costs import Cost, Price
from benchmarks.field import Missing
from benchmarks.machine import Machine
from benchmarks.measure import Latency, Outcome, Ratio, Result, ratio
from benchmarks.syncs import LOADS, TITLE, Syncs
from benchmarks.targets import Verdict

_NAME = 50


class Report(Struct, frozen=True):
    machine: Machine
    versions: dict[str, str]
    rounds: int
    results: list[Result]
    costs: list[Cost]
    syncs: list[Syncs]
    missing: list[Missing]
    verdicts: list[Verdict]


def as_table(report: Report) -> str:
    """The machine in one line, then a block per case: a line per contestant, with the log's ratios to each baseline."""
    blocks = [block(result) for result in report.results] + [_priced(cost) for cost in report.costs]
    blocks += [_synced(report.syncs), _missed(report.missing), _judged(report.verdicts)]
    written = ["\n".join(lines) for lines in blocks]
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    return "\n\n".join([machine_line(report.machine), versions, _explained(report.rounds), *filter(None, written)])


def as_json(report: Report) -> bytes:
    """Beside the samples what the table shows of them, so that nobody has to compute it again."""
    results = [
        {
            "title": result.title,
            "contestants": [_summary(outcome, result) for outcome in result.outcomes],
        }
        for result in report.results
    ]
    verdicts = [{"says": verdict.says, **msgspec.to_builtins(verdict)} for verdict in report.verdicts]
    whole = {**msgspec.structs.asdict(report), "results": results, "verdicts": verdicts}
    return msgspec.json.format(msgspec.json.encode(whole))


def machine_line(machine: Machine) -> str:
    return ", ".join(f"{f.name} {_fact(getattr(machine, f.name))}" for f in fields(Machine))


def times(value: Ratio) -> str:
    """Of one round there is no lowest and highest."""
    found = f"{value.median:.2f}x"
    return found if value.low == value.high else f"{found} ({value.low:.2f}-{value.high:.2f})"


def milliseconds(latency: Latency | None) -> list[str]:
    """Half of the calls, 99 %, 99.9 %."""
    if latency is None:
        return ["-", "-", "-"]
    found = (latency.p50_ms, latency.p99_ms, latency.p999_ms)
    return ["-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in found]


def _explained(rounds: int) -> str:
    return (
        f"Medians over {rounds} round(s). p50, p99, p99.9: what a call took, in milliseconds. us: processor time per\n"
        "event of server and client, in microseconds. `[1] 1.19x (1.10-1.25)`: line [1] did 1.19 times the events a\n"
        "second of this one, in the same round (lowest-highest of the rounds)."
    )


def block(result: Result, unit: str = "events/s") -> Iterator[str]:
    ours = [outcome for outcome in result.outcomes if not outcome.baseline]
    titles = f"{unit:>10} {'p50':>7} {'p99':>7} {'p99.9':>7} {'server':>7} {'client us':>9}"
    yield f"{result.title:<{_NAME}} {titles}"
    for place, outcome in enumerate(ours, 1):
        yield f"{f'  [{place}] {outcome.name}':<{_NAME}} {_figures(outcome)}"
    for outcome in result.baselines:
        ratios = "  ".join(f"[{place}] {times(ratio(each, outcome))}" for place, each in enumerate(ours, 1))
        yield f"{f'  {outcome.name}':<{_NAME}} {_figures(outcome)}  {ratios}"


def _figures(outcome: Outcome) -> str:
    calls = " ".join(f"{value:>7}" for value in milliseconds(outcome.latency))
    return f"{outcome.rate:>10,.0f} {calls} {outcome.server_us:>7.1f} {outcome.client_us:>9.1f}"


def _priced(cost: Cost) -> Iterator[str]:
    yield f"{cost.title:<{_NAME + 10}} {cost.unit:>11}"
    for price in cost.ours:
        yield f"{_price(price)}  {times(cost.ratio(price))} {price.note}".rstrip()
    for price in (cost.baseline, *cost.others):
        yield f"{_price(price)}  {price.note}".rstrip()


def _price(price: Price) -> str:
    return f"{f'  {price.name}':<{_NAME + 10}} {price.median:>11.1f}"


def _synced(syncs: Sequence[Syncs]) -> Iterator[str]:
    if syncs:
        yield f"{TITLE:<{_NAME}} {' '.join(f'{load.title:>10}' for load in LOADS)}"
    for each in syncs:
        found = ["not traced" if value is None else f"{value:.2f}" for value in each.per_append]
        yield f"{f'  {each.name}':<{_NAME}} {' '.join(f'{value:>10}' for value in found)}"


def _missed(missing: Sequence[Missing]) -> Iterator[str]:
    if missing:
        yield "not here"
    for each in missing:
        yield f"  {each.peer}, {each.level}: {each.why}"


def _judged(verdicts: Sequence[Verdict]) -> Iterator[str]:
    measured = [verdict for verdict in verdicts if verdict.found]
    if measured:
        yield "targets"
    for verdict in measured:
        yield f"  {said(verdict)}"


def said(verdict: Verdict) -> str:
    target = verdict.target
    sign, found = "<=" if target.at_most else ">=", " / ".join(f"{value:.2f}x" for value in verdict.found)
    return f"{target.title}: {sign} {target.wanted:g}x of {target.baseline}: {found}: {verdict.says}"


def _fact(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _summary(outcome: Outcome, result: Result) -> dict[str, object]:
    return {
        "name": outcome.name,
        "baseline": outcome.baseline,
        "events_per_second": outcome.rate,
        "latency": outcome.latency,
        "server_cpu_us_per_event": outcome.server_us,
        "client_cpu_us_per_event": outcome.client_us,
        "ratios": {baseline.name: ratio(outcome, baseline) for baseline in result.baselines},
        "samples": outcome.samples,
    }
