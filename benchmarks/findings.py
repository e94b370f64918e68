"""What is wanted of a run's figures, and a run as a table, as JSON with every sample, and between its own marks in
docs/benchmarks.md."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median

import msgspec
from msgspec import Struct

from benchmarks.field import Missing
from benchmarks.machine import Machine
from benchmarks.measure import Result
from benchmarks.published import PAGE, between_marks, case_table, row
from benchmarks.report import block, machine_line


class Finding(Struct, frozen=True):
    """A figure that is no rate of one contestant: a value per round, and what is wanted of their median. `wanted` is
    None where nothing is promised."""

    title: str
    unit: str
    values: Sequence[float]
    wanted: float | None = None
    at_most: bool = False
    note: str = ""

    @property
    def median(self) -> float:
        return median(self.values)

    @property
    def says(self) -> str:
        if self.wanted is None:
            return ""
        return "reached" if (self.median <= self.wanted if self.at_most else self.median >= self.wanted) else "missed"

    @property
    def target(self) -> str:
        if self.wanted is None:
            return "-"
        return f"{'at most' if self.at_most else 'at least'} {self.wanted:g}{_space(self.unit)}"

    @property
    def found(self) -> str:
        text = f"{self.median:.2f}{_space(self.unit)}"
        low, high = min(self.values), max(self.values)
        return text if low == high else f"{text} ({low:.2f}-{high:.2f})"


class Section(Struct, frozen=True):
    """Where a run stands in the page: between the marks of its `name`, under `heading`. `unit` is that of its rates;
    `picture` a line that shows a chart, `has_notes` whether findings tell more than whether they are reached."""

    name: str
    heading: str
    unit: str = "events/s"
    picture: str = ""
    has_notes: bool = False

    @property
    def begin(self) -> str:
        return f"<!-- {self.name}: begin -->"

    @property
    def end(self) -> str:
        return f"<!-- {self.name}: end -->"


class Run(Struct, frozen=True):
    machine: Machine
    versions: dict[str, str]
    rounds: int
    results: Sequence[Result]
    findings: Sequence[Finding]
    missing: Sequence[Missing]


def as_table(run: Run, section: Section) -> str:
    blocks = ["\n".join(block(result, section.unit)) for result in run.results]
    return "\n\n".join([machine_line(run.machine), _versions(run), *blocks, "\n".join(_said(run))])


def _said(run: Run) -> Iterator[str]:
    for each in run.findings:
        yield f"  {each.title}: {each.found}, wanted {each.target} {each.says} {each.note}".rstrip()
    for absent in run.missing:
        yield f"  not here: {absent.peer}, {absent.level}: {absent.why}"


def as_json(run: Run) -> bytes:
    says = [{"median": each.median, "says": each.says, **msgspec.structs.asdict(each)} for each in run.findings]
    return msgspec.json.format(msgspec.json.encode({**msgspec.structs.asdict(run), "findings": says}))


def publish(run: Run, section: Section, docs: Path) -> None:
    """Raises ValueError if the page has not the section's two marks."""
    between_marks(docs / PAGE, section.begin, section.end, as_markdown(run, section))


def as_markdown(run: Run, section: Section) -> str:
    rounds = f"{run.rounds} round" + ("s" if run.rounds > 1 else "")
    head = [f"The machine: {machine_line(run.machine)}. {_versions(run)}. Medians of {rounds}.", ""]
    head += [section.picture, ""] if section.picture else []
    last = [""] if section.has_notes else []
    head += [f"### {section.heading}: targets", "", *row("what", "wanted", "found", "", *last)]
    head += row(*["---"] * (4 + len(last)))
    for each in run.findings:
        notes = [each.note] if section.has_notes else []
        head += row(each.title, each.target, each.found, each.says, *notes)
    tables = [line for result in run.results for line in case_table(result, section.unit)]
    missing = [f"- not here: {each.peer}, {each.level}: {each.why}" for each in run.missing]
    return "\n".join([*head, "", *tables, *missing, ""])


def _versions(run: Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.versions.items())


def _space(unit: str) -> str:
    return unit if unit == "x" else f" {unit}"
