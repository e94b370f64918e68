"""A run's tables and chart, put into docs/benchmarks.md between its two marks."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.chart import draw
from benchmarks.costs import Cost
from benchmarks.measure import Result, ratio
from benchmarks.report import Report, machine_line, milliseconds, times
from benchmarks.syncs import LOADS, TITLE, Syncs
from benchmarks.targets import Verdict

PAGE, CHART = "benchmarks.md", "benchmarks.png"
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


def publish(report: Report, docs: Path) -> None:
    """Raises ValueError if the page has not its two marks."""
    between_marks(docs / PAGE, BEGIN, END, as_markdown(report))
    if refused := draw(report, docs / CHART):
        raise ValueError(refused)


def between_marks(page: Path, begin: str, end: str, text: str) -> None:
    """Puts a text in the place of what stood there. Raises ValueError if the page has not these two lines."""
    before, found, rest = page.read_text("utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"{page} needs a line {begin} and below it a line {end}")
    page.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


def as_markdown(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    rounds = f"{report.rounds} round" + ("s" if report.rounds > 1 else "")
    head = [f"The machine: {machine_line(report.machine)}. {versions}. Medians of {rounds}."]
    head += ["", f"![events a second beside the peers]({CHART})", ""]
    parts = [head, _judged(report.verdicts)]
    parts += [case_table(result) for result in report.results]
    parts += [_cost(cost) for cost in report.costs]
    parts += [_synced(report.syncs)] if report.syncs else []
    missing = [f"- not here: {each.peer}, {each.level}: {each.why}" for each in report.missing]
    return "\n".join("\n".join(part) for part in [*parts, missing, [""]])


def _judged(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield "### Targets"
    yield ""
    yield "Where two ratios stand, they are of 16 partitions and of 1."
    yield ""
    yield from row("what", "beside", "wanted", "found", "")
    yield from row("---", "---", "---", "---", "---")
    for verdict in verdicts:
        target = verdict.target
        wanted = f"{'at most' if target.at_most else 'at least'} {target.wanted:g}x"
        found = " / ".join(f"{value:.2f}x" for value in verdict.found)
        yield from row(target.title, target.baseline, wanted, found, verdict.says)
    yield ""


def case_table(result: Result, unit: str = "events/s") -> Iterator[str]:
    ours = [outcome for outcome in result.outcomes if not outcome.baseline]
    marks = [f"[{place}] is" for place in range(1, len(ours) + 1)]
    yield f"### {result.title[0].upper()}{result.title[1:]}"
    yield ""
    yield from row("", unit, "p50 ms", "p99", "p99.9", "us server", "us client", *marks)
    yield from row("---", *["---:"] * 6, *["---:"] * len(ours))
    for outcome in result.outcomes:
        mark = f"[{ours.index(outcome) + 1}] " if outcome in ours else ""
        ratios = [times(ratio(each, outcome)) for each in ours] if outcome.baseline else [""] * len(ours)
        used = (f"{outcome.server_us:.1f}", f"{outcome.client_us:.1f}")
        yield from row(f"{mark}{outcome.name}", f"{outcome.rate:,.0f}", *milliseconds(outcome.latency), *used, *ratios)
    yield ""


def _cost(cost: Cost) -> Iterator[str]:
    yield f"### {cost.title[0].upper()}{cost.title[1:]}"
    yield ""
    yield from row("", cost.unit, "ratio", "")
    yield from row("---", "---:", "---:", "---")
    for price in (*cost.ours, cost.baseline, *cost.others):
        found = times(cost.ratio(price)) if price in cost.ours else ""
        yield from row(price.name, f"{price.median:.1f}", found, price.note)
    yield ""


def _synced(syncs: Sequence[Syncs]) -> Iterator[str]:
    yield f"### {TITLE[0].upper()}{TITLE[1:]}"
    yield ""
    yield from row("", *[load.title for load in LOADS])
    yield from row("---", *["---:"] * len(LOADS))
    for each in syncs:
        yield from row(each.name, *["not traced" if value is None else f"{value:.2f}" for value in each.per_append])
    yield ""


def row(*cells: str) -> Iterator[str]:
    yield f"| {' | '.join(cells)} |"
