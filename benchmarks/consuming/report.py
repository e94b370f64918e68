"""A run in docs/benchmarks.md, with its chart."""

from pathlib import Path

from benchmarks import findings
from benchmarks.consuming.chart import CHART, draw
from benchmarks.findings import Run, Section

SECTION = Section(
    "consumers", "Consumers", picture=f"![events consumed a second beside the peers]({CHART})", has_notes=True
)


def publish(run: Run, docs: Path) -> None:
    """Raises ValueError if the page has not its two marks, or no chart can be drawn."""
    if refused := draw(run.results, docs / CHART):
        raise ValueError(refused)
    findings.publish(run, SECTION, docs)
