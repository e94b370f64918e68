"""A run as a table, as JSON with every sample, and between its own marks in docs/benchmarks.md."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from benchmarks.consuming.figures import Finding
from benchmarks.field import Missing
from benchmarks.machine import Machine
from benchmarks.measure import Result
from benchmarks.published import PAGE, between_marks, case_table, row
from benchmarks.report import block, machine_line

BEGIN, END = "<!-- projections: begin -->", "<!-- projections: end -->"


class ProjectionReport(Struct, frozen=True):
    machine: Machine
    versions: dict[str, str]
    rounds: int
    results: Sequence[Result]
    findings: Sequence[Finding]
    missing: Sequence[Missing]


def as_table(report: ProjectionReport) -> str:
    blocks = ["\n".join(block(result)) for result in report.results]
    said = [f"  {each.title}: {each.found}, wanted {each.target} {each.says}".rstrip() for each in report.findings]
    said += [f"  not here: {each.peer}, {each.level}: {each.why}" for each in report.missing]
    return "\n\n".join([machine_line(report.machine), _versions(report), *blocks, "\n".join(said)])


def as_json(report: ProjectionReport) -> bytes:
    says = [{"median": each.median, "says": each.says, **msgspec.structs.asdict(each)} for each in report.findings]
    return msgspec.json.format(msgspec.json.encode({**msgspec.structs.asdict(report), "findings": says}))


def publish(report: ProjectionReport, docs: Path) -> None:
    """Raises ValueError if the page has not its two marks."""
    between_marks(docs / PAGE, BEGIN, END, as_markdown(report))


def as_markdown(report: ProjectionReport) -> str:
    rounds = f"{report.rounds} round" + ("s" if report.rounds > 1 else "")
    head = [f"The machine: {machine_line(report.machine)}. {_versions(report)}. Medians of {rounds}."]
    head += ["", "### Projections: targets", ""]
    head += [*row("what", "wanted", "found", ""), *row("---", "---", "---", "---")]
    for each in report.findings:
        head += row(each.title, each.target, each.found, each.says)
    tables = [line for result in report.results for line in case_table(result)]
    missing = [f"- not here: {each.peer}, {each.level}: {each.why}" for each in report.missing]
    return "\n".join([*head, "", *tables, *missing, ""])


def _versions(report: ProjectionReport) -> str:
    return ", ".join(f"{name} {version}" for name, version in report.versions.items())
