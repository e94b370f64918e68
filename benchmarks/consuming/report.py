"""A run as a table, as JSON with every sample, and between its own marks in docs/benchmarks.md."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.consuming.chart import CHART, draw
from benchmarks.consuming.figures import Finding
from benchmarks.field import Missing
from benchmarks.machine import Machine
from benchmarks.measure import Result
from benchmarks.published import PAGE, between_marks, case_table, row
from benchmarks.report import block, machine_line

BEGIN, END = "<!-- consumers: begin -->", "<!-- consumers: end -->"


class ConsumeReport(Struct, frozen=True):
    machine: Machine
    versions: dict[str, str]
    rounds: int
    results: Sequence[Result]
    findings: Sequence[Finding]
    missing: Sequence[Missing]


def as_table(report: ConsumeReport) -> str:
    blocks = ["\n".join(block(result)) for result in report.results]
    return "\n\n".join([machine_line(report.machine), _versions(report), *blocks, "\n".join(_said(report))])


def _said(report: ConsumeReport) -> Iterator[str]:
    for each in report.findings:
        yield f"  {each.title}: {each.found}, wanted {each.target} {each.says} {each.note}".rstrip()
    for absent in report.missing:
        yield f"  not here: {absent.peer}, {absent.level}: {absent.why}"


def as_json(report: ConsumeReport) -> bytes:
    says = [{"median": each.median, "says": each.says, **msgspec.structs.asdict(each)} for each in report.findings]
    return msgspec.json.format(msgspec.json.encode({**msgspec.structs.asdict(report), "findings": says}))


def publish(report: ConsumeReport, docs: Path) -> None:
    """Raises ValueError if the page has not its two marks, or no chart can be drawn."""
    if refused := draw(report.results, docs / CHART):
        raise ValueError(refused)
    between_marks(docs / PAGE, BEGIN, END, as_markdown(report))


def as_markdown(report: ConsumeReport) -> str:
    rounds = f"{report.rounds} round" + ("s" if report.rounds > 1 else "")
    head = [f"The machine: {machine_line(report.machine)}. {_versions(report)}. Medians of {rounds}."]
    head += ["", f"![events consumed a second beside the peers]({CHART})", "", "### Consumers: targets", ""]
    head += [*row("what", "wanted", "found", "", ""), *row("---", "---", "---", "---", "---")]
    for each in report.findings:
        head += row(each.title, each.target, each.found, each.says, each.note)
    tables = [line for result in report.results for line in case_table(result)]
    missing = [f"- not here: {each.peer}, {each.level}: {each.why}" for each in report.missing]
    return "\n".join([*head, "", *tables, *missing, ""])


def _versions(report: ConsumeReport) -> str:
    return ", ".join(f"{name} {version}" for name, version in report.versions.items())
