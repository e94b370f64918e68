"""What `make bench-consumers` counts, judges and writes."""

from pathlib import Path

import pytest

from benchmarks.consuming.arrivals import NONE_PARKED, PARKED, parked_name
from benchmarks.consuming.backlog import OURS, title
from benchmarks.consuming.figures import of_results
from benchmarks.consuming.peers.by_hand import DATA
from benchmarks.consuming.report import SECTION
from benchmarks.consuming.tally import Tally
from benchmarks.field import Missing
from benchmarks.findings import Finding, Run, as_markdown
from benchmarks.machine import Machine
from benchmarks.measure import CountWrong, Latency, Outcome, Result, Sample
from benchmarks.published import between_marks

MACHINE = Machine(2, "Linux x86_64", "CPython 3.11.7", "asyncio Loop", "Valkey 9.1.2", "8.1.0", "3.5.0", 0.5, 160.0)


def _outcome(name: str, *rates: float, p99_ms: float = 2.0, baseline: bool = False) -> Outcome:
    latency = Latency(1.0, p99_ms, 9.0)
    return Outcome(name, baseline, [Sample(1_000, 1_000 / rate, 0.01, 0.02, latency) for rate in rates])


@pytest.mark.parametrize("times", [0, 2])
def test_an_event_that_is_not_handled_exactly_once_ends_the_run(times: int) -> None:
    tally = Tally(3)
    tally.seen[0] = tally.seen[2] = 1
    tally.seen[1] = times
    with pytest.raises(CountWrong, match="1 events, the first 1"):
        tally.check("a worker")


def test_what_fails_must_not_have_been_handled() -> None:
    tally = Tally(2)
    tally.seen[0] = 1
    tally.check("a worker", failed=[1])
    tally.seen[1] = 1
    with pytest.raises(CountWrong):
        tally.check("a worker", failed=[1])


def test_ratios_are_of_the_same_round_and_judged_by_their_median() -> None:
    ours, theirs = _outcome(OURS, 130.0, 240.0, 100.0), _outcome(DATA, 100.0, 200.0, 200.0, baseline=True)
    (found,) = of_results([Result(title("memory"), [ours, theirs])])
    assert list(found.values) == [1.3, 1.2, 0.5]
    assert found.says == "reached"
    assert found.found == "1.20x (0.50-1.30)"


def test_waits_beside_parked_streams_are_a_ratio_that_must_be_small() -> None:
    parked, none = _outcome(parked_name(100), 1.0, p99_ms=2.5), _outcome(NONE_PARKED, 1.0, p99_ms=2.0, baseline=True)
    (found,) = of_results([Result(PARKED, [parked, none])])
    assert (found.median, found.says, found.target) == (1.25, "missed", "at most 1.1x")


def test_the_page_has_targets_tables_and_who_is_missing(tmp_path: Path) -> None:
    results = [Result(title("memory"), [_outcome(OURS, 100.0), _outcome(DATA, 100.0, baseline=True)])]
    findings = [*of_results(results), Finding("bytes of the file", "bytes", [1.5], 5.0, True, "600 a commit")]
    report = Run(MACHINE, {"streaq": "7.2.0"}, 1, results, findings, [Missing("docket", "memory", "none")])
    page = tmp_path / "page.md"
    page.write_text(f"before\n{SECTION.begin}\nold\n{SECTION.end}\nafter\n")
    between_marks(page, SECTION.begin, SECTION.end, as_markdown(report, SECTION))
    written = page.read_text()
    assert "| bytes of the file | at most 5 bytes | 1.50 bytes | reached | 600 a commit |" in written
    assert f"| [1] {OURS} | 100 |" in written
    assert "- not here: docket, memory: none" in written
    assert written.startswith("before")
    assert written.endswith("after\n")
    assert "old" not in written
